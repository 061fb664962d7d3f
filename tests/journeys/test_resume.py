"""Streams that outlive their connections, through a real server: cut anywhere, the same bytes and the same bill."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.resuming import EVENTS, Gated, Stream, finished, paced, whole
from tests.support.rig import Rig, call, rig
from tests.support.upstream import DONE, Seen, delta, event

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def resumable(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with rig(tmp_path_factory.mktemp("resumable"), ledger="lease_tokens = 8") as rigged:
        yield rigged


@pytest.mark.parametrize("script", [paced, None])
async def test_cut_after_every_event(resumable: Rig, script: Any) -> None:
    """Of a stream that goes on slowly, and of one whose rest comes at once behind its client's back."""

    async def cut_after(events: int) -> Stream:
        stream = await Stream.begun(resumable)
        await stream.read(events)
        stream.cut()
        await asyncio.sleep(0.002 * events)
        await stream.again()
        await stream.read()
        return stream

    if script is None:
        script = Gated()
        script.go.set()
    resumable.upstream.script = script
    streams = await asyncio.gather(*(cut_after(events) for events in range(len(EVENTS) + 1)))
    expected = await whole(resumable, streams[0])
    assert expected.count(b"\n\n") == len(EVENTS)
    for stream in streams:
        assert stream.got == expected.replace(streams[0].id.encode(), stream.id.encode())
        hold = await finished(resumable, stream)
        found = (hold["end_reason"], hold["usage_source"], hold["s_input"], hold["s_output"])
        assert found == ("finished", "upstream", 10, 6)


async def test_a_connection_per_event(resumable: Rig) -> None:
    resumable.upstream.script = paced
    requests = len(resumable.seen)
    stream = await Stream.begun(resumable)
    while await stream.read(stream.count + 1) and not stream.got.endswith(DONE):
        stream.cut()
        await stream.again()
    assert len(resumable.seen) == requests + 1
    assert stream.got == await whole(resumable, stream)
    assert (await stream.get(0)).text.encode() == stream.got  # and once more in one go
    assert (await stream.get(len(EVENTS))).text == ""


async def test_a_stream_that_ends_unread_is_charged_and_waits_for_its_client(resumable: Rig) -> None:
    resumable.upstream.script = script = Gated()
    stream = await Stream.begun(resumable)
    await stream.read(2)
    stream.cut()
    script.go.set()
    hold = await finished(resumable, stream)
    assert (hold["end_reason"], hold["s_output"]) == ("finished", 6)
    await stream.again()
    await stream.read()
    assert stream.got == await whole(resumable, stream)


async def test_the_second_reader_takes_over(resumable: Rig) -> None:
    resumable.upstream.script = script = Gated()
    first = await Stream.begun(resumable)
    await first.read(2)
    second = Stream(resumable)
    second.id = first.id
    await second.again()
    assert not await first.read()  # its body has ended, in order, with what it had
    assert first.count == 2
    script.go.set()
    await second.read()
    assert second.got == await whole(resumable, second)
    assert second.got.startswith(first.got)


async def test_an_error_is_an_event_like_any_other(resumable: Rig) -> None:
    resumable.upstream.script = script = Gated(rest=b'data: {"error":{"message":"no","code":"429"}}\n\n')
    stream = await Stream.begun(resumable)
    await stream.read(2)
    stream.cut()
    script.go.set()
    await finished(resumable, stream)
    reply = await stream.get(2)
    assert [list(each) for each in reply.events] == [["error"]]
    assert (await stream.get(3)).text == ""


async def test_another_key_knows_nothing_of_it(resumable: Rig) -> None:
    resumable.upstream.script = script = Gated()
    mine, other = resumable.user(), resumable.user()
    stream = await Stream.begun(resumable, mine)
    await stream.read(1)
    for after, key, status, code in ((0, other, 404, "not_found"), (9, mine, 400, "invalid_value")):
        reply = await stream.get(after, key)
        assert (reply.status, reply.error["code"]) == (status, code)
    script.go.set()  # none of that has touched its reader
    await stream.read()
    assert stream.got.endswith(DONE)


async def test_a_stream_that_nobody_reads_keeps_its_place(resumable: Rig) -> None:
    resumable.upstream.script = script = Gated()
    key = resumable.user(concurrency=1)
    stream = await Stream.begun(resumable, key)
    await stream.read(2)
    stream.cut()
    await asyncio.sleep(0.1)
    refused = await resumable.post(call(), key)
    assert (refused.status, refused.error["code"]) == (429, "concurrent_requests_exceeded")
    await asyncio.wait_for(stream.again(), 5)  # the status comes at once, though there is nothing new to read
    script.go.set()
    await stream.read()
    assert (await resumable.post(call(), key)).status == 200


async def test_an_admin_ends_a_stream_that_nobody_reads(resumable: Rig) -> None:
    resumable.upstream.script = script = Gated()
    key = resumable.user()
    stream = await Stream.begun(resumable, key)
    await stream.read(2)
    stream.cut()
    hold = resumable.hold(stream.id)
    assert resumable.admin("key.revoke", id=hold["key_id"], now=True)["streams_stopped"] == 1
    assert (await finished(resumable, stream))["end_reason"] == "invalid_api_key"
    await asyncio.wait_for(script.closed.wait(), 5)
    assert (await stream.get(2)).status == 401


async def test_what_nobody_reads_pauses_the_upstream(resumable: Rig) -> None:
    pieces = 400
    sent = 0

    async def script(seen: Seen) -> None:
        nonlocal sent
        await seen.head_sse()
        for number in range(pieces):
            choice = {"index": 0, "delta": {"content": f" {number}"}}
            await seen.chunk(event({"choices": [choice], "pad": "x" * 50_000}))
            sent += 1
        await seen.chunk(delta(None, finish="stop") + DONE)
        await seen.end()

    resumable.upstream.script = script
    stream = await Stream.begun(resumable, max_tokens=2000)
    await stream.read(1)
    stream.cut()
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.4)
    assert sent < pieces * 0.75  # what the sockets take, 256 KiB, and no more
    rest = (await stream.get(1)).text
    assert re.findall(r'"content":" (\d+)"', rest) == [str(number) for number in range(1, pieces)]
    assert (await finished(resumable, stream))["end_reason"] == "finished"
    assert (await stream.get(0)).error["code"] == "stream_expired"  # 20 MB have gone through a buffer of one
