from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest

from streamrouter.config.schema import UpstreamConfig
from streamrouter.errors import Upstreamed
from streamrouter.upstream.demo import DemoExchange, DemoTransport

USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}


class Recorder:
    """A target that keeps what it is given."""

    def __init__(self) -> None:
        self.data = b""
        self.flushes = 0
        self.ends: list[Upstreamed | None] = []
        self.over = asyncio.Event()
        self.more = asyncio.Event()
        self.exchange: DemoExchange | None = None
        self.pause_at = self.close_at = -1

    def feed(self, data: bytes) -> None:
        self.data += data

    def flush(self) -> None:
        self.flushes += 1
        self.more.set()
        if self.exchange is not None and self.flushes == self.pause_at:
            self.exchange.pause()
        if self.exchange is not None and self.flushes == self.close_at:
            self.exchange.close()

    def ended(self, fault: Upstreamed | None) -> None:
        self.ends.append(fault)
        self.over.set()

    @property
    def events(self) -> list[Any]:
        blocks = self.data.decode().split("\n\n")
        assert blocks.pop() == ""
        return [b[6:] if b == "data: [DONE]" else json.loads(b[6:]) for b in blocks]


def transport(ttft_ms: int = 0, pace_ms: int = 0) -> DemoTransport:
    return DemoTransport(UpstreamConfig(base_url="demo:", demo_ttft_ms=ttft_ms, demo_pace_ms=pace_ms))


def request(**more: Any) -> bytes:
    return json.dumps({"model": "demo", "messages": [USER], **more}).encode()


async def streamed(**more: Any) -> list[Any]:
    answer = await transport().send(request(**more), {}, stream=True)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    recorder = Recorder()
    answer.push(recorder)
    await recorder.over.wait()
    assert recorder.ends == [None]
    assert recorder.flushes == len(recorder.events)  # one event at a time
    return recorder.events


async def whole(**more: Any) -> Any:
    answer = await transport().send(request(**more), {}, stream=False)
    assert answer.headers["content-type"] == "application/json"
    body, is_all = await answer.read(1 << 20)
    assert is_all
    return json.loads(body)


def text(events: list[Any], index: int = 0) -> str:
    choices = [c for e in events[:-1] for c in e["choices"] if c["index"] == index]
    return "".join(c["delta"].get("content", "") for c in choices)


