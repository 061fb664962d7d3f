"""The replay between a relay and its clients: events by number, one reader at a time, bounded in bytes and in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from streamrouter.errors import Refusal
from tests.relay.replayed import EVENTS, Stream


@pytest.fixture
async def stream() -> AsyncIterator[Stream]:
    made = Stream()
    yield made
    made.replay.forget()


async def test_a_client_that_stays_gets_what_the_relay_writes_as_it_writes_it(stream: Stream) -> None:
    client, reading = stream.client()
    assert client.calls == []
    stream.replay.start(200, [(b"a", b"b")])
    stream.say(EVENTS[0])
    stream.say(*EVENTS[1:3])
    stream.replay.end(EVENTS[3])
    assert client.calls == ["start", "end"]
    assert client.writes == [EVENTS[0], EVENTS[1] + EVENTS[2], EVENTS[3] + b"end"]
    assert reading.over.done()
    assert stream.relay.calls == []


async def test_nothing_counts_after_the_end(stream: Stream) -> None:
    client, _ = stream.client()
    stream.replay.start(200, [])
    stream.replay.end(EVENTS[0])
    stream.replay.write(EVENTS[1])
    stream.replay.end(EVENTS[2])
    assert client.all == EVENTS[0]


@pytest.mark.parametrize("after", range(8))
@pytest.mark.parametrize("pieces", [(7,), (1,) * 7, (2, 3, 2), (3, 4)])
@pytest.mark.parametrize("ended", [True, False])
async def test_every_event_can_be_gone_on_after(
    stream: Stream, pieces: tuple[int, ...], after: int, ended: bool
) -> None:
    stream.replay.start(200, [])
    at = 0
    for size in pieces:
        stream.say(*EVENTS[at : at + size])
        at += size
    if ended:
        stream.replay.end(b"")
    for _ in range(2):  # what has been read can be read again
        client, reading = stream.client(after)
        assert client.all == b"".join(EVENTS[after:])
        assert client.calls == (["start", "end"] if ended else ["start"])
        assert reading.over.done() == ended
    if not ended:
        stream.replay.end(EVENTS[0])
        assert client.all == b"".join(EVENTS[after:]) + EVENTS[0]


async def test_a_client_that_leaves_is_waited_for(stream: Stream) -> None:
    client, reading = stream.client()
    stream.replay.start(200, [])
    stream.say(*EVENTS[:2])
    assert client.reader is not None
    client.reader.client_gone()
    reading.client_gone()
    assert reading.over.done()
    assert not stream.replay.attended
    stream.say(*EVENTS[2:4])
    assert (client.all, stream.relay.calls) == (b"".join(EVENTS[:2]), [])
    again, _ = stream.client(1)
    stream.say(EVENTS[4])
    assert again.all == b"".join(EVENTS[1:5])
    assert stream.replay.attended


async def test_a_client_that_leaves_before_the_status_is_not(stream: Stream) -> None:
    _, reading = stream.client()
    reading.client_gone()
    assert stream.relay.calls == ["gone"]
    assert reading.over.done()


async def test_the_second_reader_replaces_the_first(stream: Stream) -> None:
    first, reading = stream.client()
    stream.replay.start(200, [])
    stream.say(*EVENTS[:3])
    second, _ = stream.client(2)
    assert (first.calls, reading.over.done()) == (["start", "end"], True)
    stream.say(EVENTS[3])
    assert first.all == b"".join(EVENTS[:3])
    assert second.all == b"".join(EVENTS[2:4])
    reading.client_gone()  # the first one's connection ends too: that is nobody's business any more
    reading.client_writable()
    assert stream.replay.attended


async def test_a_client_that_never_came_is_waited_for() -> None:
    stream = Stream(window_s=0.02)
    stream.replay.start(200, [])
    stream.say(EVENTS[0])
    await asyncio.sleep(0.05)
    assert stream.relay.calls == ["gone"]


async def test_after_the_window_the_client_has_left() -> None:
    stream = Stream(window_s=0.05)
    _, reading = stream.client()
    stream.replay.start(200, [])
    stream.say(EVENTS[0])
    for _ in range(3):  # each time somebody comes back it is whole again
        reading.client_gone()
        await asyncio.sleep(0.03)
        assert stream.relay.calls == []
        _, reading = stream.client(1)
    reading.client_gone()
    await asyncio.sleep(0.1)
    assert stream.relay.calls == ["gone"]
    assert stream.refused(1) == "stream_expired"
    stream.replay.over()
    assert (stream.refused(1), len(stream.book)) == ("stream_expired", 0)


async def test_a_finished_stream_is_kept_for_the_window() -> None:
    stream = Stream(window_s=0.05)
    stream.client()
    stream.replay.start(200, [])
    stream.replay.end(b"".join(EVENTS))
    stream.replay.over()
    again, _ = stream.client(5)
    assert again.all == b"".join(EVENTS[5:])
    assert len(stream.book) == 1
    await asyncio.sleep(0.1)
    assert (stream.refused(5), len(stream.book), stream.relay.calls) == ("stream_expired", 0, [])


async def test_a_call_that_breaks_off_cuts_its_client(stream: Stream) -> None:
    client, reading = stream.client()
    stream.replay.start(200, [])
    stream.say(EVENTS[0])
    stream.replay.over()
    assert (client.calls, reading.over.done()) == (["start"], True)
    assert stream.refused(0) == "stream_expired"


async def test_a_call_that_never_had_a_status_is_unknown(stream: Stream) -> None:
    _, reading = stream.client()
    stream.replay.over()
    stream.replay.over()
    assert reading.over.done()
    assert stream.refused(0) == "not_found"


async def test_who_may_read(stream: Stream) -> None:
    assert stream.refused(0) == "not_found"  # no status, no name
    stream.replay.start(200, [])
    assert stream.book.find("req_1", "key_1") is stream.replay
    for stranger in (("req_1", "key_2"), ("req_2", "key_1")):
        with pytest.raises(Refusal, match="no such stream"):
            stream.book.find(*stranger)
    stream.replay.over()
    assert stream.refused(0) == "stream_expired"
    with pytest.raises(Refusal, match="no such stream"):
        stream.book.find("req_1", "key_2")


async def test_an_event_that_is_not_there_yet(stream: Stream) -> None:
    stream.replay.start(200, [])
    stream.say(*EVENTS)
    assert stream.refused(8) == "invalid_value"
    with pytest.raises(Refusal):
        stream.client(8)
