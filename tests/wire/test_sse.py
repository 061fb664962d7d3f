from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrouter.wire.sse import DONE, EventTooLarge, Splitter, frame

CASES: dict[str, tuple[bytes, list[bytes]]] = {
    "one": (b'data: {"a":1}\n\n', [b'{"a":1}']),
    "several": (b'data: {"a":1}\n\ndata: {"a":2}\n\ndata: [DONE]\n\n', [b'{"a":1}', b'{"a":2}', DONE]),
    "crlf": (b'data: {"a":1}\r\n\r\ndata: {"a":2}\r\n\r\n', [b'{"a":1}', b'{"a":2}']),
    "cr": (b'data: {"a":1}\r\rdata: {"a":2}\r\r', [b'{"a":1}', b'{"a":2}']),
    "mixed": (
        b'data: {"a":1}\r\n\ndata: {"a":2}\n\r\ndata: {"a":3}\r\r\ndata: 4\n\r',
        [b'{"a":1}', b'{"a":2}', b'{"a":3}', b"4"],
    ),
    "no space": (b'data:{"a":1}\n\ndata:[DONE]\n\n', [b'{"a":1}', DONE]),
    "two spaces": (b"data:  1\n\n", [b"1"]),
    "tab": (b"data:\t1\n\n", [b"1"]),
    "multi-line": (b'data: {"a":\ndata: 1}\n\n', [b'{"a": 1}']),
    "multi-line crlf": (b'data: {"a":\r\ndata:1}\r\n\r\n', [b'{"a": 1}']),
    "bom": (b'\xef\xbb\xbfdata: {"a":1}\n\n', [b'{"a":1}']),
    "bom before a blank line": (b'\xef\xbb\xbf\ndata: {"a":1}\n\n', [b'{"a":1}']),
    "second bom is part of the name": (b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\ndata: 2\n\n", [b"2"]),
    "later bom is part of the name": (b"data: 1\n\n\xef\xbb\xbfdata: 2\n\n", [b"1"]),
    "comments": (b": ping\n\n:\n\ndata: 1\n: inside\n\n:\n:\n\n", [b"1"]),
    "empty data": (b"data:\n\ndata: \n\ndata\n\ndata: 1\n\n", [b"1"]),
    "empty first": (b"data: \n\ndata: 1\n\ndata: \n\n", [b"1"]),
    "empty data lines around": (b"data:\ndata: 1\ndata\n\n", [b"1"]),
    "fields": (b"event: message\nid: 7\nretry: 10\ndata: 1\nfoo: bar\n\nevent: x\n\n", [b"1"]),
    "field names are exact": (b"Data: 1\n\n data: 2\n\ndata : 3\n\ndatax: 4\n\ndata: 5\n\n", [b"5"]),
    "blank lines": (b"\n\n\n\ndata: 1\n\n\n\n\n\n", [b"1"]),
    "colon in value": (b"data: a: b\n\n", [b"a: b"]),
    "done with white space": (b"data: [DONE] \n\n", [DONE]),
    "data inside content": (b'data: {"a":"data: x"}\n\n', [b'{"a":"data: x"}']),
    "utf-8": ('data: {"a":"žluťoučký 😀"}\n\n'.encode(), ['{"a":"žluťoučký 😀"}'.encode()]),
    "separators of other worlds": ("data: a\u2028b\x0bc\n\n".encode(), ["a\u2028b\x0bc".encode()]),
    "nothing": (b"", []),
}
TAILS = [b"", b"data: cut", b'data: {"a":', b": ping", b"data: whole line\n", b"\r", b"event: x\n"]

ids = pytest.mark.parametrize(("stream", "expected"), CASES.values(), ids=CASES.keys())


def split(*reads: bytes) -> list[bytes]:
    splitter = Splitter()
    return [event for read in reads for event in splitter.feed(read)] + splitter.finish()


@ids
def test_whole(stream: bytes, expected: list[bytes]) -> None:
    assert split(stream) == expected


@ids
def test_byte_by_byte(stream: bytes, expected: list[bytes]) -> None:
    assert split(*(stream[i : i + 1] for i in range(len(stream)))) == expected


@ids
def test_split_at_every_position(stream: bytes, expected: list[bytes]) -> None:
    for i in range(len(stream) + 1):
        assert split(stream[:i], stream[i:]) == expected, i
        assert split(stream[:i], b"", stream[i:]) == expected, i


@ids
@pytest.mark.parametrize("tail", TAILS)
def test_with_a_tail(stream: bytes, expected: list[bytes], tail: bytes) -> None:
    assert split(stream + tail) == expected
    assert split(stream, tail) == expected
    assert split(b"data: 0\n\n" + stream.removeprefix(b"\xef\xbb\xbf") + tail)[0] == b"0"


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: [DONE]", [DONE]),
        (b"data:[DONE]\n", [DONE]),
        (b"data: [DONE]\r\n", [DONE]),
        (b"data: 1\n\ndata: [DONE]", [b"1", DONE]),
        (b"\xef\xbb\xbfdata: 1", []),
        (b'data: {"a":1}\n', []),
        (b'data: {"a":1}', []),
        (b"data: 1\ndata: [DONE]\n", []),
        (b"data: [DONE", []),
    ],
)
def test_the_end_discards_what_is_incomplete_except_done(stream: bytes, expected: list[bytes]) -> None:
    assert split(stream) == expected
    assert split(*(stream[i : i + 1] for i in range(len(stream)))) == expected


