"""Streams that outlive their connection: the relay writes into a replay, whichever client is there reads from it.

To the relay a ``Replay`` is a sink like any other, and the clients' sinks see a reader like any other: neither knows
that there is anything in between. Events are counted from 1 as they are handed over, so a client that counts what it
got can come back and say after which one to go on; no field of the event stream is needed for that. What nobody has
read yet is bounded by pausing the upstream, what has been read is kept as far as the buffer goes. See docs/resume.md.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice

from msgspec import Struct

from streamrouter.errors import Refusal
from streamrouter.relay.sink import Headers, Reader, Sink

UNDELIVERED_BYTES = 256 * 1024  # more than that waits for nobody: the upstream is paused
MOST_LIVE = 1024  # beyond, a stream is served as if it had not asked
MOST_KEPT = 256  # finished streams, the oldest goes first
MOST_KEPT_BYTES = 64 * 1024 * 1024
MOST_REMEMBERED = 4096  # ids of which is known that they are over
_END = b"\n\n"  # of an event; stands nowhere inside of one (``wire.sse.frame``)


class _Piece(Struct):
    """One write of the relay's: the whole events ``first`` to ``last``."""

    first: int
    last: int
    data: bytes


class Reading:
    """One client's time with a replay. ``over`` is done when it has all, has left, or another took its place."""

    def __init__(self, replay: Replay, sink: Sink, head: Callable[[Headers], None]) -> None:
        self.sink = sink
        self.blocked = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._replay = replay
        self._head = head
        self._started = False

    def begin(self, headers: Headers) -> None:
        """Commit the client's status."""
        if not self._started:
            self._started = True
            self._head(headers)

    def finish(self) -> None:
        self.sink.reader = None
        if not self.over.done():
            self.over.set_result(None)

    def client_gone(self) -> None:
        self._replay.left(self)

    def client_blocked(self) -> None:
        self.blocked = True

    def client_writable(self) -> None:
        self.blocked = False
        self._replay.caught_up()


class Replay:
    """One stream's events. A ``Sink`` for its relay; ``attach`` gives it a client, and the next one takes over.

    ``committed``: there is a status, so a client may come back. ``ended``: the last event is here. ``gone``: nobody
    came back in time.
    """

    def __init__(self, book: Replays, stream_id: str, owner: str) -> None:
        self.reader: Reader | None = None
        self.id = stream_id
        self.owner = owner
        self.committed = self.ended = self.gone = False
        self.headers: Headers = []
        self.size = 0  # bytes that are here
        self._book = book
        self._pieces: deque[_Piece] = deque()
        self._count = 0  # events so far
        self._next = 0  # the first of the pieces that is not handed to a client
        self._undelivered = 0  # bytes from there on
        self._full = False
        self._reading: Reading | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- the relay's side -----------------------------------------------------------------------------------------

    @property
    def attended(self) -> bool:
        """A client is there and takes what comes."""
        return self._reading is not None and not self._reading.blocked

    @property
    def read(self) -> bool:
        """A client is there."""
        return self._reading is not None

    def start(self, status: int, headers: Headers) -> None:
        self.committed = True
        self.headers = [*headers, (b"x-streamrouter-resume", self.id.encode("ascii"))]
        if self._reading is not None:
            self._reading.begin(self.headers)
        else:
            self._wait()

    def write(self, data: bytes) -> None:
        if data and not self.ended:
            self._add(data)
            self._hand_over()

    def end(self, data: bytes) -> None:
        if self.ended:
            return
        if data:
            self._add(data)
        self.ended = True
        if self._reading is None:
            self._wait()
        self._hand_over()

    async def close(self) -> None:
        """Nothing is held; ``over`` says when the call is."""

    def over(self) -> None:
        """The call is settled, in whatever way. What has no end gets none: its client's connection is cut."""
        if not self.ended and self._reading is not None:
            self._depart().finish()
        self._book.finished(self)

    def _add(self, data: bytes) -> None:
        first = self._count + 1
        self._count += data.count(_END)
        self._pieces.append(_Piece(first, self._count, data))
        self.size += len(data)
        self._undelivered += len(data)

    # -- the clients' side ----------------------------------------------------------------------------------------

    def check(self, after: int) -> None:
        """Refuse to go on after an event that is not here any more, or not yet."""
        first = self._pieces[0].first if self._pieces else self._count + 1
        if self.gone or after < first - 1:
            raise Refusal("stream_expired", f"The events after {after} are not kept any more. Send the request anew.")
        if after > self._count:
            raise Refusal("invalid_value", f"This stream has sent {self._count} events so far.", param="after")

    def attach(self, sink: Sink, after: int, head: Callable[[Headers], None]) -> Reading:
        """Go on after event ``after`` on ``sink``; a reader before it gets its end. ``head``: commits the status.

        Raises Refusal as ``check`` does.
        """
        self.check(after)
        if self._reading is not None:
            former = self._depart()
            former.sink.end(b"")
            former.finish()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._seek(after)
        self._reading = reading = Reading(self, sink, head)
        sink.reader = reading  # which may say at once that the client has left
        if self._reading is reading and self.committed:
            reading.begin(self.headers)
            if self._next == len(self._pieces) and not self.ended:
                sink.write(b"")  # nothing was missed: say at once that it goes on
            self._hand_over()
        return reading

    def left(self, reading: Reading) -> None:
        """Its client is not there any more. Before the status it cannot come back: it does not know where to."""
        if reading is self._reading:
            self._depart()
            if self.committed:
                self._wait()
            else:
                self._give_up()
        reading.finish()

    def caught_up(self) -> None:
        """The client takes more."""
        self._hand_over()

    def _depart(self) -> Reading:
        reading, self._reading = self._reading, None
        assert reading is not None
        return reading

    def _seek(self, after: int) -> None:
        """The next piece is the one that begins behind event ``after``; a piece is cut in two for that."""
        pieces = self._pieces
        index = next((i for i, piece in enumerate(pieces) if piece.last > after), len(pieces))
        if index < len(pieces) and pieces[index].first <= after:
            piece, cut = pieces[index], 0
            for _ in range(after - piece.first + 1):
                cut = piece.data.index(_END, cut) + len(_END)
            pieces[index] = _Piece(piece.first, after, piece.data[:cut])
            index += 1
            pieces.insert(index, _Piece(after + 1, piece.last, piece.data[cut:]))
        self._next = index
        self._undelivered = sum(len(piece.data) for piece in islice(pieces, index, None))

    def _hand_over(self) -> None:
        """Give the client what it takes, keep the last of it, and pause or resume the upstream as it comes out."""
        while (reading := self._reading) is not None and not reading.blocked and self.committed:
            if self._next == len(self._pieces):
                if self.ended:
                    self._finish(b"")
                break
            data = self._pieces[self._next].data
            self._next += 1
            self._undelivered -= len(data)
            if self.ended and self._next == len(self._pieces):
                self._finish(data)
                break
            reading.sink.write(data)
        while self._next and self.size - self._undelivered > self._book.buffer_bytes:
            self.size -= len(self._pieces.popleft().data)
            self._next -= 1
        self._balance()

    def _finish(self, last: bytes) -> None:
        reading = self._depart()
        reading.sink.end(last)
        reading.finish()
        self._wait()

    def _balance(self) -> None:
        full = self._undelivered > UNDELIVERED_BYTES
        if full != self._full and self.reader is not None and not self.ended:
            self._full = full
            if full:
                self.reader.client_blocked()
            else:
                self.reader.client_writable()

    # -- nobody is there ------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """From now on for as long as the window is."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if self.gone else asyncio.get_running_loop().call_later(self._book.window_s, self._give_up)

    def _give_up(self) -> None:
        """Nobody comes back: a stream in flight has lost its client, a finished one is forgotten."""
        self.forget()
        if self.ended:
            self._book.forget(self)
        elif self.reader is not None:
            self.reader.client_gone()

    def forget(self) -> None:
        """Keep nothing."""
        self.gone = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pieces.clear()
        self._next = self._undelivered = self.size = 0


