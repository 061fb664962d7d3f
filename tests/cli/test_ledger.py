"""``streamrouter ledger``, and the commands about money that came with it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from streamrouter.config.place import shown
from streamrouter.ledger.lock import Lock
from tests.cli.conftest import Command


@pytest.fixture
def funded(command: Command) -> Command:
    command.json("user", "create", "bob")
    command.json("key", "create", "bob", "--surface", "wl")
    command.json("topup", "bob", "20", "--ref", "inv-7")
    return command


def test_check_and_day(funded: Command) -> None:
    assert funded.json("ledger", "check")["ok"]
    assert funded.text("ledger", "check").startswith("The books add up (")
    assert funded.text("ledger", "day").startswith("The ledger's day is 2")
    assert funded.json("ledger", "day", "--accept")["accepted"]


def test_a_request_that_is_not_there(funded: Command) -> None:
    code, error = funded.error("ledger", "explain", "req_nothing")
    assert (code, error["code"]) == (1, "not_found")


def test_an_export_as_lines_and_as_csv(funded: Command) -> None:
    lines = [json.loads(line) for line in funded.text("ledger", "export", "--table", "entries").splitlines()]
    assert [(line["kind"], line["amount"], line["ref"]) for line in lines] == [
        ("payment", 21_000_000_000, "inv-7"),
        ("fee", -1_000_000_000, "inv-7"),
    ]
    table = list(csv.DictReader(io.StringIO(funded.text("ledger", "export", "--csv", "--table", "entries"))))
    assert [row["account"] for row in table] == ["bob", "bob"]
    assert funded.text("ledger", "export", "--csv") == ""


def test_a_backup(funded: Command) -> None:
    copy = Path(funded.ledger).with_name("copy.db")
    assert "opened and checked" in funded.text("ledger", "backup", str(copy))
    code, error = funded.error("ledger", "backup", str(copy))
    assert (code, error["code"]) == (1, "backup_failed")
    funded.ledger = str(copy)
    assert funded.json("balance", "bob")["balance_usd"] == "20.00"


def test_refund_adjust_and_balance(funded: Command) -> None:
    assert funded.text("refund", "bob", "5", "--ref", "r").splitlines() == [
        "bob: refund of -5.00 USD.",
        "Balance: 15.00 USD",
    ]
    assert "already done" in funded.text("refund", "bob", "5", "--ref", "r")
    assert funded.json("adjust", "bob", "-2.5")["balance_usd"] == "12.50"
    assert funded.error("refund", "bob", "12.51")[1]["code"] == "invalid_value"
    lines = funded.text("balance", "bob", "--history").splitlines()
    assert [line.split()[1:4] for line in lines[1:5]] == [
        ["payment", "21.00", "21.00"],
        ["fee", "-1.00", "20.00"],
        ["refund", "-5.00", "15.00"],
        ["adjustment", "-2.50", "12.50"],
    ]
    assert lines[-1] == "Balance: 12.50 USD, 12.50 of it free"


def test_reports_and_keys_with_a_reference(funded: Command) -> None:
    assert funded.json("usage", "--by", "model", "--since", "30d") == []
    assert funded.text("usage", "bob", "--by", "day") == "No usage in the last 7d.\n"
    assert funded.run("usage").exit_code == 2
    first = funded.json("key", "create", "bob", "--ref", "k")
    assert funded.json("key", "create", "bob", "--ref", "k")["id"] == first["id"]
    assert funded.text("key", "create", "bob", "--ref", "k").startswith("Already made: ")


def test_a_files_books_are_copied_into_a_database(funded: Command, database: str) -> None:
    Path(f"{funded.config}.url").write_text(database)
    told = funded.json("ledger", "copy", f"file:{funded.config}.url")
    assert (told["copied"], told["rows"]["account"], told["rows"]["entry"]) == (shown(database), 1, 2)
    code, error = funded.error("ledger", "copy", database)
    assert (code, error["code"]) == (3, "ledger_unavailable") and "in use" in error["message"]
    assert funded.error("ledger", "copy", "other.db")[1]["code"] == "invalid_value"
    lock = Lock(funded.ledger)
    assert "another streamrouter" in funded.error("ledger", "copy", database)[1]["message"]
    lock.release()
    funded.ledger = database
    assert funded.json("balance", "bob")["credited_usd"] == "20.00" and funded.json("ledger", "check")["ok"]
    assert funded.error("ledger", "copy", database)[1]["code"] == "invalid_value"
