"""The relay's tests are dialogues: what arrives, what must leave, what is called meanwhile, what it comes to.

One line is one step:

    -- answered             something happens (``Dialogue._happens``)
    >> role | "a" | stop    these events arrive from the upstream, in one read
    << role# "a" stop       this must have left since the last such line; ``/`` between two writes, ``end`` of the body
    == settle end close     these calls were made since the last such line, in this order (writes are not among them)
    !! upstream_timeout     the attempt failed so: dispatch may try the next
    $$ finished local 7/2   how it ended, how well its usage is known, input/output tokens

An event is spelled the same on both sides: ``"text"``, ``role``, ``stop``, ``usage 7/3``, ``done``, ``error:code``,
``ping`` (our keep-alive); ``1:`` before it is another choice, ``#`` behind it says that it carries our request id. One
character is one token.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from streamrouter.config.schema import UpstreamConfig
from streamrouter.errors import Refusal, Upstreamed
from streamrouter.ledger.records import Hold, Remaining
from streamrouter.policy.meter import Meter
from streamrouter.policy.money import Price
from streamrouter.relay.port import Port
from streamrouter.relay.sink import Headers, Reader
from streamrouter.relay.stream import Relay
from streamrouter.upstream.exchange import Target
from streamrouter.upstream.push import cut_short
from streamrouter.wire.refusals import error_event
from streamrouter.wire.splice import Splicer
from tests.support.upstream import DONE, completion, delta, event, usage

REASONS = {"stop", "length", "tool_calls"}
BODIES: dict[str, tuple[str, str, bytes]] = {  # content type, content encoding, body
    "": ("text/event-stream", "identity", b""),
    "json": ("application/json", "identity", json.dumps(completion("hey", 7, 3)).encode()),
    "json-error": ("application/json", "identity", b'{"error":{"message":"slow down","code":"429"}}'),
    "json-rubbish": ("application/json; charset=utf-8", "identity", b'{"hello":1}'),
    "html": ("text/html", "identity", b"<html>hello</html>"),
    "gzip": ("text/event-stream", "gzip", b""),
    "untyped": ("", "identity", b""),
}


class Recorder:
    """A Sink that remembers; after the end it takes nothing more."""

    attended = True

    def __init__(self, calls: list[str]) -> None:
        self.reader: Reader | None = None
        self.writes: list[bytes] = []
        self.all = b""
        self._calls = calls
        self._started = self._ended = False

    def start(self, status: int, headers: Headers) -> None:
        assert not self._started
        self._started = True
        self._calls.append("start")

    def write(self, data: bytes) -> None:
        assert self._started and not self._ended
        self.writes.append(data)
        self.all += data

    def end(self, data: bytes) -> None:
        assert self._started and not self._ended
        self._ended = True
        self._calls.append("end")
        self.writes.append(data + b"end")
        self.all += data

    async def close(self) -> None:
        """Nobody waits."""


class FakeExchange:
    """An answered request whose bytes come when the dialogue says so."""

    def __init__(self, kind: str, calls: list[str]) -> None:
        content_type, encoding, self.body = BODIES[kind]
        self.status = 200
        self.headers: Mapping[str, str] = {"content-type": content_type, "content-encoding": encoding}
        self.target: Target | None = None
        self._calls = calls

    def push(self, target: Target) -> None:
        self.target = target

    async def read(self, most: int) -> tuple[bytes, bool]:
        return self.body[:most], len(self.body) <= most

    def pause(self) -> None:
        self._calls.append("pause")

    def resume(self) -> None:
        self._calls.append("resume")

    def close(self) -> None:
        self._calls.append("close")


def hold(lease: int, r_output: int) -> Hold:
    return Hold(
        id="req_1",
        account_id="acct_1",
        account_name="team-a",
        key_id="key_1",
        key_display="sk-…9fQ2",
        surface="main",
        model="public",
        limit=r_output,
        clamped=False,
        r_input=10,
        r_output=r_output,
        r_usd=0,
        lease=lease,
        price=Price(0, 0, 0),
        prepaid=False,
        remaining=Remaining(),
    )


class Dialogue:
    """A relay among fakes. ``config``: the upstream's; ``count``: how text is counted."""

    def __init__(
        self,
        *,
        usage: bool = False,
        n: int = 1,
        r_output: int = 1000,
        lease: int | None = None,
        block: int = 4,
        exact: bool = True,
        count: Callable[[str], int] = len,
        **config: Any,
    ) -> None:
        self.calls: list[str] = []
        self.settles = 0
        self.now = 100.0
        self.hold = hold(r_output if lease is None else lease, r_output)
        self.meter = Meter(
            count=count, local_input=7, r_input=10, r_output=r_output, n=n, lease=self.hold.lease, exact=exact
        )
        self.meter.sent = True
        self.sink = Recorder(self.calls)
        self.exchange: FakeExchange | None = None
        self.accepting: asyncio.Task[None] | None = None
        self._config = UpstreamConfig(**config)
        self.relay = Relay(self._port(block), self.meter, Splicer("public", "req_1"), include_usage=usage)
        self.relay.attach(self.sink)

    def _port(self, block: int) -> Port:
        return Port(
            monotonic=lambda: self.now,
            start=lambda sink: sink.start(200, []),
            settle=self._settle,
            extend=lambda lease, urgent: self.calls.append(f"extend{'!' if urgent else ''} {lease}"),
            hang_up=self._hang_up,
            error_event=lambda refusal: error_event(refusal, "req_1"),
            lease_block=block,
            keepalive_s=15,
            commit_status_s=50,
        )

    def _settle(self) -> None:
        self.settles += 1
        self.calls.append("settle")

    def _hang_up(self) -> None:
        self.calls.append("hang-up")
        if self.accepting is not None:
            self.accepting.cancel()

    async def play(self, script: str) -> None:
        """Every line of ``script``; a step that does not hold says which."""
        for line in filter(None, map(str.strip, script.splitlines())):
            kind, _, rest = line.partition(" ")
            try:
                await self._step(kind, rest.strip())
            except AssertionError as error:
                raise AssertionError(f"{line}\n{error}") from None

    async def _step(self, kind: str, text: str) -> None:
        match kind:
            case "--":
                await self._happens(*text.split())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            case ">>":
                self.feed(b"".join(arriving(each.strip()) for each in text.split(" | ")))
            case "<<":
                left = self.left()
                assert left == text, f"it was: {left}"
            case "==":
                calls, self.calls[:] = " ".join(self.calls), []
                assert calls == text, f"it was: {calls}"
            case "!!":
                assert self.accepting is not None and self.accepting.done()
                fault = self.accepting.exception()
                assert isinstance(fault, Upstreamed) and fault.code == text
            case "$$":
                ending = self.meter.ending()
                tokens = f"{ending.input_tokens}/{ending.output_tokens}"
                told = f"{ending.reason} {ending.source} {tokens}"
                assert told == text, f"it was: {told}"
            case _:
                raise ValueError(kind)

    async def _happens(self, what: str, *words: str) -> None:
        match what:
            case "answered":
                self.exchange = FakeExchange(words[0] if words else "", self.calls)
                self.accepting = asyncio.create_task(self.relay.accept(self.exchange, self._config))
            case "accepted":
                assert self.accepting is not None
                await self.accepting
            case "eof":
                self.relay.ended(None)
            case "rst":
                self.relay.ended(cut_short())
            case "wait":  # so many seconds
                self.now += float(words[0])
                self.relay.tick(self.now)
            case "lease":  # of so many tokens is granted, or "failed"
                self.hold.lease_failed = words[0] == "failed"
                self.hold.lease = self.hold.lease if self.hold.lease_failed else int(words[0])
                self.relay.leased(self.hold)
            case "client":  # gone, blocked, writable
                getattr(self.relay, f"client_{words[0]}")()
            case "stop":
                self.relay.stop(Refusal("server_shutdown", "The server is shutting down."))
            case "release":
                self.relay.release()
            case _:
                raise ValueError(what)

    def feed(self, data: bytes) -> None:
        """One read of the upstream's socket."""
        self.relay.feed(data)
        self.relay.flush()

    def left(self) -> str:
        """What was written since the last look."""
        writes, self.sink.writes[:] = " / ".join(map(leaving, self.sink.writes)), []
        return writes


