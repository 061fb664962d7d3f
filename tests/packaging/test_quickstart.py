"""docs/quickstart.md is run as it stands, in an empty directory: install, serve, stream."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.packaging.transcript import PAGE, block, played, shortened


def as_played(folder: Path) -> None:
    made = folder / "quickstart.md"
    assert made.read_text() == PAGE.read_text(), f"docs/quickstart.md is not what happens: compare {made}"


def test_with_the_wheel(environment: Path) -> None:
    as_played(environment)
    assert (environment / "empty" / "streamrouter.db").exists()


def test_with_the_one_file(tmp_path: Path, binary: Path) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copy(binary, tmp_path / "empty")
    played("binary", tmp_path / "empty", tmp_path)
    as_played(tmp_path)


@pytest.mark.parametrize("name", ["wheel", "binary"])
def test_three_commands_at_most_and_a_whole_stream(name: str) -> None:
    assert f"\n{block(name)}".count("\n$ ") <= 3
    assert '"delta":{"content":' in block(name)
    assert block(name).endswith("\n\ndata: [DONE]\n")


def test_a_stream_is_shown_by_its_ends() -> None:
    assert shortened("".join(f"data: {n}\n\n" for n in range(9))) == "data: 0\n\ndata: 1\n\n…\n\ndata: 7\n\ndata: 8\n"
    assert shortened("data: 0\n\ndata: 1\n\n") == "data: 0\n\ndata: 1\n\n"