async def test_a_stream_is_a_role_deltas_a_reason_and_done() -> None:
    events = await streamed()
    deltas = [e["choices"][0]["delta"] for e in events[:-1]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert all(d.keys() == {"content"} for d in deltas[1:-1])
    assert (deltas[-1], events[-2]["choices"][0]["finish_reason"], events[-1]) == ({}, "stop", "[DONE]")
    assert len({e["id"] for e in events[:-1]}) == 1
    assert not any("usage" in e for e in events[:-1])


async def test_the_same_request_has_the_same_answer_streamed_or_whole() -> None:
    said = text(await streamed())
    assert said == text(await streamed())
    answer = await whole()
    assert (answer["object"], answer["choices"][0]["message"]["content"]) == ("chat.completion", said)
    assert said != text(await streamed(messages=[USER, {"role": "user", "content": "And now?"}]))


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_the_limit_is_obeyed(field: str) -> None:
    events = await streamed(**{field: 5, "stream_options": {"include_usage": True}})
    assert len(text(events).split()) == 5
    assert events[-3]["choices"][0]["finish_reason"] == "length"
    assert (events[-2]["choices"], events[-2]["usage"]["completion_tokens"]) == ([], 5)


async def test_choices_are_interleaved_and_all_counted() -> None:
    events = await streamed(n=3, max_tokens=4, stream_options={"include_usage": True})
    assert {text(events, index) for index in range(3)} == {text(events)}
    assert [e["choices"][0]["index"] for e in events[:6]] == [0, 1, 2, 0, 1, 2]
    assert events[-2]["usage"]["completion_tokens"] == 12
    answer = await whole(n=3, max_tokens=4)
    assert [c["index"] for c in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + 12


async def test_a_longer_prompt_has_more_tokens() -> None:
    short, long = await whole(), await whole(messages=[{"role": "user", "content": "Hi " * 400}])
    assert long["usage"]["prompt_tokens"] - short["usage"]["prompt_tokens"] == pytest.approx(300, abs=2)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
async def test_a_tool_that_is_required_is_called(choice: Any) -> None:
    events = await streamed(tools=[TOOL], tool_choice=choice)
    call = {"id": "call_demo", "type": "function", "function": {"name": "weather", "arguments": '{"demo":true}'}}
    assert events[1]["choices"][0]["delta"] == {"tool_calls": [{"index": 0, **call}]}
    assert events[2]["choices"][0]["finish_reason"] == "tool_calls"
    message = (await whole(tools=[TOOL], tool_choice=choice))["choices"][0]["message"]
    assert (message["content"], message["tool_calls"]) == (None, [call])


@pytest.mark.parametrize(
    ("tools", "choice"),
    [
        ([TOOL], "auto"),
        ([TOOL], None),
        ([TOOL], {"type": "function", "function": {"name": "other"}}),
        ([TOOL], {"type": "function", "function": {}}),
        ([TOOL], {"type": "function", "function": None}),
        ([TOOL], {}),
        ([], "required"),
        (None, "required"),
        ([{"type": "custom", "custom": {"name": "x"}}, {"function": {}}, {}], "required"),
    ],
)
async def test_otherwise_it_talks(tools: Any, choice: Any) -> None:
    assert text(await streamed(tools=tools, tool_choice=choice))


async def test_read_has_a_limit() -> None:
    answer = await transport().send(request(), {}, stream=False)
    body, _ = await answer.read(10)
    assert len(body) == 10


async def test_time_to_first_token_and_pace_are_timers() -> None:
    answer = await transport(ttft_ms=20, pace_ms=40).send(request(), {}, stream=True)
    recorder = Recorder()
    answer.push(recorder)
    await asyncio.sleep(0)
    assert recorder.flushes == 0
    await recorder.more.wait()
    await asyncio.sleep(0)
    assert recorder.flushes == 1
    answer.close()


async def test_a_pause_holds_everything_back_and_nothing_is_lost() -> None:
    answer = await transport().send(request(), {}, stream=True)
    recorder = Recorder()
    recorder.exchange, recorder.pause_at = answer, 3
    answer.push(recorder)
    await recorder.more.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert recorder.flushes == 3
    answer.resume()
    answer.resume()
    await recorder.over.wait()
    assert recorder.events[-1] == "[DONE]"
    assert text(recorder.events) == text(await streamed())


async def test_a_pause_while_it_waits_for_its_timer() -> None:
    answer = await transport(ttft_ms=5).send(request(), {}, stream=True)
    recorder = Recorder()
    answer.push(recorder)
    answer.pause()
    await asyncio.sleep(0.02)
    assert recorder.flushes == 0
    answer.resume()
    await recorder.over.wait()
    assert recorder.ends == [None]


@pytest.mark.parametrize("at", [1, 4])
async def test_close_is_the_end(at: int) -> None:
    answer = await transport().send(request(), {}, stream=True)
    recorder = Recorder()
    recorder.exchange, recorder.close_at = answer, at
    answer.push(recorder)
    for _ in range(30):
        await asyncio.sleep(0)
    answer.resume()
    await asyncio.sleep(0.01)
    assert (recorder.flushes, recorder.ends) == (at, [])


async def test_ids_differ_within_a_transport() -> None:
    one = transport()
    ids = set()
    for _ in itertools.repeat(None, 3):
        body, _ = await (await one.send(request(), {}, stream=False)).read(1 << 20)
        ids.add(json.loads(body)["id"])
    assert len(ids) == 3
    await one.close()
