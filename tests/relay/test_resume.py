"""The replay between a relay and its clients: events by number, one reader at a time, bounded in bytes and in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from streamrouter.errors import Refusal
from streamrouter.relay import resume
from streamrouter.relay.resume import UNDELIVERED_BYTES, Reading, Replay, Replays
from streamrouter.relay.sink import Headers
from tests.relay.dialogue import Recorder
from tests.support.serving import Told

EVENTS = [b"data: %d\n\n" % number for number in range(1, 8)]
BIG = b"data: " + b"x" * (64 * 1024 - 8) + b"\n\n"


class Client(Recorder):
    """A client's sink; blocked by its next write if ``stuck``."""

    def __init__(self) -> None:
        super().__init__([])
        self.stuck = False

    @property
    def calls(self) -> list[str]:
        return self._calls

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.stuck and self.reader is not None:
            self.reader.client_blocked()


class Stream:
    """A replay in a book of its own, and the relay's side of it."""

    def __init__(self, window_s: float = 60, buffer_bytes: int = 1024 * 1024) -> None:
        self.book = Replays(window_s, buffer_bytes)
        made = self.book.new("req_1", "key_1")
        assert made is not None
        self.replay: Replay = made
        self.relay = Told()
        self.replay.reader = self.relay

    def client(self, after: int = 0) -> tuple[Client, Reading]:
        client = Client()

        def head(headers: Headers) -> None:
            assert dict(headers)[b"x-streamrouter-resume"] == b"req_1"
            client.start(200, headers)

        return client, self.replay.attach(client, after, head)

    def say(self, *events: bytes) -> None:
        """In one write."""
        self.replay.write(b"".join(events))

    def refused(self, after: int) -> str:
        with pytest.raises(Refusal) as caught:
            self.book.find("req_1", "key_1").check(after)
        return caught.value.code


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


# -- bounds ---------------------------------------------------------------------------------------------------------


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
