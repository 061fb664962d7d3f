"""Idempotency-Key over a real server: a repetition is never paid twice, whatever became of the first."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.rig import Reply, Rig, call, rig
from tests.support.upstream import Seen, completion, streamed

pytestmark = pytest.mark.asyncio(loop_scope="module")
WHOLE = json.dumps(call(False, max_tokens=20)).encode()
STREAM = json.dumps(call(True, max_tokens=20)).encode()


async def post(rigged: Rig, name: str, body: bytes = WHOLE, key: str = "") -> Reply:
    return await rigged.post(body, key, {"Idempotency-Key": name})


async def answer(seen: Seen) -> None:
    await seen.json(completion("stored", 10, 5))


async def test_a_whole_answer_is_given_again_and_charged_once(shared: Rig) -> None:
    shared.upstream.script = answer
    before = len(shared.seen)
    first = await post(shared, "whole-1")
    used = shared.usage()
    second = await post(shared, "whole-1")
    assert (first.status, second.status, second.text) == (200, 200, first.text)
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert (len(shared.seen), shared.usage()) == (before + 1, used)


async def test_another_request_or_another_key(shared: Rig) -> None:
    shared.upstream.script = answer
    await post(shared, "whole-2")
    other = await post(shared, "whole-2", WHOLE + b" ")
    assert (other.status, other.error["code"]) == (400, "idempotency_key_reused")
    stranger = await post(shared, "whole-2", key=shared.user())
    assert (stranger.status, "idempotent-replayed" in stranger.headers) == (200, False)
    bad = await post(shared, "x" * 256)
    assert (bad.status, bad.error["param"]) == (400, "Idempotency-Key")


async def test_while_it_runs_and_after_a_stream(shared: Rig) -> None:
    go = asyncio.Event()

    async def held(seen: Seen) -> None:
        await go.wait()
        await streamed(["Hello"], prompt=10)(seen)

    shared.upstream.script = held
    before = len(shared.seen)
    running = asyncio.create_task(post(shared, "stream-1", STREAM))
    await shared.reached(before + 1)
    waiting = await post(shared, "stream-1", STREAM)
    assert (waiting.status, waiting.error["code"]) == (409, "idempotency_in_progress")
    assert waiting.headers["retry-after"] == "1"
    go.set()
    assert (await running).content == "Hello"
    done = await post(shared, "stream-1", STREAM)
    assert (done.status, done.error["code"]) == (409, "idempotency_completed")
    assert done.headers["x-should-retry"] == "false"
    assert len(shared.seen) == before + 1


async def test_twenty_at_once_reach_the_upstream_once(shared: Rig) -> None:
    async def slow(seen: Seen) -> None:
        await asyncio.sleep(0.3)
        await answer(seen)

    shared.upstream.script = slow
    before = len(shared.seen)
    replies = await asyncio.gather(*(post(shared, "race") for _ in range(20)))
    assert len(shared.seen) == before + 1
    assert {reply.status for reply in replies} == {200, 409}
    assert sum(reply.status == 200 and "idempotent-replayed" not in reply.headers for reply in replies) == 1


async def test_refused_and_released_attempts_free_the_key(shared: Rig) -> None:
    async def refuse(seen: Seen) -> None:
        await seen.json({"error": {"message": "no"}}, "400 Bad Request")

    shared.upstream.script = refuse
    assert (await post(shared, "freed")).status == 400
    key = shared.user(daily_output=5)
    assert (await post(shared, "freed", key=key)).status == 429
    shared.admin("user.set", user=shared.last_user, daily_output=None)
    shared.upstream.script = answer
    for each in ("", key):
        reply = await post(shared, "freed", key=each)
        assert (reply.status, "idempotent-replayed" in reply.headers) == (200, False)


@pytest.mark.parametrize("keeps", [True, False])
async def test_after_a_kill(tmp_path: Path, keeps: bool) -> None:
    """What was answered is given again (or refused where answers are not kept), what was cut is completed."""
    async with rig(tmp_path, more=f"[idempotency]\nstore_replies = {str(keeps).lower()}") as rigged:
        rigged.upstream.script = answer
        first = await post(rigged, "done")

        async def never(seen: Seen) -> None:
            await seen.gone(30)

        rigged.upstream.script = never
        cut = asyncio.create_task(post(rigged, "cut"))
        await rigged.reached(2)
        rigged.server.kill()
        with pytest.raises(Exception, match=r"."):
            await cut
        rigged.server.start()
        again: dict[str, Any] = {name: await post(rigged, name) for name in ("done", "cut")}
        assert again["cut"].error["code"] == "idempotency_completed"
        if keeps:
            assert (again["done"].status, again["done"].text) == (200, first.text)
        else:
            assert again["done"].error["code"] == "idempotency_completed"
        assert rigged.admin("ledger.check")["ok"]
