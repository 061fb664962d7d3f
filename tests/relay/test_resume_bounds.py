"""What a replay may hold: bytes that nobody has read, bytes that somebody has, streams in flight and finished ones."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from streamrouter.errors import Refusal
from streamrouter.relay import resume
from streamrouter.relay.resume import UNDELIVERED_BYTES, Replays
from tests.relay.replayed import BIG, EVENTS, Client, Stream


@pytest.fixture
async def stream() -> AsyncIterator[Stream]:
    made = Stream()
    yield made
    made.replay.forget()


async def test_what_nobody_reads_pauses_the_upstream_and_a_reader_resumes_it(stream: Stream) -> None:
    stream.replay.start(200, [])
    for _ in range(UNDELIVERED_BYTES // len(BIG)):
        stream.say(BIG)
    assert stream.relay.calls == []
    stream.say(BIG)
    stream.say(BIG)
    assert stream.relay.calls == ["blocked"]
    client, _ = stream.client()
    assert client.all == BIG * 6
    assert stream.relay.calls == ["blocked", "writable"]


async def test_a_client_that_does_not_read_pauses_it_too(stream: Stream) -> None:
    client, _ = stream.client()
    client.stuck = True
    stream.replay.start(200, [])
    for _ in range(5):
        stream.say(BIG)
    assert (client.all, stream.relay.calls, stream.replay.attended) == (BIG, [], False)
    stream.say(BIG)
    assert stream.relay.calls == ["blocked"]
    assert client.reader is not None
    client.reader.client_writable()
    assert client.all == BIG * 2  # one more, then it is blocked again
    assert stream.relay.calls == ["blocked", "writable"]
    stream.replay.end(EVENTS[0])
    assert client.all == BIG * 2
    client.stuck = False
    client.reader.client_writable()
    assert client.all == BIG * 6 + EVENTS[0]
    assert client.calls == ["start", "end"]


async def test_a_reader_that_goes_far_back_pauses_it(stream: Stream) -> None:
    stream.client()
    stream.replay.start(200, [])
    for _ in range(8):
        stream.say(BIG)
    slow = Client()
    slow.stuck = True
    stream.replay.attach(slow, 0, lambda headers: slow.start(200, headers))
    assert stream.relay.calls == ["blocked"]
    stream.client(8)
    assert stream.relay.calls == ["blocked", "writable"]


async def test_only_the_last_of_what_was_read_is_kept() -> None:
    stream = Stream(buffer_bytes=2 * len(BIG))
    client, reading = stream.client()
    stream.replay.start(200, [])
    for _ in range(6):
        stream.say(BIG)
        assert stream.replay.size <= 2 * len(BIG)
    assert client.all == BIG * 6
    assert stream.refused(3) == "stream_expired"
    client, reading = stream.client(4)
    assert client.all == BIG * 2
    reading.client_gone()
    for _ in range(10):  # what nobody has read is never dropped
        stream.say(BIG)
    client, _ = stream.client(4)
    assert client.all == BIG * 12
    assert stream.replay.size == 2 * len(BIG)
    stream.replay.forget()


async def test_a_buffer_of_nothing_still_says_where_it_is() -> None:
    stream = Stream(buffer_bytes=1)
    stream.client()
    stream.replay.start(200, [])
    stream.say(*EVENTS[:3])
    assert stream.refused(2) == "stream_expired"
    client, _ = stream.client(3)
    stream.say(EVENTS[3])
    assert client.all == EVENTS[3]
    stream.replay.forget()


async def test_only_so_many_are_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "MOST_LIVE", 2)
    book = Replays(60, 1000)
    first = book.new("1", "k")
    assert first is not None
    assert (book.new("2", "k") is None, book.new("3", "k")) == (False, None)
    first.over()
    assert book.new("3", "k") is not None


@pytest.mark.parametrize(("most", "most_bytes"), [(3, 10**6), (100, 3 * len(EVENTS[0]))])
async def test_only_so_many_finished_ones_are_kept_and_the_oldest_goes_first(
    monkeypatch: pytest.MonkeyPatch, most: int, most_bytes: int
) -> None:
    monkeypatch.setattr(resume, "MOST_KEPT", most)
    monkeypatch.setattr(resume, "MOST_KEPT_BYTES", most_bytes)
    monkeypatch.setattr(resume, "MOST_REMEMBERED", 2)
    book = Replays(60, 1000)
    made = []
    slow = Client()
    slow.stuck = True
    for number in range(8):
        replay = book.new(str(number), "k")
        assert replay is not None
        replay.start(200, [])
        if number == 0:  # somebody is reading this one: it stays
            replay.attach(slow, 0, lambda headers: slow.start(200, headers))
            assert slow.reader is not None
            slow.reader.client_blocked()
        replay.end(EVENTS[0])
        replay.over()
        made.append(replay)
    codes = []
    for number in range(8):
        try:
            codes.append(book.find(str(number), "k").id)
        except Refusal as refusal:
            codes.append(refusal.code)
    assert codes == ["0", "not_found", "not_found", "not_found", "stream_expired", "stream_expired", "6", "7"]
    for replay in made:
        replay.forget()