class Replays:
    """All of them: in flight, and finished ones for as long as the window is. Their memory is bounded.

    ``window_s``: how long a stream waits for a reader; ``buffer_bytes``: how much of what was read is kept of each.
    """

    def __init__(self, window_s: float, buffer_bytes: int) -> None:
        self.window_s = window_s
        self.buffer_bytes = buffer_bytes
        self._live: dict[str, Replay] = {}
        self._kept: dict[str, Replay] = {}  # in the order in which they have ended
        self._expired: dict[str, str] = {}  # the owners of those that are gone, by id

    def __len__(self) -> int:
        return len(self._live) + len(self._kept)

    def new(self, stream_id: str, owner: str) -> Replay | None:
        """A replay for a stream that is about to begin; None where there are too many already."""
        if len(self._live) >= MOST_LIVE:
            return None
        self._live[stream_id] = replay = Replay(self, stream_id, owner)
        return replay

    def find(self, stream_id: str, owner: str) -> Replay:
        """The stream of that id and key. Raises Refusal: ``not_found``, or ``stream_expired`` if it was one."""
        replay = self._live.get(stream_id) or self._kept.get(stream_id)
        if replay is not None and replay.owner == owner and replay.committed and not replay.gone:
            return replay
        known = replay.owner if replay is not None else self._expired.get(stream_id)
        if known == owner and (replay is None or replay.gone):
            raise Refusal("stream_expired", "Nobody came back to this stream in time. Send the request anew.")
        raise Refusal("not_found", "There is no such stream of this key. A restart of the server forgets them all.")

    def finished(self, replay: Replay) -> None:
        """Its call is settled: keep what it has said for a while, if it came to its end."""
        if self._live.pop(replay.id, None) is None:
            return
        if not replay.ended or replay.gone:
            if replay.committed:
                self._remember(replay)
            replay.forget()
            return
        self._kept[replay.id] = replay
        self._bound()

    def forget(self, replay: Replay) -> None:
        """Keep a finished one no longer."""
        if self._kept.pop(replay.id, None) is not None:
            self._remember(replay)

    def _bound(self) -> None:
        size = sum(each.size for each in self._kept.values())
        for oldest in list(self._kept.values()):
            if len(self._kept) <= MOST_KEPT and size <= MOST_KEPT_BYTES:
                return
            if not oldest.read:  # one that is being read is let go of when it has been
                size -= oldest.size
                oldest.forget()
                self.forget(oldest)

    def _remember(self, replay: Replay) -> None:
        self._expired[replay.id] = replay.owner
        if len(self._expired) > MOST_REMEMBERED:
            del self._expired[next(iter(self._expired))]
