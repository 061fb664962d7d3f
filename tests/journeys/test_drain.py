"""SIGTERM with streams in flight: new work is refused at once, streams finish, and the process leaves quietly."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from tests.support.rig import Reply, Rig, call, holds, rig, until
from tests.support.upstream import DONE, Seen, completion, delta

STREAMS = 20


class Held:
    """Says " token", or nothing where a whole answer is asked for; waits for ``go``, and says the rest."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.closed = 0

    async def __call__(self, seen: Seen) -> None:
        if seen.body["stream"]:
            await seen.head_sse()
            await seen.chunk(delta(" token"))
        waits = {asyncio.create_task(seen.gone(10)), asyncio.create_task(self.go.wait())}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        if not self.go.is_set():
            self.closed += 1
        elif seen.body["stream"]:
            await seen.chunk(delta(" more", finish="stop") + DONE)
            await seen.end()
        else:
            await seen.json(completion("whole", 7, 2))


async def started(rigged: Rig, script: Held, streams: int = STREAMS, whole: int = 0) -> list[asyncio.Task[Reply]]:
    """Streams of which the first word is on its way, and whole answers in the making."""
    rigged.upstream.script = script
    kinds = [True] * streams + [False] * whole
    tasks = [asyncio.create_task(rigged.post(call(kind, max_tokens=50))) for kind in kinds]
    await rigged.reached(len(kinds))
    await asyncio.sleep(0.05)
    return tasks


async def exit_code(rigged: Rig, timeout_s: float = 10.0) -> int:
    """Wait for the process to end."""
    process = rigged.server.process
    assert process is not None
    return await asyncio.to_thread(process.wait, timeout_s)


def quiet(rigged: Rig) -> None:
    """Nothing in the log that a person would have to look at; no hold open in the file."""
    assert "Traceback" not in rigged.log()
    assert '"level":"error"' not in rigged.log()
    assert all(line.startswith("{") for line in rigged.log().splitlines())
    assert all(hold["state"] != "open" for hold in holds(rigged.server.ledger))


# -- F43: a signal to stop --------------------------------------------------------------------------------------------


async def test_streams_finish_while_new_calls_are_refused(tmp_path: Path) -> None:
    async with rig(tmp_path, server="drain_announce_s = 0.25\ndrain_timeout_s = 10") as rigged:
        script = Held()
        tasks = await started(rigged, script, whole=1)
        os.kill(rigged.server.pid, signal.SIGTERM)
        await until(lambda: rigged.server.get("/readyz")[0] == 503, "not ready")
        assert b"draining" in rigged.server.get("/readyz")[1]
        assert rigged.server.get("/healthz")[0] == 200
        refused = await rigged.post(call())
        assert (refused.status, refused.error["code"]) == (503, "server_shutdown")
        assert "retry-after" in refused.headers
        await asyncio.sleep(0.3)  # the listener is closed now, the streams go on
        try:
            await asyncio.open_connection("127.0.0.1", rigged.server.port)
            raise AssertionError("still listening")
        except ConnectionRefusedError:
            pass
        assert not any(task.done() for task in tasks)
        script.go.set()
        replies = await asyncio.gather(*tasks)
        assert [(r.content, r.events[-1]) for r in replies[:-1]] == [(" token more", "[DONE]")] * STREAMS
        assert replies[-1].json["choices"][0]["message"]["content"] == "whole"
        assert await exit_code(rigged) == 0
        assert len(rigged.seen) == STREAMS + 1
        assert [hold["s_output"] for hold in holds(rigged.server.ledger)] == [2] * (STREAMS + 1)
        quiet(rigged)


async def test_what_is_not_done_in_time_is_told(tmp_path: Path) -> None:
    async with rig(tmp_path, server="drain_timeout_s = 0.3") as rigged:
        script = Held()
        tasks = await started(rigged, script)
        os.kill(rigged.server.pid, signal.SIGTERM)
        replies = await asyncio.gather(*tasks)
        for reply in replies:
            assert (reply.status, reply.content) == (200, " token")
            assert (reply.error["code"], "[DONE]" in reply.text) == ("server_shutdown", False)
        await until(lambda: script.closed == STREAMS, "upstream connections are closed")
        assert await exit_code(rigged) == 0
        for hold in holds(rigged.server.ledger):
            assert (hold["end_reason"], hold["usage_source"], hold["s_output"]) == ("server_shutdown", "partial", 1)
        quiet(rigged)


async def test_a_whole_answer_that_is_not_done_in_time_is_told_and_leaves_no_hold(tmp_path: Path) -> None:
    async with rig(tmp_path, server="drain_timeout_s = 0.2") as rigged:
        script = Held()
        (task,) = await started(rigged, script, streams=0, whole=1)
        os.kill(rigged.server.pid, signal.SIGTERM)
        reply = await task
        assert (reply.status, reply.error["code"]) == (503, "server_shutdown")
        assert await exit_code(rigged) == 0
        await until(lambda: script.closed == 1, "the upstream connection is closed")
        (hold,) = holds(rigged.server.ledger)
        assert (hold["state"], hold["s_input"], hold["s_output"]) == ("settled", hold["r_input"], 0)
        quiet(rigged)


async def test_a_second_signal_means_now(tmp_path: Path) -> None:
    async with rig(tmp_path, server="drain_timeout_s = 100") as rigged:
        tasks = await started(rigged, Held())
        os.kill(rigged.server.pid, signal.SIGTERM)
        await until(lambda: "draining" in rigged.log(), "draining")
        began = time.monotonic()
        os.kill(rigged.server.pid, signal.SIGTERM)
        replies = await asyncio.gather(*tasks)
        assert {reply.error["code"] for reply in replies} == {"server_shutdown"}
        assert await exit_code(rigged) == 0
        assert time.monotonic() - began < 5
        quiet(rigged)


async def test_idle_connections_do_not_hold_it_up(tmp_path: Path) -> None:
    async with rig(tmp_path, server="drain_timeout_s = 100") as rigged:
        reader, writer = await asyncio.open_connection("127.0.0.1", rigged.server.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"ok")
        os.kill(rigged.server.pid, signal.SIGTERM)
        assert await exit_code(rigged) == 0
        writer.close()
        quiet(rigged)
