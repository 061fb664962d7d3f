from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from streamrouter.errors import LedgerError
from streamrouter.ledger.lock import Holder, Lock, holder


def test_the_lock_says_who_holds_it_and_is_given_back(tmp_path: Path) -> None:
    path = str(tmp_path / "l.db")
    assert holder(path) is None
    lock = Lock(path)
    lock.write(Holder(pid=os.getpid(), boot=7, socket="/s"))
    assert holder(path) == Holder(pid=os.getpid(), boot=7, socket="/s")
    assert (tmp_path / "l.db.lock").stat().st_mode & 0o777 == 0o600
    with pytest.raises(LedgerError, match=rf"another streamrouter \(pid {os.getpid()}\)"):
        Lock(path)
    lock.release()
    again = Lock(path)
    assert again.before == Holder(pid=os.getpid(), boot=7, socket="/s")
    again.release()


def test_rubbish_in_the_lock_file_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "l.db.lock").write_bytes(b"\xff{")
    lock = Lock(str(tmp_path / "l.db"))
    assert lock.before is None
    lock.release()


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="the directory of the ledger must exist"):
        Lock(str(tmp_path / "none" / "l.db"))


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(LedgerError, match="use a local disk"):
        Lock(str(tmp_path / "l.db"))
