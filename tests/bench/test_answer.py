"""The load client's reader: every wire case whole, byte by byte, and cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.upstream import Playing, Script, script_of
from streamrouter.bench.answer import LONGEST_HEAD, Answer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":7}}\n\n'


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def whole(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def read(data: bytes, *, stream: bool = True, step: int = 1 << 20, thorough: bool = False) -> tuple[Answer, int]:
    """An answer that has been fed ``data`` in pieces, and the events that it counted."""
    answer = Answer(stream=stream, thorough=thorough)
    return answer, sum(answer.feed(data[at : at + step]) for at in range(0, len(data), step))


@pytest.mark.parametrize("step", [1, 2, 3, 7, 50, 1 << 20])
@pytest.mark.parametrize("thorough", [False, True])
def test_a_stream_however_it_is_cut(step: int, thorough: bool) -> None:
    answer, events = read(HEAD + chunked(EVENT * 3, EVENT, USAGE + DONE), step=step, thorough=thorough)
    assert (events, answer.tokens, answer.done, answer.over, answer.keep) == (5, 7, True, True, True)
    assert answer.ending() == ""


@given(st.lists(st.integers(1, 4000), max_size=30), st.booleans())
def test_the_benchmarks_own_stream_cut_anywhere(cuts: list[int], thorough: bool) -> None:
    body = b'{"model":"burst","stream":true,"max_tokens":20,"stream_options":{"include_usage":true}}'
    data = script_of(body, Playing()).first
    answer, events, at = Answer(stream=True, thorough=thorough), 0, 0
    for cut in [*cuts, len(data)]:
        events += answer.feed(data[at : at + cut])
        at += cut
    assert (events, answer.tokens, answer.ending()) == (23, 20, "")


def test_other_framings() -> None:
    crlf = b": keep-alive\r\n\r\n" + EVENT.replace(b"\n", b"\r\n") + DONE.replace(b"\n", b"\r\n")
    for step in (1, 1 << 20):
        answer, events = read(HEAD + chunked(crlf), step=step)
        assert (events, answer.ending()) == (1, "")
    plain = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    answer, events = read(plain + EVENT + DONE)
    assert (events, answer.over) == (1, False)
    answer.eof()
    assert (answer.ending(), answer.keep) == ("", False)
    answer, events = read(HEAD + b"5;x=y\r\n: a\n\n\r\n" + chunked(DONE)[:-2] + b"X-Trailer: 1\r\n\r\n", step=1)
    assert (events, answer.over, answer.ending()) == (0, True, "")


def test_an_interim_answer_is_passed_over() -> None:
    answer, events = read(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + HEAD + chunked(EVENT, DONE))
    assert (events, answer.status, answer.ending()) == (1, 200, "")


@pytest.mark.parametrize("step", [1, 1 << 20])
def test_a_whole_answer(step: int) -> None:
    body = b'{"choices":[{}],"usage":{"completion_tokens":12}}'
    answer, _ = read(whole(body), stream=False, step=step)
    assert (answer.tokens, answer.over, answer.keep, answer.ending()) == (12, True, True, "")
    answer, _ = read(whole(body, b"200 OK", b"Connection: close"), stream=False)
    assert (answer.ending(), answer.keep) == ("", False)
    answer, _ = read(whole(b""), stream=False)
    assert answer.ending() == "malformed"


def test_it_can_be_used_again() -> None:
    answer, _ = read(whole(b"{}", b"429 Slow"))
    assert answer.ending() == "status 429"
    for data, ending in ((HEAD + chunked(EVENT, DONE), ""), (HEAD + chunked(EVENT), "truncated")) * 2:
        answer.reset()
        assert answer.feed(data) == 1
        assert (answer.ending(), answer.over) == (ending, True)


ERRORS = {
    "a status": (whole(b'{"error":{"message":"x"}}', b"503 No"), "status 503"),
    "no [DONE]": (HEAD + chunked(EVENT), "truncated"),
    "cut within an event": (HEAD + b"100\r\n" + EVENT, "truncated"),
    "nothing at all": (b"", "closed"),
    "half a head": (HEAD[:30], "closed"),
    "an error event": (HEAD + chunked(EVENT, b'data: {"error":{"message":"x"}}\n\n'), "error event"),
    "an event that is not JSON": (HEAD + chunked(EVENT, b"data: {oops}\n\n", DONE), "malformed"),
    "an event without choices": (HEAD + chunked(b'data: {"usage":{"completion_tokens":1}}\n\n'), "malformed"),
    "a chunk without a size": (HEAD + b"zz\r\n" + EVENT, "malformed"),
    "a chunk's size below zero": (HEAD + b"-5\r\n" + EVENT, "malformed"),
    "not HTTP": (b"SSH-2.0-OpenSSH\r\n", "malformed"),
    "a status that is none": (b"HTTP/1.1 abc\r\n\r\n", "malformed"),
    "a length that is none": (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "malformed"),
    "more than its length": (whole(b"{}") + b"}", "malformed"),
    "an endless head": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * LONGEST_HEAD, "malformed"),
    "JSON instead of a stream": (whole(b'{"choices":[]}'), "malformed"),
}


@pytest.mark.parametrize(("data", "ending"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_each_error_has_its_kind(data: bytes, ending: str, step: int) -> None:
    answer, step = Answer(stream=True), max(step, len(data) // 1000)
    for at in range(0, len(data), step):
        if not answer.over:
            answer.feed(data[at : at + step])
    answer.eof()
    if ending == "malformed" and data.endswith(b"}}") and step == 1:
        return  # what follows a whole answer is the connection's business then
    assert answer.ending() == ending


def test_an_error_that_is_null_is_none() -> None:
    answer, events = read(HEAD + chunked(b'data: {"choices":[],"error":null}\n\n', DONE))
    assert (events, answer.ending()) == (1, "")


def test_only_a_thorough_reader_decodes_every_event() -> None:
    odd = HEAD + chunked(b'data: {"choices":oops}\n\n' * 5, EVENT, EVENT, DONE)
    assert read(odd)[0].ending() == ""
    assert read(odd, thorough=True)[0].ending() == "malformed"


def test_what_the_upstream_plays_is_what_is_read() -> None:
    played: Script = script_of(b'{"model":"whole","max_tokens":40}', Playing())
    answer, _ = read(played.first, stream=False)
    assert (answer.tokens, answer.ending()) == (40, "")
