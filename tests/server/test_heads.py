"""What a plain head is, held against h11: whatever is accepted here means the same there."""

from __future__ import annotations

from importlib.metadata import version

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamrouter.relay.sink import Headers
from streamrouter.server.heads import MOST_HEAD_BYTES, HeadReader, ResponseHeads

OPENAI_PYTHON = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nAccept-Encoding: gzip, deflate\r\n"
    b"Connection: keep-alive\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
    b"User-Agent: OpenAI/Python 1.60.0\r\nX-Stainless-Lang: python\r\nX-Stainless-Async: false\r\n"
    b"Authorization: Bearer sk-abc\r\nx-stainless-retry-count: 0\r\nContent-Length: 150\r\n\r\n"
)
NODE_FETCH = (
    b"POST /v1/chat/completions?a=b HTTP/1.1\r\nhost: x\r\nconnection: keep-alive\r\nauthorization: Bearer k\r\n"
    b"accept: */*\r\naccept-language: *\r\nsec-fetch-mode: cors\r\nuser-agent: node\r\ncontent-length: 2\r\n\r\n"
)
CURL = b"POST / HTTP/1.1\r\nHost: a:1\r\nUser-Agent: curl/8\r\nAccept: */*\r\nContent-Length: 2\r\n\r\n"
MINIMAL = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PLAIN = {"openai-python": OPENAI_PYTHON, "fetch": NODE_FETCH, "curl": CURL, "minimal": MINIMAL}

ODD = {
    "chunked": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "both framings": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "a list of lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
    "a length with a sign": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
    "a length without end": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"1" * 30 + b"\r\n\r\n",
    "an empty length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
    "a length in other digits": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ٣\r\n\r\n".encode(),
    "waits for 100": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
    "an upgrade": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "an upgrade without its option": b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "HEAD": b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute target": b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target that is not ASCII": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
    "a line folded with a tab": b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\tc\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "a bare line feed": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
    "a space at the end of a value": b"GET / HTTP/1.1\r\nHost: a \r\n\r\n",
    "a tab at the end of a value": b"GET / HTTP/1.1\r\nHost: a\t\r\n\r\n",
    "a line feed first": b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a NUL": b"GET / HTTP/1.1\r\nHost: a\x00\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nB\r\n\r\n",
    "an empty name": b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "connection options": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x\r\n\r\n",
    "an empty line first": b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\r\n\r\n",
}


