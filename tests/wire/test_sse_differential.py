"""The splitter beside two parsers that others wrote, httpx-sse and npm's eventsource-parser: the same events.

Where ours differs on purpose, the others' events are brought to its form here, one rule per line of ``as_payloads``;
what theirs make of a byte order mark, or of a CR that nothing follows, is evened out where they are called.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streamrouter.wire.sse import DONE, Splitter
from tests.support.node import Program, installed
from tests.support.profile import scaled
from tests.wire.test_sse import CASES, TAILS

BOM = b"\xef\xbb\xbf"
WHITE = " \t\n\r\x0b\x0c"
Cuts = list[list[int]]


@pytest.fixture(scope="module")
def eventsource_parser() -> Iterator[Program]:
    program = Program(installed() / "wire" / "data" / "eventsource_parser.mjs")
    yield program
    program.close()


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def as_payloads(datas: list[str]) -> list[bytes]:
    """What our splitter gives for events with these data."""
    joined = [data.replace("\n", " ") for data in datas]  # several data lines are one, joined by a space
    stripped = [data.strip(WHITE) for data in joined]  # white space around a JSON text means nothing
    return [data.encode() for data in stripped if data]  # an empty event is none


def by_httpx_sse(reads: list[bytes]) -> list[bytes]:
    response = httpx.Response(200, headers={"content-type": "text/event-stream; charset=utf-8"}, content=iter(reads))
    return as_payloads([event.data for event in EventSource(response).iter_sse()])


def by_eventsource_parser(program: Program, stream: bytes, cuts: Cuts) -> list[list[bytes]]:
    found = program.ask({"stream": base64.b64encode(stream).decode(), "cuts": cuts})
    return [as_payloads(datas) for datas in found]


def compare(program: Program, stream: bytes, cuts: Cuts) -> None:
    """Every way to cut ``stream`` through all three."""
    theirs = by_eventsource_parser(program, stream, cuts)
    complete = by_httpx_sse([stream.removeprefix(BOM)])  # it leaves the mark in the first line
    assert theirs == [complete] * len(cuts)
    (ended,) = by_eventsource_parser(program, stream + b"\n\n", [[]])
    unended = [DONE] if ended == [*complete, DONE] else []  # a [DONE] that lacks its blank line counts
    for each in cuts:
        splitter = Splitter()
        ours = [payload for read in pieces(stream, each) for payload in splitter.feed(read)]
        assert (ours, splitter.finish()) == (complete, unended), each


def everywhere(stream: bytes) -> Cuts:
    """Not at all, at each position, at each with an empty read between, and at all of them."""
    positions = list(range(len(stream) + 1))
    return [[], *([at] for at in positions), *([at, at] for at in positions), positions]


@pytest.mark.parametrize("name", CASES)
def test_the_cases_of_the_splitter(eventsource_parser: Program, name: str) -> None:
    stream, expected = CASES[name]
    assert by_httpx_sse([stream.removeprefix(BOM)]) == expected
    for tail in [b"", *TAILS]:
        whole = stream + tail
        compare(eventsource_parser, whole, everywhere(whole))


VALUES = st.one_of(
    st.sampled_from(
        ["[DONE]", '{"choices":[]}', "", " ", "\t", "7", "a: b", "data: x", "\ufeff", "žluťoučký 😀", "\0"]
    ),
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=6),
)
FIELDS = st.sampled_from(
    ["data: ", "data:", "data:", "data: ", "data", "", ":", ": ", "event: ", "id: ", "retry:", "x:"]
)
LINES = st.builds(lambda field, value: field + value, FIELDS, VALUES) | st.just("")
ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\r\n\r\n", "\r\r"])
STREAMS = st.builds(
    lambda bom, lines, tail: bom + "".join(line + end for line, end in lines).encode() + tail.encode(),
    st.sampled_from([b"", b"", BOM]),
    st.lists(st.tuples(LINES, ENDS), max_size=8),
    LINES,
)


@settings(max_examples=scaled(100, 5000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stream=STREAMS)
@example(stream=BOM + b"data: [DONE]")
@example(stream=b"data: 1\ndata\ndata: 2\n\n")
def test_any_stream_cut_everywhere(eventsource_parser: Program, stream: bytes) -> None:
    compare(eventsource_parser, stream, everywhere(stream))


@settings(max_examples=scaled(100, 5000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), stream=STREAMS)
def test_any_stream_cut_anyhow(eventsource_parser: Program, stream: bytes, data: st.DataObject) -> None:
    cut = st.lists(st.integers(0, len(stream)), max_size=12).map(sorted)
    cuts = data.draw(st.lists(cut, min_size=1, max_size=8))
    compare(eventsource_parser, stream, cuts)
    for each in cuts:
        reads = pieces(stream, each)
        assert by_httpx_sse(without_mark(reads)) == by_httpx_sse([stream.removeprefix(BOM)])


def without_mark(reads: list[bytes]) -> list[bytes]:
    """The same reads without a byte order mark at their start, which may be cut itself."""
    left = len(BOM) if b"".join(reads).startswith(BOM) else 0
    shorter = []
    for read in reads:
        gone = min(left, len(read))
        left -= gone
        shorter.append(read[gone:])
    return shorter
