"""What can go wrong under the books (docs/reliability.md F44-F49, F52), over a real server process and real files."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.leaving import ledger_locked
from tests.support.rig import Reply, Rig, call, rig, until
from tests.support.server import Server
from tests.support.upstream import DONE, Seen, completion, delta, event, streamed, usage

PROMPT = 10
DAY_S = 86_400
# The server's own wall clock, moved by as many nanoseconds as a file says.
STEPPED = """
import time
_now, _path = time.time_ns, {path!r}
def _stepped():
    with open(_path) as file:
        return _now() + int(file.read() or 0)
time.time_ns = _stepped
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    where = tmp_path / "disk"
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(where)], capture_output=True).returncode:
        pytest.skip("mounting needs root; tests/ledger/test_file_faults.py has the same by a page limit")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Take every block that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


async def answer(seen: Seen) -> None:
    await seen.json(completion("x", PROMPT, seen.body["max_tokens"]))


class Held:
    """A script that sends a token, waits to be let go, and finishes with 5."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta(" token"))
        await self.go.wait()
        await seen.chunk(delta(" token", finish="stop"))
        await seen.chunk(event({"choices": [], "usage": usage(PROMPT, 5)}) + DONE)
        await seen.end()


async def refused(rigged: Rig) -> Reply:
    reply = await rigged.post(call(False))
    assert (reply.status, reply.error["code"]) == (503, "ledger_unavailable")
    assert int(reply.headers["retry-after"]) >= 1
    return reply


async def serves_again(rigged: Rig) -> None:
    rigged.upstream.script = answer
    end = time.monotonic() + 10
    while (await rigged.post(call(False, max_tokens=2))).status != 200:
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    assert rigged.server.get("/readyz")[0] == 200
    assert rigged.admin("ledger.check")["ok"]
    assert b"\nstreamrouter_ledger_invariants 0.0\n" in rigged.server.get("/metrics")[1]


async def test_f44_a_full_disk(tmp_path: Path, disk: Path) -> None:
    async with rig(tmp_path, ledger_at=disk) as rigged:
        held = Held()
        rigged.upstream.script = held
        live = [asyncio.create_task(rigged.post(call(max_tokens=50))) for _ in range(20)]
        await rigged.reached(20)
        filler = fill(disk)
        for _ in range(2):
            await refused(rigged)
        assert rigged.server.get("/readyz")[0] == 503
        held.go.set()
        replies = await asyncio.gather(*live)
        assert [reply.events[-1] for reply in replies] == ["[DONE]"] * 20
        await until(lambda: all(h["state"] != "open" for h in rigged.holds()), "settlements land on the full disk")
        filler.unlink()
        await serves_again(rigged)
        charged = [(h["state"], h["s_input"], h["s_output"]) for h in rigged.holds()[:20]]
        assert charged == [("settled", PROMPT, 5)] * 20


async def test_f46_locked_by_another_program(tmp_path: Path) -> None:
    async with rig(tmp_path, ledger="busy_timeout_s = 0.5") as rigged:
        held = Held()
        rigged.upstream.script = held
        live = asyncio.create_task(rigged.post(call(max_tokens=50)))
        await rigged.reached(1)
        with ledger_locked(rigged.server.ledger):
            began = time.monotonic()
            await refused(rigged)
            assert 0.4 < time.monotonic() - began < 2
            held.go.set()
            assert (await live).events[-1] == "[DONE]"
            await asyncio.sleep(1)
        await serves_again(rigged)
        first = rigged.holds()[0]
        assert (first["state"], first["s_output"]) == ("settled", 5)


def fails_to_start(server: Server) -> str:
    """What a server says that exits 1 at its start."""
    done = subprocess.run(
        server.command("serve", "--port", "0"), cwd=server.directory, env=server.env, capture_output=True, text=True
    )
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


def header(data: bytearray) -> None:
    data[:16] = b"not a database.."


def pages(data: bytearray) -> None:
    data[4096 * 2 : 4096 * 6] = random.Random(1).randbytes(4096 * 4)


def cut(data: bytearray) -> None:
    del data[len(data) // 2 :]


def emptied(data: bytearray) -> None:
    data.clear()


@pytest.mark.parametrize("damage", [header, pages, cut, emptied])
async def test_f47_a_damaged_file_is_refused_and_left_as_it_is(
    tmp_path: Path, damage: Callable[[bytearray], None]
) -> None:
    async with rig(tmp_path) as rigged:
        rigged.upstream.script = answer
        for _ in range(20):
            assert (await rigged.post(call(False, max_tokens=2))).status == 200
        assert rigged.server.terminate() == 0
        data = bytearray(rigged.server.ledger.read_bytes())
        damage(data)
        rigged.server.ledger.write_bytes(data)
        said = fails_to_start(rigged.server)
        assert "restore" in said
        assert rigged.server.ledger.read_bytes() == data


async def test_f47_a_lost_file_beside_its_wal_is_never_replaced(tmp_path: Path) -> None:
    async with rig(tmp_path) as rigged:
        rigged.upstream.script = answer
        assert (await rigged.post(call(False, max_tokens=2))).status == 200
        rigged.server.kill()
        rigged.server.ledger.unlink()
        assert "restore both from one backup" in fails_to_start(rigged.server)
        assert not rigged.server.ledger.exists()


@pytest.mark.parametrize("torn", [1, 100, 5000])
async def test_f47_a_torn_wal_loses_no_more_than_its_last_commits(tmp_path: Path, torn: int) -> None:
    async with rig(tmp_path) as rigged:
        rigged.upstream.script = answer
        for _ in range(20):
            assert (await rigged.post(call(False, max_tokens=2))).status == 200
        rigged.server.kill()
        wal = Path(f"{rigged.server.ledger}-wal")
        os.truncate(wal, wal.stat().st_size - torn)
        rigged.server.start()
        assert rigged.admin("ledger.check")["ok"]
        assert 18 <= sum(hold["state"] != "open" for hold in rigged.holds()) <= 20
        await serves_again(rigged)


async def test_f48_a_read_only_disk(tmp_path: Path, disk: Path) -> None:
    async with rig(tmp_path, ledger_at=disk) as rigged:
        assert rigged.server.terminate() == 0
        remount(disk, "ro")
        said = fails_to_start(rigged.server)
        assert "must exist and be writable" in said
        remount(disk, "rw")
        rigged.server.start()
        await serves_again(rigged)


async def test_f52_a_second_process_is_told_the_first(tmp_path: Path) -> None:
    async with rig(tmp_path) as rigged:
        held = Held()
        rigged.upstream.script = held
        live = asyncio.create_task(rigged.post(call(max_tokens=50)))
        await rigged.reached(1)
        said = await asyncio.to_thread(fails_to_start, rigged.server)
        assert f"another streamrouter (pid {rigged.server.pid})" in said
        held.go.set()
        assert (await live).events[-1] == "[DONE]"
        await serves_again(rigged)


class Stepping:
    """A rig whose server has a wall clock that can be stepped, and a user with 100 output tokens a day."""

    def __init__(self, rigged: Rig, file: Path) -> None:
        self.rigged = rigged
        self._file = file
        self.key = rigged.user(daily_output=100)

    def step(self, seconds: int) -> None:
        """The wall clock is that far off."""
        part = self._file.with_suffix(".part")
        part.write_text(str(seconds * 1_000_000_000))
        part.replace(self._file)

    async def answered(self) -> bool:
        """Whether a request of 100 tokens is admitted; all else is an error."""
        self.rigged.upstream.script = answer
        reply = await self.rigged.post(call(False, max_tokens=100), self.key)
        assert reply.status == 200 or reply.error["code"] == "daily_output_tokens_exceeded"
        return reply.status == 200

    def ready(self) -> tuple[int, bytes]:
        return self.rigged.server.get("/readyz")


@pytest.fixture
def clock(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """The file that steps the server's clock, and the environment that makes it obey."""
    file = tmp_path / "clock"
    file.write_text("0")
    folder = tmp_path / "stepped"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(STEPPED.format(path=str(file)))
    return file, {"PYTHONPATH": str(folder)}