def read_by_h11(head: bytes) -> tuple[h11.Request, int, bool] | None:
    """The request as h11 reads it, its body's length, and whether the connection goes on; None: h11 refuses it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD_BYTES)
    try:
        connection.receive_data(head)
        request = connection.next_event()
        if not isinstance(request, h11.Request):
            return None
        length = next((int(value) for name, value in request.headers if name == b"content-length"), 0)
        if length:
            if length > 100_000:
                return request, length, dict(request.headers).get(b"connection") != b"close"
            connection.receive_data(b"x" * length)
            connection.next_event()
        assert isinstance(connection.next_event(), h11.EndOfMessage)
    except h11.RemoteProtocolError:
        return None
    return request, length, connection.their_state is h11.DONE


def agrees(head: bytes) -> bool:
    """True if ``head`` is plain; it then means the same to h11."""
    ours = HeadReader().read(head)
    if ours is None:
        return False
    theirs = read_by_h11(head)
    assert theirs is not None, head
    request, length, keep = theirs
    assert request.http_version == b"1.1"
    assert ours.method.encode() == request.method
    assert ours.raw_path + (b"?" + ours.query if ours.query or b"?" in request.target else b"") == request.target
    assert ours.headers == list(request.headers)
    assert (ours.length, ours.keep) == (length, keep)
    return True


@pytest.mark.parametrize("head", PLAIN.values(), ids=PLAIN)
def test_what_clients_send_is_plain(head: bytes) -> None:
    assert agrees(head)


@pytest.mark.parametrize("head", ODD.values(), ids=ODD)
def test_anything_odd_is_not(head: bytes) -> None:
    assert HeadReader().read(head) is None


LINES = st.sampled_from(
    [
        *(b"Host: a", b"host:a", b"HOST: a b", b"Host:", b"Host: [::1]:80", b"Content-Length: 3", b"content-length:0"),
        *(b"Content-Length: 007", b"Content-Length: 1_0", b"Content-Length: 0x3", b"Content-Length: 3 ", b"TE: x"),
        *(b"Connection: close", b"Connection: Keep-Alive", b"connection: CLOSE", b"Connection: close, x"),
        *(
            b"Transfer-Encoding: chunked",
            b"Expect: x",
            b"Upgrade: x",
            b"X: y",
            b"X:\ty\t",
            b"X: \xff",
            b"X:",
            b"X: a:b",
        ),
        *(b"Authorization: Bearer k", b"Cookie: a=b", b"X: \x01", b"X: \x7f", b"X\x80: y", b"X Y: z", b"X: y\x0b"),
        *(b" folded", b"\tfolded", b"X", b":", b"X : y", b'"X": y', b"X: " + b"y" * 300),
    ]
)
HEADS = st.builds(
    lambda method, target, version, lines, ends: b"".join(
        line + end for line, end in zip([b" ".join([method, target, version]), *lines, b""], ends, strict=False)
    ),
    st.sampled_from([b"GET", b"POST", b"PUT", b"OPTIONS", b"HEAD", b"get", b"REVOKE", b"G(T", b"PRI", b"QUERY", b""]),
    st.sampled_from(
        [b"/", b"/v1/a?b=c", b"/%2e%2e?", b"//x", b"/a#b", b"/a\x7f", b"/\xe9", b"*", b"http://a/", b'/<>"']
    ),
    st.sampled_from([b"HTTP/1.1"] * 5 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 ", b"http/1.1", b"HTTP/1.10"]),
    st.lists(LINES, max_size=7),
    st.lists(st.sampled_from([b"\r\n"] * 30 + [b"\n", b"\r", b"\r\r\n"]), min_size=9, max_size=9),
)


@settings(deadline=None, max_examples=600)
@given(HEADS)
def test_a_plain_head_means_the_same_to_h11(head: bytes) -> None:
    agrees(head[: head.find(b"\r\n\r\n") + 4])


@settings(deadline=None, max_examples=400)
@given(
    head=st.sampled_from(list(PLAIN.values())),
    at=st.integers(0, 400),
    cut=st.integers(0, 3),
    put=st.binary(max_size=3) | st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\x00", b"%"]),
)
@example(head=MINIMAL, at=6, cut=0, put=b"\r\n\r\n")
def test_a_changed_head_means_the_same_to_h11(head: bytes, at: int, cut: int, put: bytes) -> None:
    changed = head[:at] + put + head[at + cut :]
    agrees(changed[: changed.find(b"\r\n\r\n") + 4])


def test_one_reader_reads_one_request_after_the_other() -> None:
    reader = HeadReader()
    for _ in range(3):
        for head in PLAIN.values():
            read = reader.read(head)
            assert read is not None
            assert read.headers == list(h11_headers(head))
            for _ in range(read.length):
                reader.skip(b"\r")


def h11_headers(head: bytes) -> Headers:
    read = read_by_h11(head)
    assert read is not None
    return list(read[0].headers)


def test_a_path_is_unescaped_and_a_query_is_not() -> None:
    read = HeadReader().read(b"GET /a%20b?c%20d HTTP/1.1\r\nHost: a\r\n\r\n")
    assert read is not None
    assert (read.path, read.raw_path, read.query) == ("/a b", b"/a%20b", b"c%20d")


FIELDS = st.lists(
    st.tuples(
        st.from_regex(rb"[a-z][a-z0-9-]{0,10}", fullmatch=True).filter(
            lambda name: name not in (b"content-length", b"transfer-encoding", b"connection")
        ),
        st.from_regex(rb"[\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,20}[\x21-\x7e\x80-\xff])?", fullmatch=True),
    ),
    max_size=6,
)


@settings(deadline=None, max_examples=100)
@given(status=st.integers(200, 599), headers=FIELDS)
def test_h11_reads_the_head_that_was_written(status: int, headers: Headers) -> None:
    heads = ResponseHeads(lambda: [(b"date", b"now")])
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(heads.write(status, headers, b"content-length: 0\r\n"))
    response = client.next_event()
    assert isinstance(response, h11.Response)
    assert response.status_code == status
    assert list(response.headers) == [*headers, (b"date", b"now"), (b"content-length", b"0")]


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\r"])
def test_a_header_cannot_end_its_line(value: bytes) -> None:
    with pytest.raises(ValueError, match="line break"):
        ResponseHeads(list).write(200, [(b"a", value)], b"")
    with pytest.raises(ValueError, match="line break"):
        ResponseHeads(list).write(200, [(value, b"a")], b"")


def test_what_is_relied_on_is_pinned() -> None:
    assert version("httptools").split(".")[:2] == ["0", "9"]
    assert version("hypercorn") == "0.18.0"
