"""Reading a body: its limits in size and time, a client that leaves, and which media types are read at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from starlette.types import Message, Scope

from streamrouter.errors import Refusal
from streamrouter.relay.sink import BODY
from streamrouter.web.body import ClientLeft, check_media_type, header, read_body
from tests.support.asgi import Pairs, scope_of

MOST = 10


class Arriving:
    """``receive`` that gives these pieces, then what ``last`` says: nothing more, a disconnect, or silence."""

    def __init__(self, pieces: Sequence[bytes], last: str = "end") -> None:
        more = [True] * len(pieces)
        if last == "end":
            more[-1] = False
        self.messages: list[Message] = [
            {"type": "http.request", "body": piece, "more_body": rest} for piece, rest in zip(pieces, more, strict=True)
        ]
        if last == "leave":
            self.messages.append({"type": "http.disconnect"})
        self.taken = 0

    async def __call__(self) -> Message:
        if not self.messages:
            await asyncio.Event().wait()
        self.taken += 1
        return self.messages.pop(0)


async def read(receive: Arriving, headers: Pairs = (), timeout_s: float = 5) -> bytes:
    return await read_body(scope_of("POST", headers=headers), receive, MOST, timeout_s)


@pytest.mark.parametrize("pieces", [[b""], [b"abc"], [b"abc", b"de", b""], [b"", b"x" * MOST]])
async def test_a_body_is_read_whole(pieces: list[bytes]) -> None:
    assert await read(Arriving(pieces)) == b"".join(pieces)


@pytest.mark.parametrize("length", ["11", "99999999999999999999999999", "1" * 5000])
async def test_a_length_that_is_too_large_is_refused_unread(length: str) -> None:
    receive = Arriving([b"x"])
    with pytest.raises(Refusal, match="10 bytes") as raised:
        await read(receive, [("content-length", length)])
    assert raised.value.code == "request_too_large"
    assert receive.taken == 0


@pytest.mark.parametrize("headers", [[], [("content-length", "3")], [("content-length", "rubbish")]])
async def test_a_body_that_grows_too_large_is_refused_while_it_grows(headers: Pairs) -> None:
    receive = Arriving([b"x" * 6, b"x" * 6, b"x" * 6])
    with pytest.raises(Refusal) as raised:
        await read(receive, headers)
    assert raised.value.code == "request_too_large"
    assert receive.taken == 2


async def test_a_body_that_is_here_already_is_not_waited_for() -> None:
    def having(body: bytes | None) -> Scope:
        return {**scope_of("POST"), "extensions": {BODY: lambda: body}}

    receive = Arriving([b"ab"])
    assert await read_body(having(b"x" * MOST), receive, MOST, 5) == b"x" * MOST
    with pytest.raises(Refusal, match="10 bytes"):
        await read_body(having(b"x" * 11), receive, MOST, 5)
    assert receive.taken == 0
    assert await read_body(having(None), receive, MOST, 5) == b"ab"


async def test_a_body_that_does_not_come_in_time_is_refused() -> None:
    with pytest.raises(Refusal) as raised:
        await read(Arriving([b"x"], "silence"), timeout_s=0.01)
    assert raised.value.code == "request_timeout"


async def test_a_client_that_leaves_is_nobody_to_answer() -> None:
    with pytest.raises(ClientLeft):
        await read(Arriving([b"x"], "leave"))


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ([("content-type", "application/json")], True),
        ([("content-type", "Application/JSON; charset=utf-8")], True),
        ([("content-type", "application/vnd.api+json")], True),
        ([("content-type", "application/json"), ("content-encoding", "Identity")], True),
        ([("content-type", "application/json"), ("content-encoding", "gzip")], False),
        ([("content-type", "application/json"), ("content-encoding", "br")], False),
        ([], False),
        ([("content-type", "")], False),
        ([("content-type", "text/plain")], False),
        ([("content-type", "text/plain+json")], False),
        ([("content-type", "multipart/form-data; boundary=application/json")], False),
        ([("content-type", "application/x-www-form-urlencoded")], False),
        ([("content-type", "application/xml")], False),
        ([("content-type", "application/jsonp")], False),
    ],
)
def test_only_plain_json_is_read(headers: Pairs, good: bool) -> None:
    scope = scope_of("POST", headers=headers)
    if good:
        check_media_type(scope)
        return
    with pytest.raises(Refusal) as raised:
        check_media_type(scope)
    assert raised.value.rule.status == 415


def test_the_first_header_of_a_name_counts() -> None:
    scope: Scope = {"headers": [(b"a", b"1"), (b"b", b""), (b"a", b"2")]}
    assert (header(scope, b"a"), header(scope, b"b"), header(scope, b"c")) == (b"1", b"", None)
