"""The log of a real server: rotated by SIGHUP, and read by somebody who is stuck."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
from pathlib import Path

from tests.support.rig import call, rig, until
from tests.support.upstream import streamed

REQUESTS = 70


async def test_a_rotated_file_is_left_for_a_new_one(tmp_path: Path) -> None:
    path, moved = tmp_path / "own.log", tmp_path / "own.log.1"
    async with rig(tmp_path, more=f'[log]\nfile = "{path}"\n') as rigged:
        rigged.upstream.script = streamed([" a"])
        first = await rigged.post(call())
        await until(lambda: first.headers["x-request-id"] in path.read_text(), "the first line")
        path.rename(moved)
        os.kill(rigged.server.pid, signal.SIGHUP)
        await until(lambda: path.exists() and '"reloaded"' in path.read_text(), "a new file")
        second = await rigged.post(call())
        await until(lambda: second.headers["x-request-id"] in path.read_text(), "the second line")
        assert second.headers["x-request-id"] not in moved.read_text()


async def test_a_reader_that_is_stuck_holds_no_request_up(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 16384)  # some forty lines
    try:
        async with rig(tmp_path, more=f'[log]\nfile = "{pipe}"\nformat = "json"\n') as rigged:
            rigged.upstream.script = streamed([" a"])
            ids = [(await rigged.post(call())).headers["x-request-id"] for _ in range(REQUESTS)]
            await rigged.settled()
            got = b""

            def read() -> int:
                nonlocal got
                with contextlib.suppress(BlockingIOError):
                    got += os.read(reader, 65536)
                return got.count(b'"event":"request"')

            assert read() < REQUESTS
            while read() < REQUESTS:  # every line takes along what waits, as far as there is room
                ids.append((await rigged.post(call())).headers["x-request-id"])
            await until(lambda: read() == len(ids), "the lines that waited")
            lines = [json.loads(line) for line in got.splitlines()]
            assert [line["id"] for line in lines if line["event"] == "request"] == ids
    finally:
        os.close(reader)