Clock = tuple[Path, dict[str, str]]


async def test_f49_no_second_cap_by_the_clock(tmp_path: Path, clock: Clock) -> None:
    async with rig(tmp_path, env=clock[1]) as rigged:
        stepping = Stepping(rigged, clock[0])
        assert [await stepping.answered() for _ in range(2)] == [True, False]
        for step in (-2 * 3600, -30 * DAY_S, 30 * DAY_S, 0):
            stepping.step(step)
            assert not await stepping.answered(), step
            assert (stepping.ready()[0] == 503) == (abs(step) > DAY_S)
        stepping.step(DAY_S)  # a machine that was a day behind: the next day, once
        assert [await stepping.answered() for _ in range(2)] == [True, False]
        for step in (0, DAY_S, -2 * 3600, DAY_S):
            stepping.step(step)
            assert not await stepping.answered(), step
        assert rigged.admin("ledger.check")["ok"]


async def test_f49_an_operator_accepts_the_date_in_either_direction(tmp_path: Path, clock: Clock) -> None:
    async with rig(tmp_path, env=clock[1]) as rigged:
        stepping = Stepping(rigged, clock[0])
        assert await stepping.answered()
        today = rigged.server.cli("ledger", "day")["day"]
        stepping.step(30 * DAY_S)
        told = rigged.server.cli("ledger", "day")
        assert told["day"] == today and "leapt" in told["alarm"]
        assert rigged.server.cli("ledger", "day", "--accept")["day"] > today
        assert await stepping.answered() and stepping.ready()[0] == 200
        stepping.step(0)
        assert not await stepping.answered() and stepping.ready()[0] == 503
        assert rigged.server.cli("ledger", "day", "--accept")["day"] == today
        assert not await stepping.answered() and stepping.ready()[0] == 200
        assert rigged.admin("ledger.check")["ok"]


