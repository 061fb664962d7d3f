"""What a body may not do: steer, hide its cost, smuggle events, name what is not there (reliability.md S1, S15-S26)."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from streamrouter.wire.chat import STEERING
from tests.support.rig import PROVIDER_KEY, Rig, call, until
from tests.support.upstream import DONE, Seen, delta, event, usage

pytestmark = pytest.mark.asyncio(loop_scope="module")

# -- S1: the upstream comes from the configuration alone ------------------------------------------------------------


async def test_no_field_steers(guarded: Rig) -> None:
    lured = 0

    async def lure(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal lured
        lured += 1
        writer.close()

    server = await asyncio.start_server(lure, "127.0.0.1", 0)
    evil = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    values: list[Any] = [evil, {"base_url": evil, "Authorization": "Bearer stolen"}, [evil]]
    for stream in (True, False):
        for value in values:
            steering = dict.fromkeys(sorted(STEERING), value)
            deep = {"metadata": {"a": steering}, "x": [steering], "extra": {"extra_body": steering}}
            for more in (steering, deep, {**steering, **deep}):
                reply = await guarded.post(call(stream, **more))
                assert reply.status == 200, reply.text
                sent = guarded.seen[-1]
                assert STEERING.isdisjoint(sent.body)
                assert sent.headers["authorization"] == f"Bearer {PROVIDER_KEY}"
                assert sent.headers["host"] in guarded.upstream.url
                assert sent.head.startswith("POST /v1/chat/completions HTTP/1.1")
                assert "stolen" not in sent.head
    server.close()
    assert lured == 0


async def test_no_header_of_the_client_reaches_the_upstream(guarded: Rig) -> None:
    await guarded.post(
        call(),
        headers={"Cookie": "a=b", "OpenAI-Organization": "org", "X-Api-Base": "http://evil", "Forwarded": "for=x"},
    )
    allowed = {"host", "content-type", "content-length", "accept", "accept-encoding", "authorization", "x-request-id"}
    assert guarded.seen[-1].headers.keys() <= allowed


# -- S15: no parameter gets more than a cap allows ------------------------------------------------------------------

LIMITS: dict[str, tuple[dict[str, Any] | str, int | None]] = {
    # members (text: as they are), and the limit that goes upstream; None: 400
    "absent": ({}, 60),
    "null": ({"max_tokens": None}, 60),
    "both null": ({"max_tokens": None, "max_completion_tokens": None}, 60),
    "small": ({"max_tokens": 5}, 5),
    "large": ({"max_tokens": 10**9}, 60),
    "the largest": ({"max_tokens": 2**63 - 1}, 60),
    "both": ({"max_tokens": 40, "max_completion_tokens": 7}, 7),
    "both, the other way": ({"max_tokens": 7, "max_completion_tokens": 40}, 7),
    "zero": ({"max_tokens": 0}, None),
    "negative": ({"max_tokens": -1}, None),
    "zero completion tokens": ({"max_completion_tokens": 0}, None),
    "a float": ({"max_tokens": 1.5}, None),
    "a whole float": ({"max_tokens": 10.0}, None),
    "a string": ({"max_tokens": "10"}, None),
    "true": ({"max_tokens": True}, None),
    "a list": ({"max_tokens": [10]}, None),
    "2^63": ({"max_tokens": 2**63}, None),
    "10^400": ('"max_tokens":1' + "0" * 400, None),
    "1e3": ('"max_tokens":1e3', None),
    "twice": ('"max_tokens":1,"max_tokens":100000', None),
    "twice, escaped": (r'"max_tokens":1,"max\u005ftokens":100000', None),
    "in capitals": ({"Max_Tokens": 100000}, None),
    "in capitals beside": ({"max_tokens": 1, "MAX_TOKENS": 100000}, None),
    "with a long s": ({"max_token\u017f": 100000}, None),
    "with a Kelvin sign": ({"max_to\u212aens": 100000}, None),
    "n in capitals": ({"N": 100}, None),
    "n": ({"n": 3}, 20),
    "n = 128": ({"n": 128}, None),
    "n = 129": ({"n": 129}, None),
    "n as a float": ({"n": 2.0}, None),
    "n as a string": ({"n": "2"}, None),
    "n = 0": ({"n": 0}, None),
    "n is null": ({"n": None}, 60),
    "best_of": ({"best_of": 5}, None),
    "best_of = 1": ({"best_of": 1}, 60),
    "best_of below n": ({"n": 2, "best_of": 2}, 30),
    "logprobs": ({"logprobs": True, "top_logprobs": 20}, 60),
    "too many logprobs": ({"logprobs": True, "top_logprobs": 21}, None),
    "an unknown limit": ({"max_output_tokens": 100000}, 60),
    "stream twice": ('"stream":true', None),
    "usage switched off": ({"stream_options": {"include_usage": False}}, 60),
    "usage in capitals": ({"stream_options": {"Include_Usage": False}}, None),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", LIMITS)
async def test_the_upstream_gets_exactly_our_numbers(guarded: Rig, name: str, stream: bool) -> None:
    members, limit = LIMITS[name]
    key = guarded.user(output_per_request=60)
    body = call(stream, **members) if isinstance(members, dict) else call(stream)
    raw = json.dumps(body)
    if isinstance(members, str):
        raw = raw[:-1] + "," + members + "}"
    before = len(guarded.seen)
    reply = await guarded.post(raw.encode(), key)
    if limit is None:
        assert (reply.status, len(guarded.seen)) == (400, before), reply.text
        return
    assert reply.status == 200, reply.text
    sent = guarded.seen[-1].body
    assert (sent["max_tokens"], sent["stream"], sent["model"]) == (limit, stream, "up-model")
    assert sent.get("n", 1) == (body.get("n") or 1)
    assert {"max_completion_tokens", "best_of"}.isdisjoint(sent)
    assert sent.get("stream_options") == ({"include_usage": True} if stream else None)
    assert guarded.hold(reply.headers["x-request-id"])["r_output"] == limit * (body.get("n") or 1)


PNG = base64.b64encode(
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
    + (2048).to_bytes(4, "big")
    + (2048).to_bytes(4, "big")
    + b"\x08\x02"
    + bytes(7)
).decode()
TOOL = {"type": "function", "function": {"name": "f", "description": "word " * 100_000, "parameters": {}}}
COSTLY: dict[str, tuple[dict[str, Any], int]] = {
    # what costs input, and the least that it must be reserved at
    "tools": ({"tools": [TOOL]}, 90_000),
    "functions": ({"functions": [TOOL["function"]]}, 90_000),
    "a schema": ({"response_format": {"type": "json_schema", "json_schema": {"name": "word " * 10_000}}}, 9_000),
    "a prediction": ({"prediction": {"type": "content", "content": "word " * 10_000}}, 9_000),
    "a name": ({"messages": [{"role": "user", "content": "a", "name": "word " * 10_000}]}, 9_000),
    "an image": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + PNG}}],
                }
            ]
        },
        700,
    ),
    "audio": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "input_audio", "input_audio": {"data": "A" * 100_000, "format": "wav"}}],
                }
            ]
        },
        90,
    ),
    "a file": (
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": "A" * 90_000}}]}]},
        20_000,
    ),
    "text in parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "word "}] * 5000}]},
        4_500,
    ),
    "a part of no known type": (
        {"messages": [{"role": "user", "content": [{"type": "x", "text": "word " * 10_000}]}]},
        9_000,
    ),
    "reasoning given back": (
        {"messages": [{"role": "assistant", "content": "a", "reasoning_content": "word " * 10_000}]},
        9_000,
    ),
    "calls given back": (
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [
                        {"id": "1", "type": "function", "function": {"name": "f", "arguments": "word " * 10_000}}
                    ],
                }
            ]
        },
        9_000,
    ),
}


@pytest.mark.parametrize("name", COSTLY)
async def test_whatever_costs_input_is_counted_before_it_is_sent(guarded: Rig, name: str) -> None:
    members, least = COSTLY[name]
    rich, poor = guarded.user(), guarded.user(input_per_request=least - 1)
    before = len(guarded.seen)
    refused = await guarded.post(call(False, **members), poor)
    assert (refused.status, refused.error["code"], len(guarded.seen)) == (413, "input_tokens_exceeded", before)
    served = await guarded.post(call(False, **members), rich)
    assert served.status == 200, served.text
    assert guarded.hold(served.headers["x-request-id"])["r_input"] >= least


# -- S18: one event in, one event out -------------------------------------------------------------------------------


def parsed(text: str) -> list[str]:
    """The data of the events in ``text``, by the rules of the HTML standard."""
    found: list[str] = []
    data: list[str] = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        field, _, value = line.partition(":")
        if not line:
            found += ["\n".join(data)] if data else []
            data = []
        elif field == "data":
            data.append(value.removeprefix(" "))
        else:
            raise AssertionError(f"a line that is no data: {line!r}")
    return found


EVIL = "\n\ndata: [DONE]\n\nevent: x\nid: 7\r\n\r\ndata: {}\u2028\u0085"
INJECTIONS: dict[str, list[bytes]] = {
    "content": [delta(EVIL)],
    "id": [event({"id": EVIL, "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]})],
    "model": [event({"model": EVIL, "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]})],
    "a member of theirs": [event({EVIL: EVIL, "choices": [{"index": 0, "delta": {EVIL: 1}, "finish_reason": None}]})],
    "other fields": [b"event: x\nid: 7\nretry: 1\n" + delta("a") + b"event: close\n\n: comment\n\n"],
    "line breaks between tokens": [
        b'data: {"choices":\rdata: [{"index":0,\r\ndata: "delta":{"content":"a"}}]\ndata: }\n\n'
    ],
    "fields behind a CR": [delta("a").replace(b"\n\n", b"\rid: 7\r\r")],
    "usage": [event({"choices": [], "usage": {**usage(7, 1), EVIL: EVIL}})],
}


@pytest.mark.parametrize("name", INJECTIONS)
async def test_no_event_is_smuggled(guarded: Rig, name: str) -> None:
    async def script(seen: Seen) -> None:
        await seen.head_sse()
        for piece in [delta("first"), *INJECTIONS[name], delta(None, finish="stop"), DONE]:
            await seen.chunk(piece)
        await seen.end()

    guarded.upstream.queue[:] = [script]
    reply = await guarded.post(call(stream_options={"include_usage": True}))
    found = parsed(reply.text)
    assert len(found) == 5 - (name == "usage")  # first, theirs, finish_reason, usage, [DONE]
    assert found[-1] == "[DONE]"
    assert all(json.loads(each)["model"] == "test" for each in found[:-1])


# -- S22: JSON only -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "text/xml",
        "application/xml",
        "text/plain",
        "text/json",
        "application/jsonp",
        "application/octet-stream",
        "application/json2, application/json",
        "json",
        "",
    ],
)
async def test_other_media_types_are_not_parsed(guarded: Rig, kind: str) -> None:
    before = (len(guarded.seen), len(guarded.holds()))
    reply = await guarded.post(call(), headers={"Content-Type": kind})
    assert (reply.status, reply.error["code"]) == (415, "unsupported_media_type")
    assert (len(guarded.seen), len(guarded.holds())) == before


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"])
async def test_json_by_its_other_names(guarded: Rig, kind: str) -> None:
    assert (await guarded.post(call(), headers={"Content-Type": kind})).status == 200


# -- S26: a model is named byte for byte ----------------------------------------------------------------------------

TWINS = [
    *("Test", "TEST", " test", "test ", "test\n", "test\x00", "\ufefftest", "te\u200bst", "te\u00adst", "tes\u0442"),
    *(
        "\uff54\uff45\uff53\uff54",
        "t\u0435st",
        "../test",
        "./test",
        "test/",
        "/test",
        "other/model:1/../test",
        "test%00",
    ),
    *("other/model", "other/model:2", "other%2Fmodel:1", "", "*", "test,other/model:1", "te\u0301st", "t" * 10_000),
    *("' OR 1=1 --", "\U0001f642", "\u202etset", "__proto__", "up-model", "other-up"),
]


@pytest.mark.parametrize("name", TWINS, ids=range(len(TWINS)))
async def test_a_twin_of_a_model_is_unknown(guarded: Rig, name: str) -> None:
    before = len(guarded.seen)
    reply = await guarded.post(call(model=name))
    assert (reply.status, reply.error["code"]) == (404, "model_not_found")
    assert reply.error["param"] == "model"
    assert reply.error["message"].isprintable()
    assert len(reply.error["message"]) < 600
    assert len(guarded.seen) == before


async def test_a_model_whose_key_is_escaped_is_that_model(guarded: Rig) -> None:
    raw = json.dumps(call(False)).replace('"model": "test"', r'"mod\u0065l": "t\u0065st"').encode()
    assert (await guarded.post(raw)).status == 200
    assert guarded.seen[-1].body["model"] == "up-model"
    assert guarded.seen[-1].raw.count(b'"model"') == 1
    await until(lambda: guarded.usage()["in_flight"] == 0, "nothing in flight")
