"""Clients that leave in the middle of a stream, and clients that stay and keep a slot taken."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from tests.conformance.wire import call, refusals
from tests.support.rig import holds
from tests.support.server import Server
from tests.support.upstream import Seen, delta

PROMPT = 10
TOKENS = 2


def last_hold(server: Server) -> dict[str, Any]:
    """The newest request's row, closed."""
    end = time.monotonic() + 5
    while (hold := holds(server.ledger)[-1])["state"] == "open" and time.monotonic() < end:
        time.sleep(0.005)
    return hold


class Endless:
    """A script that says two tokens and then waits until it is hung up on."""

    def __init__(self) -> None:
        self.hung_up = threading.Event()

    async def __call__(self, seen: Seen) -> None:
        await seen.head_sse()
        for _ in range(TOKENS):
            await seen.chunk(delta(" token"))
        if await seen.gone():
            self.hung_up.set()

    def assert_charged(self, server: Server) -> None:
        """The upstream was hung up on, and what was delivered is charged."""
        assert self.hung_up.wait(2.5)  # promised: 100 ms
        hold = last_hold(server)
        assert (hold["state"], hold["end_reason"], hold["usage_source"]) == ("settled", "client_left", "abort")
        assert (hold["s_input"], hold["s_output"]) == (PROMPT, TOKENS)


@contextlib.contextmanager
def slot_taken(server: Server, key: str, release: threading.Event) -> Iterator[None]:
    """A stream of ``key`` is open. Once another request was refused for it, ``release`` is set and it ends."""
    before = refusals(server, "concurrent_requests_exceeded")

    def free() -> None:
        end = time.monotonic() + 10
        while refusals(server, "concurrent_requests_exceeded") == before and time.monotonic() < end:
            time.sleep(0.02)
        release.set()

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    freeing = threading.Thread(target=free)
    try:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(call()), headers)
        response = connection.getresponse()
        freeing.start()
        yield
        freeing.join()
        assert b"[DONE]" in response.read()
        assert refusals(server, "concurrent_requests_exceeded") == before + 1
    finally:
        connection.close()
