"""The official OpenAI SDK for Node: its naive loop, its helper, its errors."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.leaving import Endless
from tests.conformance.scripts import broken_off, played
from tests.conformance.wire import refusals
from tests.support.server import Server
from tests.support.upstream import DONE, ScriptedUpstream, Seen, delta, event, streamed, usage

PRELUDE = """
import OpenAI from "openai";
const client = new OpenAI({ apiKey: process.env.KEY, baseURL: process.env.URL });
const request = { model: "test", messages: [{ role: "user", content: "Say hello." }] };
const told = (value) => console.log(JSON.stringify(value));
"""


def node(server: Server, folder: Path, program: str, key: str = "") -> Any:
    """What the program told."""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", PRELUDE + program],
        env={**os.environ, "KEY": key or server.key, "URL": server.url},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_stream_by_the_naive_loop_through_a_silence(
    restless: Server, upstream: ScriptedUpstream, node_modules: Path
) -> None:
    async def script(seen: Seen) -> None:
        await seen.head_sse()
        await asyncio.sleep(0.4)
        for framed in (delta("Hel", role="assistant"), delta("lo"), delta(None, finish="stop"), DONE):
            await seen.chunk(framed)
        await seen.end()

    upstream.script = script
    program = """
    const { data, response } = await client.chat.completions.create({ ...request, stream: true }).withResponse();
    let text = "";
    for await (const chunk of data) text += chunk.choices[0].delta.content ?? "";
    told([text, response.headers.get("x-request-id")]);
    """
    text, request_id = node(restless, node_modules, program)
    assert (text, request_id[:4]) == ("Hello", "req_")


def test_the_helper_puts_text_tools_and_usage_together(
    server: Server, upstream: ScriptedUpstream, node_modules: Path
) -> None:
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    upstream.script = played(
        delta("Hm.", role="assistant"),
        delta(None, tool_calls=[first]),
        delta(None, tool_calls=[{"index": 0, "function": {"arguments": '{"city":"Rome"}'}}]),
        delta(None, finish="tool_calls"),
        event({"choices": [], "usage": usage(10, 6)}),
        DONE,
    )
    program = """
    const stream = client.chat.completions.stream({ ...request, stream_options: { include_usage: true } });
    const final = await stream.finalChatCompletion();
    const message = final.choices[0].message;
    told([message.content, message.tool_calls[0].function.arguments, final.usage.completion_tokens, final.model]);
    """
    assert node(server, node_modules, program) == ["Hm.", '{"city":"Rome"}', 6, "test"]


def test_models(server: Server, node_modules: Path) -> None:
    program = """
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    told([ids[0], (await client.models.retrieve("other/model:1")).id]);
    """
    assert node(server, node_modules, program) == ["test", "other/model:1"]


def test_an_error_in_a_stream_and_one_before_it(server: Server, upstream: ScriptedUpstream, node_modules: Path) -> None:
    upstream.queue = [broken_off(delta("Hel", role="assistant"))]
    upstream.script = streamed(["not reached"])
    key = server.user("node-day", "--daily-input", "100", "--input-per-request", "50")
    program = """
    const caught = [];
    const attempt = async (more) => {
      let text = "";
      try {
        const stream = await client.chat.completions.create({ ...request, ...more, stream: true });
        for await (const chunk of stream) text += chunk.choices[0].delta.content ?? "";
      } catch (error) {
        caught.push([error.constructor.name, error.status ?? null, error.code, text]);
      }
    };
    await attempt({});
    await attempt({ model: "nothing" });
    await attempt({ messages: [{ role: "user", content: "word ".repeat(80) }] });
    told(caught);
    """
    assert node(server, node_modules, program, key) == [
        ["APIError", None, "upstream_disconnected", "Hel"],
        ["NotFoundError", 404, "model_not_found", ""],
        ["APIError", 413, "input_tokens_exceeded", ""],
    ]
    assert len(upstream.seen) == 1


def test_a_daily_cap_is_not_tried_again(server: Server, node_modules: Path) -> None:
    before = refusals(server, "daily_input_tokens_exceeded")
    key = server.user("node-capped", "--daily-input", "1")
    program = """
    try { await client.chat.completions.create(request); } catch (error) { told([error.constructor.name, error.code]); }
    """
    assert node(server, node_modules, program, key) == ["RateLimitError", "daily_input_tokens_exceeded"]
    assert refusals(server, "daily_input_tokens_exceeded") == before + 1


@pytest.mark.parametrize("how", ["break;", "stream.controller.abort();"], ids=["break", "abort"])
def test_leaving_a_stream_reaches_the_upstream_and_is_charged(
    server: Server, upstream: ScriptedUpstream, node_modules: Path, how: str
) -> None:
    upstream.script = endless = Endless()
    program = """
    const stream = await client.chat.completions.create({ ...request, stream: true });
    let text = "";
    for await (const chunk of stream) {
      text += chunk.choices[0].delta.content ?? "";
      if (text === " token token") { HOW }
    }
    told(text);
    """
    assert node(server, node_modules, program.replace("HOW", how)) == " token token"
    endless.assert_charged(server)