def naive(stream: bytes) -> list[bytes]:
    """The WHATWG text, sentence by sentence; then what is ours: join by spaces, strip, and drop what is blank."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    lines: list[bytes] = []
    line, i = b"", 0
    while i < len(stream):
        if stream[i : i + 2] == b"\r\n":
            lines, line, i = [*lines, line], b"", i + 2
        elif stream[i : i + 1] in (b"\r", b"\n"):
            lines, line, i = [*lines, line], b"", i + 1
        else:
            line, i = line + stream[i : i + 1], i + 1
    events: list[bytes] = []
    data = b""
    for line in lines:
        if line == b"":
            if data != b"":
                events.append(data[:-1] if data.endswith(b"\n") else data)
            data = b""
        elif line.startswith(b":"):
            continue
        else:
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data += value + b"\n"
    return [event.replace(b"\n", b" ").strip() for event in events if event.strip()]


pieces = st.lists(
    st.sampled_from(
        [
            b"data: ",
            b"data:",
            b"data",
            b"{",
            b"}",
            b"x",
            b" ",
            b"\n",
            b"\n\n",
            b"\r",
            b"\r\n",
            b":",
            b"\xef\xbb\xbf",
            b"id: 1",
        ]
    )
)


@given(parts=pieces, size=st.integers(1, 9))
def test_against_the_text_of_the_standard(parts: list[bytes], size: int) -> None:
    stream = b"".join(parts) + b"\n\nend: x"  # with no data pending at the end, the [DONE] exception cannot differ
    expected = naive(stream)
    assert split(stream) == expected
    assert split(*parts, b"\n\nend: x") == expected
    assert split(*(stream[i : i + size] for i in range(0, len(stream), size))) == expected


def test_pending_counts_what_is_held() -> None:
    splitter = Splitter()
    splitter.feed(b"data: 1\n\n")
    assert splitter.pending == 0
    splitter.feed(b"data: 123")
    assert splitter.pending == 9
    splitter.feed(b"\n\n")
    assert splitter.pending == 0


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
@pytest.mark.parametrize(
    "endless",
    [b"data: " + b"x" * 9999, b"data: xxxx\n" * 999, b": " + b"x" * 9999, b"data:\n" * 9999],
    ids=lambda b: b[:8],
)
def test_an_event_above_the_limit_is_refused_and_not_held(endless: bytes, size: int) -> None:
    splitter, limit = Splitter(max_event_bytes=1000), 1000
    with pytest.raises(EventTooLarge):
        for i in range(0, len(endless), size):
            splitter.feed(endless[i : i + size])
            assert splitter.pending <= limit


def test_a_whole_event_above_the_limit_is_refused() -> None:
    event = b"data: " + b"x" * 1001 + b"\n\n"
    for first in (b"", b"data: 1\n\n"):
        splitter = Splitter(max_event_bytes=1000)
        splitter.feed(first)
        with pytest.raises(EventTooLarge):
            splitter.feed(event)


def test_the_limit_is_of_an_event_not_of_a_read() -> None:
    splitter = Splitter(max_event_bytes=100)
    stream = b"data: 1\n\n" * 1000
    assert splitter.feed(stream) == [b"1"] * 1000
    assert splitter.feed(stream) == [b"1"] * 1000


def test_a_large_event_byte_by_byte_takes_linear_time() -> None:
    event = b"data: " + b"x" * (1 << 20) + b"\n\n"
    splitter, started = Splitter(max_event_bytes=1 << 21), time.perf_counter()
    events = [payload for i in range(len(event)) for payload in splitter.feed(event[i : i + 1])]
    assert len(events) == 1
    assert len(events[0]) == 1 << 20
    assert time.perf_counter() - started < 20  # quadratic: minutes


@pytest.mark.parametrize("event", [b":\n\n", b"\n", b"data:\n\n", b":\n"])
def test_a_million_empty_events_are_nothing(event: bytes) -> None:
    splitter, read, started = Splitter(), event * 65536, time.perf_counter()
    for _ in range(16):
        assert splitter.feed(read) == []
    assert splitter.pending == 0
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize("payload", [b'{"a":1}', b'{\n"a":\r\n1}', b'\r{"a":1}\n', b"[DONE]"])
def test_a_frame_is_one_event_on_one_line(payload: bytes) -> None:
    framed = frame(payload)
    assert framed.startswith(b"data: ")
    assert framed.index(b"\n") == len(framed) - 2
    (read,) = split(framed)
    assert read == DONE or json.loads(read) == json.loads(payload)


def test_nothing_in_a_payload_becomes_a_field() -> None:
    assert split(frame(b"1\n\ndata: 2\nid: 3")) == [b"1  data: 2 id: 3"]
