"""A replay with the relay on its one side and clients on its other, as its tests use it."""

from __future__ import annotations

import pytest

from streamrouter.errors import Refusal
from streamrouter.relay.resume import Reading, Replay, Replays
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
