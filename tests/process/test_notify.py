"""sd_notify: what reaches a manager's socket, and that nobody is held up without one."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from streamrouter.process.notify import Manager, is_ours
from tests.support.manager import Notified


@pytest.mark.parametrize("kind", ["path", "abstract"])
async def test_a_manager_is_told_at_a_path_or_an_abstract_address(tmp_path: Path, kind: str) -> None:
    address = str(tmp_path / "notify") if kind == "path" else f"@{tmp_path}/notify"
    notified, manager = Notified(address), Manager({"NOTIFY_SOCKET": address})
    manager.ready("serving")
    with manager.reloading():
        pass
    manager.stopping("draining")
    await notified.told("STATUS=draining")
    notified.close()
    lines = [line for line in notified.lines if not line.startswith("MONOTONIC_USEC=")]
    assert lines[:2] == ["FDSTOREREMOVE=1", "FDNAME=client"]
    assert lines[2:] == ["READY=1", "STATUS=serving", "RELOADING=1", "READY=1", "STOPPING=1", "STATUS=draining"]
    assert len(notified.lines) == len(lines) + 1


async def test_a_reload_that_fails_is_over_as_well(tmp_path: Path) -> None:
    notified, manager = Notified(f"@{tmp_path}"), Manager({"NOTIFY_SOCKET": f"@{tmp_path}"})
    with pytest.raises(ValueError), manager.reloading():
        raise ValueError
    manager.succeeded("draining")
    await notified.told("RELOADING=1", 2)
    assert notified.lines.count("READY=1") == 1
    notified.close()


async def test_a_socket_is_kept_by_its_name_and_the_barrier_waits_for_that(tmp_path: Path) -> None:
    notified, manager = Notified(f"@{tmp_path}"), Manager({"NOTIFY_SOCKET": f"@{tmp_path}"})
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert manager.store(theirs)
        assert await asyncio.to_thread(manager.barrier)
        [(name, descriptor)] = notified.kept
        assert name == "client" and os.path.sameopenfile(descriptor, theirs.fileno())
        manager.ready("ready")
        await notified.told("READY=1")
        theirs.close()
        assert notified.kept == [] and await asyncio.to_thread(ours.recv, 1) == b""  # nobody else holds it open
    notified.close()


async def test_nobody_is_waited_for_who_does_not_read(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        manager = Manager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert not manager.barrier(0.01)
    assert not manager.tell("READY=1")  # it is gone


async def test_without_a_manager_nothing_is_told() -> None:
    manager = Manager({"WATCHDOG_USEC": "1000"})
    assert (manager.present, manager.watchdog_s) == (False, None)
    assert not manager.tell("READY=1")
    assert not manager.barrier(0)
    await manager.watch()  # nothing to do


@pytest.mark.parametrize(
    ("pid", "period", "seconds"),
    [("", "3000000", 3.0), ("ours", "500000", 0.5), ("1", "500000", None), ("", "0", None), ("", "x", None)],
)
def test_how_often_the_watchdog_wants_to_hear(pid: str, period: str, seconds: float | None) -> None:
    pid = str(os.getpid()) if pid == "ours" else pid
    manager = Manager({"NOTIFY_SOCKET": "@none", "WATCHDOG_USEC": period, "WATCHDOG_PID": pid})
    assert manager.watchdog_s == seconds


async def test_the_watchdog_hears_from_the_loop(tmp_path: Path) -> None:
    notified = Notified(f"@{tmp_path}")
    manager = Manager({"NOTIFY_SOCKET": f"@{tmp_path}", "WATCHDOG_USEC": "20000"})
    watching = asyncio.create_task(manager.watch())
    await notified.told("WATCHDOG=1", 3)
    watching.cancel()
    notified.close()
    assert set(notified.lines) == {"WATCHDOG=1"}


def test_whom_a_manager_means(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_ours(str(os.getpid()))
    assert not is_ours(str(os.getppid()))
    assert not is_ours("")
    monkeypatch.setattr("sys.frozen", True, raising=False)
    assert is_ours(str(os.getppid()))  # of the one-file program
