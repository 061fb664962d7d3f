"""A key that is rotated with a time of grace, as its clients see it: two keys for a while, one cap, then one key.

(The end of a grace to the nanosecond: tests/ledger/test_rotations.py, tests/web/test_auth.py.)
"""

from __future__ import annotations

import asyncio

import pytest

from tests.support.rig import Rig, call
from tests.support.upstream import DONE, Seen, delta, streamed

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_old_key_works_on_and_shares_its_cap_until_the_next_rotation(shared: Rig) -> None:
    old = shared.user(concurrency=1)
    (key,) = shared.admin("key.list", user=shared.last_user)
    finish = asyncio.Event()

    async def held(seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta("hello"))
        await finish.wait()
        await seen.chunk(delta(None, finish="stop") + DONE)
        await seen.end()

    shared.upstream.queue.append(held)
    async with shared.ask(call(), old) as response:
        assert response.status == 200
        await response.content.readany()
        rotated = shared.admin("key.rotate", id=key["id"], grace_s=3600)
        new = rotated["key"]
        for secret in (old, new):  # the stream of the old one counts for both
            refused = await shared.post(call(), secret)
            assert (refused.status, refused.error["code"]) == (429, "concurrent_requests_exceeded")
        finish.set()
        assert b"[DONE]" in await response.read()
    await shared.settled()
    for secret in (old, new):
        shared.upstream.queue.append(streamed(["hello"]))
        assert (await shared.post(call(), secret)).status == 200
        await shared.settled()
    last = shared.admin("key.rotate", id=rotated["id"])["key"]
    statuses = [(await shared.post(b"{}", secret)).status for secret in (old, new, last)]
    assert statuses == [401, 401, 400]  # the one that is good gets as far as its empty body
    assert shared.admin("ledger.check")["ok"]
    assert shared.usage(shared.last_user)["output"]["used"] == 3  # three answers of one token, whichever key asked
