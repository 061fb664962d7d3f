"""The embedded provider: a first run, the tests and the harness need no key and no network.

It answers like an OpenAI-compatible endpoint: plausible text at a set pace after a set time to first token, usage as it
counts itself, ``n`` choices, a tool call when tools are given and one is required, ``max_tokens`` obeyed. Nothing about
it is random: the same request gives the same answer.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from streamrouter.config.schema import UpstreamConfig
from streamrouter.upstream.exchange import Target

_TEXT = (
    "Tokens arrive one by one, and each of them is counted as it passes. This answer comes from the provider that is "
    "built into streamrouter, so it needs no key and no network. Point the proxy at a real upstream whenever you like: "
    "set an address and a key, restart, and the same request is answered by a model. Until then this paragraph shows "
    "what a stream looks like: a role first, then small deltas at an even pace, then a reason why it ended, and, if "
    "the client asked for it, the usage that the ledger was charged with. "
)
_WORDS = [" " + word for word in _TEXT.split()]
_STARTS = [i for i, before in enumerate([_WORDS[-1], *_WORDS[:-1]]) if before.endswith(".")]  # of sentences
_DEFAULT_TOKENS = 64
_encode = msgspec.json.Encoder().encode


class DemoTransport:
    """The provider behind ``base_url = "demo:"``; ``demo_ttft_ms`` and ``demo_pace_ms`` set its speed."""

    def __init__(self, config: UpstreamConfig) -> None:
        self._ttft_s = config.demo_ttft_ms / 1000
        self._pace_s = config.demo_pace_ms / 1000
        self._ids = itertools.count(1)

    async def send(self, body: bytes, headers: Mapping[str, str], *, stream: bool) -> DemoExchange:
        answer = Answer(msgspec.json.decode(body), f"chatcmpl-demo{next(self._ids):08d}")
        if stream:
            return DemoExchange("text/event-stream", answer.events(), self._ttft_s, self._pace_s)
        await asyncio.sleep(self._ttft_s + self._pace_s * min(answer.tokens, 20))
        return DemoExchange("application/json", iter([answer.whole()]), 0.0, 0.0)

    async def close(self) -> None:
        """Nothing is held."""


class Answer:
    """What the provider says to one request."""

    def __init__(self, request: dict[str, Any], answer_id: str) -> None:
        self._id = answer_id
        self._model = request.get("model", "demo")
        self._n = request.get("n") or 1
        asked = request.get("max_completion_tokens") or request.get("max_tokens") or _DEFAULT_TOKENS
        messages = request.get("messages", [])
        self._prompt_tokens = sum(len(_encode(message)) for message in messages) // 4 + 3
        self._include_usage = bool((request.get("stream_options") or {}).get("include_usage"))
        seed = zlib.crc32(_encode(messages[-1:]))
        self._tool = _required_tool(request)
        natural = 24 + seed % 40
        self.tokens = min(asked, natural) if self._tool is None else 1
        self._reason = "tool_calls" if self._tool else "length" if asked < natural else "stop"
        offset = _STARTS[seed % len(_STARTS)]
        words = [_WORDS[(offset + i) % len(_WORDS)] for i in range(self.tokens)]
        self._words = [words[0].lstrip(), *words[1:]]
        self._created = int(time.time())

    def usage(self) -> dict[str, Any]:
        completion = self.tokens * self._n
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self._prompt_tokens + completion,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }

    def _object(self, kind: str, choices: list[dict[str, Any]], **extra: Any) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "choices": choices,
            **extra,
        }

    def whole(self) -> bytes:
        """The answer as one ``chat.completion``."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._words), "refusal": None}
        if self._tool is not None:
            message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [self._tool]}
        choices = [
            {"index": i, "message": message, "logprobs": None, "finish_reason": self._reason} for i in range(self._n)
        ]
        return _encode(self._object("chat.completion", choices, usage=self.usage()))

    def events(self) -> Iterator[bytes]:
        """The answer as framed events, one delta each."""
        for index in range(self._n):
            yield self._event(index, {"role": "assistant", "content": ""})
        if self._tool is not None:
            for index in range(self._n):
                yield self._event(index, {"tool_calls": [{"index": 0, **self._tool}]})
        else:
            for word, index in itertools.product(self._words, range(self._n)):
                yield self._event(index, {"content": word})
        for index in range(self._n):
            yield self._event(index, {}, self._reason)
        if self._include_usage:
            yield b"data: %b\n\n" % _encode(self._object("chat.completion.chunk", [], usage=self.usage()))
        yield b"data: [DONE]\n\n"

    def _event(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return b"data: %b\n\n" % _encode(self._object("chat.completion.chunk", [choice]))


def _required_tool(request: dict[str, Any]) -> dict[str, Any] | None:
    """A call of the tool that the request forces (``required`` or by name), with an argument that shows it worked."""
    choice, tools = request.get("tool_choice"), request.get("tools") or []
    names = [t["function"]["name"] for t in tools if isinstance(t.get("function"), dict) and "name" in t["function"]]
    named = choice.get("function") if isinstance(choice, dict) else None
    forced = named.get("name") if isinstance(named, dict) else None
    if not names or (choice != "required" and forced not in names):
        return None
    function = {"name": forced or names[0], "arguments": '{"demo":true}'}
    return {"id": "call_demo", "type": "function", "function": function}


class DemoExchange:
    """One answer on its way, paced by the loop's timers; pausing stops the pace like a full socket would."""

    def __init__(self, content_type: str, pieces: Iterator[bytes], first_s: float, pace_s: float) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {"content-type": content_type}
        self._pieces = pieces
        self._first_s = first_s
        self._pace_s = pace_s
        self._target: Target | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False

    def push(self, target: Target) -> None:
        self._target = target
        self._schedule(self._first_s)

    async def read(self, most: int) -> tuple[bytes, bool]:
        return b"".join(self._pieces)[:most], True

    def pause(self) -> None:
        self._paused = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def resume(self) -> None:
        if self._paused and self._target is not None:
            self._paused = False
            self._schedule(0.0)

    def close(self) -> None:
        self.pause()
        self._target = None

    def _schedule(self, delay_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._next)

    def _next(self) -> None:
        target = self._target
        if target is None:
            return
        piece = next(self._pieces, None)
        if piece is None:
            self._target = None
            target.ended(None)
            return
        target.feed(piece)
        target.flush()
        if self._target is not None and not self._paused:
            self._schedule(self._pace_s)