@pytest.mark.parametrize("step", [-2 * 3600, DAY_S, 30 * DAY_S])
async def test_f49_a_step_in_mid_stream(tmp_path: Path, clock: Clock, step: int) -> None:
    async with rig(tmp_path, env=clock[1]) as rigged:
        stepping, held = Stepping(rigged, clock[0]), Held()
        rigged.upstream.script = held
        live = asyncio.create_task(rigged.post(call(max_tokens=50), stepping.key))
        await rigged.reached(1)
        admitted = day_of_the_last(rigged)
        stepping.step(step)
        held.go.set()
        reply = await live
        assert reply.events[-1] == "[DONE]"
        hold = (await rigged.settled())[-1]
        assert hold["day"] == admitted and 0 <= hold["duration_ms"] < 10_000 and 0 <= hold["ttft_ms"] < 10_000
        assert (hold["s_input"], hold["s_output"]) == (PROMPT, 5)
        assert rigged.admin("ledger.check")["ok"]


def day_of_the_last(rigged: Rig) -> Any:
    """The day of the last hold."""
    raw = sqlite3.connect(f"file:{rigged.server.ledger}?mode=ro", uri=True)
    try:
        return raw.execute("SELECT day FROM hold ORDER BY created_ns DESC").fetchone()[0]
    finally:
        raw.close()


async def test_a_backup_is_served_from_as_if_nothing_had_been(tmp_path: Path) -> None:
    """Backup under load, disaster, restore: what was settled before the backup is there."""
    async with rig(tmp_path) as rigged:
        rigged.upstream.script = streamed(["Hello"], prompt=PROMPT)
        streams = [asyncio.create_task(rigged.post(call(max_tokens=50))) for _ in range(50)]
        await rigged.reached(10)
        copy = tmp_path / "copy.db"
        made = await asyncio.to_thread(rigged.server.cli, "ledger", "backup", str(copy))
        assert made["verified"]
        assert {(await each).status for each in streams} == {200}
        rigged.server.kill()
        for name in ("", "-wal", "-shm"):
            Path(f"{rigged.server.ledger}{name}").unlink(missing_ok=True)
        shutil.copy(copy, rigged.server.ledger)
        rigged.server.start()
        assert len(rigged.holds()) == made["requests"]
        await serves_again(rigged)
