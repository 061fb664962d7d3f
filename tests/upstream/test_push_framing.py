"""What does not pass aiohttp's parser against what does: however a body is framed and cut, the same bytes arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrouter.errors import Upstreamed
from streamrouter.upstream.push import PushHandler, take_over, whole_chunk
from tests.upstream.wired import CHUNKED


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b"5\r\nhello\r\n", b"hello"),
        (b"0005\r\nhello\r\n", b"hello"),
        (b"A\r\n0123456789\r\n", b"0123456789"),
        (b"a\r\n0123456789\r\n", b"0123456789"),
        (b"2\r\n\r\n\r\n", b"\r\n"),
        (b"5;x=y\r\nhello\r\n", None),  # an extension
        (b"5 \r\nhello\r\n", None),
        (b"+5\r\nhello\r\n", None),
        (b"0_5\r\nhello\r\n", None),
        (b"0x5\r\nhello\r\n", None),
        (b"\r\nhello\r\n", None),
        (b"5\nhello\r\n", None),
        (b"5\r\nhello\r", None),
        (b"5\r\nhello\n\n", None),
        (b"5\r\nhell\r\n", None),
        (b"4\r\nhello\r\n", None),
        (b"5\r\nhello\r\n5\r\nhello\r\n", None),
        (b"5\r\nhello\r\n0\r\n\r\n", None),
        (b"0\r\n\r\n", None),
        (b"00000005\r\nhello\r\n", None),
        (b"", None),
    ],
)
def test_what_is_exactly_one_chunk(data: bytes, content: bytes | None) -> None:
    assert whole_chunk(data) == content


class Wire(asyncio.Transport):
    """Takes whatever its protocol asks of it."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...

    def abort(self) -> None:
        self.aborted = True


class Kept:
    """A target."""

    def __init__(self) -> None:
        self.data = b""
        self.fed = 0
        self.flushed = 0
        self.ends: list[Upstreamed | None] = []

    def feed(self, data: bytes) -> None:
        assert data and not self.ends
        self.fed += 1
        self.data += data

    def flush(self) -> None:
        self.flushed += 1

    def ended(self, fault: Upstreamed | None) -> None:
        self.ends.append(fault)


class Body:
    """An answer, as ``take_over`` wants it."""

    def __init__(self, handler: PushHandler, loop: asyncio.AbstractEventLoop) -> None:
        _, self.content = loop.run_until_complete(handler.read())

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def begun(loop: asyncio.AbstractEventLoop) -> tuple[PushHandler, Kept]:
    """A connection whose answer's head has come, and whose body is pushed."""
    handler, kept = PushHandler(loop), Kept()
    handler.connection_made(Wire())
    handler.set_response_params(read_until_eof=True, auto_decompress=False)
    handler.data_received(CHUNKED)
    arrived, taken = take_over(Body(handler, loop), kept)
    assert arrived == b"" and taken is handler
    return handler, kept


SIZES = st.sampled_from(["%x", "%X", "%03x", "%x;name=value"])
CHUNKS = st.lists(st.tuples(st.binary(min_size=1, max_size=40) | st.just(b"5\r\nhello\r\n"), SIZES), max_size=8)


@given(chunks=CHUNKS, data=st.data())
def test_any_chunks_cut_anywhere_are_the_same_bytes(
    loop: asyncio.AbstractEventLoop, chunks: list[tuple[bytes, str]], data: st.DataObject
) -> None:
    framed = [(size % len(content)).encode() + b"\r\n" + content + b"\r\n" for content, size in chunks]
    raw = b"".join(framed) + b"0\r\n\r\n"
    ends = list(accumulate(map(len, framed)))
    cuts = set(data.draw(st.lists(st.sampled_from(ends), max_size=8))) if ends else set()  # between two chunks
    cuts |= data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=6))  # and anywhere
    handler, kept = begun(loop)
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(raw)], strict=True):
        handler.data_received(raw[start:end])
    assert kept.data == b"".join(content for content, _ in chunks)
    assert kept.ends == [None]
    assert not handler.should_close


def test_a_chunk_that_is_a_read_passes_without_the_parser(loop: asyncio.AbstractEventLoop) -> None:
    handler, kept = begun(loop)
    handler.data_received(b"5\r\nhello\r\n")  # where it ends is the parser's to say once
    seen = handler._payload
    for _ in range(3):
        handler.data_received(b"5\r\nhello\r\n")
    assert (kept.fed, kept.flushed, kept.data) == (4, 4, b"hello" * 4)
    assert seen is not None and seen.total_bytes == 5
    handler.data_received(b"5\r\nhel")
    handler.data_received(b"lo\r\n")
    assert seen.total_bytes == 10
    handler.data_received(b"5\r\nhello\r\n0\r\n\r\n")
    assert (kept.data, kept.ends) == (b"hello" * 6, [None])


@pytest.mark.parametrize("count", [100, 5_000, 20_000])
def test_what_came_before_anybody_took_it_over_is_whole(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """aiohttp would stop its parser above some thousand chunks, and go on when it is read."""
    handler = PushHandler(loop)
    handler.connection_made(Wire())
    handler.set_response_params(read_until_eof=True, auto_decompress=False)
    handler.data_received(CHUNKED + b"1\r\nx\r\n" * count)
    body, kept = Body(handler, loop), Kept()
    arrived, taken = take_over(body, kept)
    assert taken is handler
    handler.data_received(b"1\r\nx\r\n0\r\n\r\n")
    assert (len(arrived), kept.data, kept.ends) == (count, b"x", [None])


def test_broken_framing_ends_the_connection_at_once(loop: asyncio.AbstractEventLoop) -> None:
    handler, kept = begun(loop)
    handler.data_received(b"5\r\nhello\r\n")
    wire = handler.transport
    assert isinstance(wire, Wire)
    before = wire.aborted
    handler.data_received(b"ZZ\r\n")
    assert (before, wire.aborted) == (False, True)  # one of TLS that is closed waits for the other side
    handler.connection_lost(None)
    assert [type(end) for end in kept.ends] == [Upstreamed] and kept.data == b"hello"


def test_nothing_follows_the_last_chunk(loop: asyncio.AbstractEventLoop) -> None:
    handler, kept = begun(loop)
    handler.data_received(b"5\r\nhello\r\n")
    handler.data_received(b"0\r\n\r\n")
    assert kept.ends == [None] and handler.target is None
    handler.data_received(b"5\r\nhello\r\n")
    assert kept.data == b"hello" and handler.should_close
