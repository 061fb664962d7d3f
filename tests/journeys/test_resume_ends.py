"""Resumable streams whose reader is late: silence, the window, a restart, a shutdown."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.support.resuming import EVENTS, Gated, Stream, finished, paced
from tests.support.rig import holds, rig


async def test_silence_is_filled_for_readers_only(tmp_path: Path) -> None:
    async with rig(tmp_path, server="keepalive_s = 0.2") as rigged:
        rigged.upstream.script = script = Gated()
        stream = await Stream.begun(rigged)
        await stream.read(3)
        assert b'"delta":{},' in stream.got
        stream.cut()
        await asyncio.sleep(0.7)
        script.go.set()
        await finished(rigged, stream)
        rest = (await stream.get(stream.count)).text.encode()
        assert rest.startswith(b"data: ") and rest.count(b"\n\n") == len(EVENTS) - 2
        again = (await stream.get(0)).text.encode()
        assert again == stream.got + rest  # the empty chunks are events as any


@pytest.mark.parametrize("policy", ["abort", "drain"])
async def test_who_does_not_come_back_has_left(tmp_path: Path, policy: str) -> None:
    async with rig(tmp_path, server="resume_window_s = 0.3", upstream=f'on_disconnect = "{policy}"') as rigged:
        rigged.upstream.script = script = Gated()
        stream = await Stream.begun(rigged)
        await stream.read(2)
        stream.cut()
        await asyncio.sleep(0.15)
        assert not script.closed.is_set()
        await asyncio.sleep(0.4)
        assert (await stream.get(2)).error["code"] == "stream_expired"
        assert (await stream.get(0)).status == 410
        assert script.closed.is_set() == (policy == "abort")
        script.go.set()
        hold = await finished(rigged, stream)
        assert hold["end_reason"] == "client_left"
        assert (hold["usage_source"], hold["s_output"]) == (
            ("upstream", 6) if policy == "drain" else ("abort", 3)
        )  # "Žluť" has three
        assert (await stream.get(2)).status == 410


async def test_a_restart_forgets_them(tmp_path: Path) -> None:
    async with rig(tmp_path) as rigged:
        rigged.upstream.script = paced
        stream = await Stream.begun(rigged)
        await stream.read()
        assert (await stream.get(3)).status == 200
        rigged.server.terminate()
        rigged.server.start()
        reply = await stream.get(3)
        assert (reply.status, reply.error["code"]) == (404, "not_found")


async def test_a_shutdown_does_not_wait_for_who_cannot_come_back(tmp_path: Path) -> None:
    async with rig(tmp_path, server="drain_timeout_s = 60") as rigged:
        rigged.upstream.script = Gated()
        stream = await Stream.begun(rigged)
        await stream.read(2)
        stream.cut()
        await asyncio.sleep(0.1)
        process = rigged.server.process
        assert process is not None
        os.kill(rigged.server.pid, signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 10) == 0
        (hold,) = holds(rigged.server.ledger)
        assert (hold["state"], hold["end_reason"]) == ("settled", "server_shutdown")
        assert "Traceback" not in rigged.log()
