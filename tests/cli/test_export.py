"""``streamrouter export``: everything in the books, as files."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path

from tests.cli.conftest import Command


def test_the_books_as_json_lines(command: Command, tmp_path: Path) -> None:
    command.json("user", "create", "bob")
    key = command.json("key", "create", "bob", "--surface", "wl")
    command.json("topup", "bob", "10", "--ref", "inv-7")
    made = command.json("export", str(tmp_path / "out"))
    assert made["rows"] == {"users": 1, "keys": 1, "requests": 0, "entries": 2, "usage": 0}
    entries = [json.loads(line) for line in (tmp_path / "out" / "entries.jsonl").read_text().splitlines()]
    assert [(entry["kind"], entry["ref"]) for entry in entries] == [("payment", "inv-7"), ("fee", "inv-7")]
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [
        "entries.jsonl",
        "keys.jsonl",
        "requests.jsonl",
        "usage.jsonl",
        "users.jsonl",
    ]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert not [file for file in files if key["key"] in file.read_text()]


def test_the_books_as_csv_whose_cells_are_no_formulas(command: Command, tmp_path: Path) -> None:
    command.json("user", "create", "bob")
    command.json("topup", "bob", "10", "--ref", "=1+1")
    assert "2 entries" in command.text("export", str(tmp_path), "--csv")
    with (tmp_path / "entries.csv").open(newline="") as file:
        row, fee = csv.DictReader(file)
    assert (row["kind"], row["amount"], row["ref"]) == ("payment", "10500000000", "'=1+1")
    assert fee["amount"] == "-500000000"  # a number is none


def test_a_directory_with_something_in_it_is_left_alone(command: Command, tmp_path: Path) -> None:
    command.json("user", "create", "bob")
    (tmp_path / "mine").touch()
    code, error = command.error("export", str(tmp_path))
    assert (code, error["code"]) == (1, "exists")
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
