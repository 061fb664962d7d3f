"""When a status is committed and how silence is filled, second by second."""

from __future__ import annotations

import pytest

from streamrouter.relay.downstream import Downstream
from streamrouter.relay.sink import Headers, Reader, Sink

PING = b"ping"


class Client:
    """A Sink that remembers in one list what was done to it."""

    attended = True

    def __init__(self) -> None:
        self.reader: Reader | None = None
        self.got: list[str] = []

    def start(self, status: int, headers: Headers) -> None:
        self.got.append(f"start {status}")

    def write(self, data: bytes) -> None:
        self.got.append(data.decode())

    def end(self, data: bytes) -> None:
        self.got.append(f"{data.decode()} end")

    async def close(self) -> None:
        """Nobody waits."""


def begin(sink: Sink) -> None:
    sink.start(200, [])


def make() -> tuple[Downstream, Client]:
    client = Client()
    downstream = Downstream(begin, lambda: PING, keepalive_s=15, commit_status_s=50)
    downstream.attach(client)
    return downstream, client


@pytest.mark.parametrize(
    ("now", "answered_at", "committed"),
    [
        (14.9, 0.0, False),
        (15.0, 0.0, True),  # 15 s of silence after the upstream's 200
        (15.0, None, False),  # no 200 yet
        (30.0, 15.1, False),
        (49.9, None, False),
        (50.0, None, True),  # in any case
        (50.0, 49.0, True),
    ],
)
def test_what_commits_a_status(now: float, answered_at: float | None, committed: bool) -> None:
    downstream, client = make()
    downstream.tick(now, 0.0, answered_at)
    assert downstream.committed is committed
    assert client.got == (["start 200", "ping"] if committed else [])


def test_a_status_is_committed_once_and_silence_counts_from_the_last_write() -> None:
    downstream, client = make()
    downstream.commit(100.0)
    downstream.commit(100.0)
    downstream.tick(114.9, 0.0, 0.0)
    assert client.got == ["start 200"]
    downstream.tick(115.0, 0.0, 0.0)
    downstream.tick(129.0, 0.0, 0.0)
    downstream.write(b"a", 129.5)
    downstream.tick(144.0, 0.0, 0.0)
    downstream.tick(144.5, 0.0, 0.0)
    assert client.got == ["start 200", "ping", "a", "ping"]


def test_a_blocked_client_gets_no_keep_alives() -> None:
    downstream, client = make()
    downstream.commit(0.0)
    downstream.blocked = True
    downstream.tick(100.0, 0.0, 0.0)
    downstream.blocked = False
    downstream.tick(100.0, 0.0, 0.0)
    assert client.got == ["start 200", "ping"]


def test_a_silence_that_nobody_hears_is_not_filled() -> None:
    downstream, client = make()
    downstream.commit(0.0)
    client.attended = False
    downstream.tick(100.0, 0.0, 0.0)
    client.attended = True
    downstream.tick(100.0, 0.0, 0.0)
    assert client.got == ["start 200", "ping"]


def test_nothing_is_written_after_the_end() -> None:
    downstream, client = make()
    downstream.commit(0.0)
    downstream.end(b"last")
    downstream.end(b"again")
    downstream.write(b"more", 1.0)
    downstream.tick(100.0, 0.0, 0.0)
    assert client.got == ["start 200", "last end"]
    assert not downstream.detach()


def test_nothing_is_written_to_a_client_that_left() -> None:
    downstream, client = make()
    assert downstream.detach()
    assert not downstream.detach()
    downstream.commit(0.0)
    downstream.tick(100.0, 0.0, 0.0)
    downstream.end(b"last")
    assert client.got == []
    assert not downstream.committed


def test_an_end_before_the_status_writes_nothing() -> None:
    downstream, client = make()
    downstream.end(b"last")
    assert client.got == []
