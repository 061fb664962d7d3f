"""Bodies made to hurt: each gets an answer or a 4xx, and the server lives on and stays quick for its neighbours."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import psutil
import pytest

from tests.support.rig import Rig, call, until
from tests.support.upstream import Seen, completion, streamed

pytestmark = pytest.mark.asyncio(loop_scope="module")

MILLION = 1_000_000
LAG_S = 0.5  # ten times the promise: 50 ms; of the server's own CPU, which no other program's load adds to

CONTENTS: dict[str, str] = {
    "spaces": " " * MILLION,
    "letters": "a" * MILLION,
    "emoji": "🙂" * MILLION,
    "newlines": "\n" * MILLION,
    "digits": "7" * MILLION,
    "marks": "!" * MILLION,
    "combining": "e\u0301" * (MILLION // 2),
    "zero": "\x00" * MILLION,
    "joined emoji": "👩‍👩‍👧‍👦" * (MILLION // 7),
    "special tokens": "<|endoftext|>" * (MILLION // 13),
    "spaces and a letter": (" " * 999 + "x") * 1000,
    "apostrophes": "'s" * (MILLION // 2),
    "braces": "{" * MILLION,
}


async def answer(seen: Seen) -> None:
    if seen.body["stream"]:
        await streamed(["fine"])(seen)
    else:
        await seen.json(completion("fine"))


def busy_s(process: psutil.Process) -> float:
    """CPU seconds of a process so far, all its threads."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def beside(shared: Rig, body: bytes) -> tuple[int, str, float]:
    """The bomb's status and error code, and the most that the server worked while a neighbour waited."""
    process = psutil.Process(shared.server.pid)
    bomb = asyncio.create_task(shared.post(body))
    worst = 0.0
    while not bomb.done():
        began = busy_s(process)
        status, _ = await asyncio.to_thread(shared.server.get, "/healthz")
        assert status == 200
        worst = max(worst, busy_s(process) - began)
        await asyncio.sleep(0.01)
    reply = await bomb
    return reply.status, "" if reply.status == 200 else reply.error["code"], worst


# -- S25: one thing, a million times ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTENTS)
async def test_a_million_of_one_thing(shared: Rig, name: str) -> None:
    shared.upstream.script = answer
    body = call(messages=[{"role": "user", "content": CONTENTS[name]}])
    status, code, lag_s = await beside(shared, json.dumps(body, ensure_ascii=False).encode())
    assert (status, code) in ((200, ""), (400, "context_length_exceeded"))
    assert lag_s < LAG_S
    await until(lambda: shared.usage()["in_flight"] == 0, "nothing in flight")


def with_content(raw: bytes) -> bytes:
    return b'{"model":"test","stream":false,"messages":[{"role":"user","content":' + raw + b"}]}"


def with_member(raw: bytes) -> bytes:
    return json.dumps(call(False)).encode()[:-1] + b"," + raw + b"}"


DEEP = 100_000
BODIES: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "deep arrays": (b"[" * DEEP, (400,)),
    "deep arrays, closed": (b"[" * DEEP + b"]" * DEEP, (400,)),
    "deep objects": (b'{"a":' * DEEP + b"1" + b"}" * DEEP, (400,)),
    "deep content": (with_content(b"[" * DEEP + b"]" * DEEP), (400,)),
    "deep metadata": (with_member(b'"metadata":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP), (400,)),
    "deep unknown": (with_member(b'"x":' + b"[" * DEEP + b"]" * DEEP), (400,)),
    "a 400-digit integer": (with_member(b'"seed":' + b"9" * 400), (400,)),
    "a 400-digit limit": (with_member(b'"max_tokens":' + b"9" * 400), (400,)),
    "a 400-digit unknown": (with_member(b'"x":' + b"9" * 400), (400,)),
    "a million digits": (with_member(b'"x":' + b"9" * MILLION), (400,)),
    "1e400": (with_member(b'"temperature":1e400'), (400,)),
    "a raw NUL": (with_content(b'"a\x00b"'), (400,)),
    "an escaped NUL": (with_content(rb'"a\u0000b"'), (200,)),
    "NUL behind": (json.dumps(call(False)).encode() + b"\x00", (400,)),
    "a lone high surrogate": (with_content(rb'"\ud83d"'), (200, 400)),
    "a lone low surrogate": (with_content(rb'"\ude00"'), (200, 400)),
    "surrogate bytes": (with_content(b'"\xed\xa0\xbd"'), (400,)),
    "a BOM": (b"\xef\xbb\xbf" + json.dumps(call(False)).encode(), (200, 400)),
    "UTF-16": (json.dumps(call(False)).encode("utf-16"), (400,)),
    "UTF-16 without BOM": (json.dumps(call(False)).encode("utf-16-le"), (400,)),
    "UTF-32": (json.dumps(call(False)).encode("utf-32"), (400,)),
    "latin-1": (with_content('"é"'.encode("latin-1")), (400,)),
    "nothing": (b"", (400,)),
    "a million values": (with_member(b'"x":[' + b"1," * MILLION + b"1]"), (400,)),
    "many keys": (with_member(b'"x":{' + b",".join(b'"%d":1' % i for i in range(200_000)) + b"}"), (400,)),
    "a million quotes": (with_content(b'"' + rb"\"" * MILLION + b'"'), (200, 400)),
    "a million backslashes": (with_content(b'"' + rb"\\" * MILLION + b'"'), (200, 400)),
    "a hundred thousand messages": (
        b'{"model":"test","messages":[' + b",".join([b'{"role":"user","content":"a"}'] * 100_000) + b"]}",
        (400,),
    ),
}


# -- S24: hardly JSON -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_is_hardly_json(shared: Rig, name: str) -> None:
    body, statuses = BODIES[name]
    shared.upstream.script = answer
    status, code, lag_s = await beside(shared, body)
    assert status in statuses, code
    assert lag_s < LAG_S
    assert "internal_error" not in shared.log()
    assert "Traceback" not in shared.log()
    reply: Any = await shared.post(call())
    assert (reply.status, reply.content) == (200, "fine")
