"""What ``client`` relies on in aiohttp's insides; the behaviour as a whole is tested in test_client.py."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp.streams import StreamReader

from streamrouter.errors import Upstreamed
from streamrouter.upstream.push import PushConnector, PushHandler, PushReader, cut_short, take_over
from tests.support.upstream import ScriptedUpstream, Seen


class Silent:
    """A target of which nothing is expected."""

    def feed(self, data: bytes) -> None: ...
    def flush(self) -> None: ...
    def ended(self, fault: Upstreamed | None) -> None: ...


async def sized(seen: Seen) -> None:
    await seen.raw_body(b"0123456789", "200 OK", "text/plain")


async def endless(seen: Seen) -> None:
    await seen.head_sse()
    await seen.chunk(b"1")
    await seen.gone()


async def test_an_instance_can_change_its_class(upstream: ScriptedUpstream) -> None:
    """No slots of its own: else Python refuses, at the first answer."""
    assert PushReader.__slots__ == ()
    upstream.script = endless
    async with aiohttp.ClientSession(connector=PushConnector()) as session:
        response = await session.post(upstream.url)
        target = Silent()
        _, handler = take_over(response, target)
        assert isinstance(handler, PushHandler)
        assert handler.target is target
        assert type(response.content) is PushReader
        response.close()


async def test_what_arrived_is_returned_and_a_finished_connection_is_not(upstream: ScriptedUpstream) -> None:
    upstream.script = sized
    async with aiohttp.ClientSession(connector=PushConnector()) as session:
        response = await session.post(upstream.url)
        await response.content.wait_eof()
        assert take_over(response, Silent()) == (b"0123456789", None)
        assert type(response.content) is StreamReader


async def test_another_connector_is_refused(upstream: ScriptedUpstream) -> None:
    upstream.script = endless
    async with aiohttp.ClientSession() as session:
        response = await session.post(upstream.url)
        with pytest.raises(TypeError, match="PushConnector"):
            take_over(response, Silent())
        response.close()


def test_a_cut_body_may_have_been_billed() -> None:
    assert (cut_short().code, cut_short().ambiguous) == ("upstream_disconnected", True)
