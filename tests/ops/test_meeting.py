"""Where servers and the command line meet: beside a file, or in a private directory, where a database has many."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamrouter.errors import LedgerError
from streamrouter.ops.meeting import possible_paths, socket_path

URL = "postgresql://books:pw-4f1c@db/books"


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short path that is the user's runtime directory, and nothing of a service manager's."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    with tempfile.TemporaryDirectory(prefix="sr", dir="/tmp") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name)


def listening(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(path)
    made.listen()
    return made


def paths(ledger: str) -> list[str]:
    return [path for path, _ in possible_paths(ledger)]


def test_a_file_has_its_socket_beside_it(folder: Path) -> None:
    assert socket_path("/x/l.db") == "/x/l.db.sock"
    assert paths("/x/l.db") == ["/x/l.db.sock"]


def test_a_database_has_one_for_each_server_and_its_password_names_none(folder: Path) -> None:
    first, second = socket_path(URL, 1), socket_path(URL.replace("pw-4f1c", "other"), 2)
    assert os.path.dirname(first) == os.path.dirname(second) == str(folder / f"streamrouter-{os.getuid()}")
    assert stat.S_IMODE(os.stat(os.path.dirname(first)).st_mode) == 0o700
    with listening(first), listening(second):
        os.utime(first, (1, time.time() - 5))
        assert paths(URL) == [second, first]  # the younger one first
        assert paths(URL + "_2") == []
    assert first != second and "pw-4f1c" not in first


def test_what_a_dead_server_left_is_swept_and_what_is_about_to_listen_is_not(folder: Path) -> None:
    old, young, live = (socket_path(URL, boot) for boot in (1, 2, 3))
    for path in (old, young):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
    with listening(live):
        for path in (old, live):
            os.utime(path, (1, time.time() - 3600))
        assert socket_path(URL, 4).endswith(".4.sock")
        assert sorted(paths(URL)) == sorted([young, live])


def test_a_services_own_directory_goes_first_if_it_is_private(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = folder / "service"
    given.mkdir(mode=0o700)
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{folder / 'none'}:{given}")
    assert os.path.dirname(socket_path(URL)) == str(given)
    given.chmod(0o755)
    assert os.path.dirname(socket_path(URL)) == str(folder / f"streamrouter-{os.getuid()}")


def test_a_directory_that_others_can_enter_is_refused(folder: Path) -> None:
    (folder / f"streamrouter-{os.getuid()}").mkdir(mode=0o755)
    with pytest.raises(LedgerError, match="mode 0700"):
        socket_path(URL)
    assert paths(URL) == []