def arriving(word: str) -> bytes:
    """The bytes of one event as it is spelled (see above), and of some that only an upstream sends."""
    index, word = (int(word[0]), word[2:]) if word[1:2] == ":" and word[0].isdigit() else (0, word)
    if word.startswith('"'):
        text, _, more = word[1:].rpartition('"')
        return event({"choices": [{"index": index, "delta": {"content": text}}], **_more(more.strip())})
    if word in REASONS:
        return delta(None, index=index, finish=word)
    if word.startswith("usage"):
        return event({"choices": [], **_more(word)})
    known = {
        "role": delta(None, index=index, role="assistant"),
        "done": DONE,
        "done-cut": b"data: [DONE]",
        "comment": b": ping\n\n",
        "no-choices": event({"choices": []}),
        "no-choices-usage": event({"usage": usage(7, 3)}),
        "null-error": event({"choices": [{"index": 0, "delta": {"content": "a"}}], "error": None}),
        "bad": b"data: {nope\n\n",
        "bad-utf8": b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n',
        "half": b'data: {"choices":[{"delta"',
        "high": b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n',  # half an emoji
        "low": b'data: {"choices":[{"index":0,"delta":{"content":"\\ude00"}}]}\n\n',
        "huge": b"data: " + b"x" * 5000,
        "error": b'data: {"error":{"message":"internal, see http://10.0.0.1"}}\n\n',
        "error-429": b'data: {"error":{"message":"slow down","code":"rate_limit_exceeded"}}\n\n',
    }
    return known[word]


def _more(word: str) -> dict[str, Any]:
    """``usage 7/3`` as a member; anything that is not two numbers is taken as JSON."""
    if not word:
        return {}
    value = word.removeprefix("usage ")
    prompt, slash, output = value.partition("/")
    return {"usage": usage(int(prompt), int(output)) if slash else json.loads(value)}


def leaving(data: bytes) -> str:
    """A write as words."""
    words = ["end"] if data.endswith(b"end") else []
    blocks = data.removesuffix(b"end").split(b"\n\n")
    assert blocks.pop() == b"", "an event is cut"
    assert all(block.startswith(b"data: ") and b"\n" not in block for block in blocks)
    return " ".join([spelled(block[6:]) for block in blocks] + words)


def spelled(payload: bytes) -> str:
    """One event as a word."""
    if payload == b"[DONE]":
        return "done"
    members = json.loads(payload)
    if "error" in members:
        assert set(members) == {"error"} and members["error"]["request_id"] == "req_1"
        return f"error:{members['error']['code']}"
    assert members["model"] == "public"
    assert members.get("request_id", "req_1") == "req_1"
    words = [_choice(choice) for choice in members["choices"]]
    if members.get("usage"):
        words.append(f"usage {members['usage']['prompt_tokens']}/{members['usage']['completion_tokens']}")
    return " ".join(words) + ("#" if "request_id" in members else "")


def _choice(choice: dict[str, Any]) -> str:
    said = choice["delta"]
    reason = choice.get("finish_reason")
    word = reason or (f'"{said["content"]}"' if "content" in said else "role" if "role" in said else "ping")
    return word if choice["index"] == 0 else f"{choice['index']}:{word}"
