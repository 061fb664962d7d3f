from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from streamrouter.config.schema import Config, ModelConfig
from streamrouter.policy.catalog import Catalog, Model
from streamrouter.policy.counters import COSTLY, Counters
from streamrouter.policy.encodings import load
from streamrouter.policy.tokens import THREAD_BYTES, count_text
from streamrouter.wire.chat import Call, decode_call

MODELS = Catalog(
    Config(
        models={
            "exact": ModelConfig(encoding="cl100k_base", exact=True),
            "estimate": ModelConfig(encoding="cl100k_base"),
            "pictures": ModelConfig(encoding="cl100k_base", exact=True, image_tokens=777),
        }
    )
).models


def call(content: Any = "Hello there!", **members: Any) -> Call:
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **members}
    return decode_call(json.dumps(body).encode(), "req_1")


async def local(counters: Counters, model: Model, asked: Call) -> int:
    return (await counters.prompt(model, asked, "acct_1")).local


@pytest.fixture(scope="module")
def counters() -> Counters:
    return Counters()


async def test_an_encoding_is_loaded_once(counters: Counters) -> None:
    first = await counters.load("cl100k_base")
    assert await counters.load("cl100k_base") is first
    assert (first.name, (await counters.load("o200k_base")).name) == ("cl100k_base", "o200k_base")


async def test_several_first_uses_at_once_are_no_fault() -> None:
    counters = Counters()
    loaded = await asyncio.gather(*(counters.load("cl100k_base") for _ in range(3)))
    assert {encoding.name for encoding in loaded} == {"cl100k_base"}


async def test_the_models_own_encoding_margin_and_image_price_are_used(counters: Counters) -> None:
    exact = await counters.prompt(MODELS["exact"], call(), "acct_1")
    estimate = await counters.prompt(MODELS["estimate"], call(), "acct_1")
    assert (exact.local, exact.bound) == (10, 10)  # 3 tokens, the role, and the frame of message and reply
    assert estimate.local == 10 < estimate.bound
    picture = call([{"type": "image_url", "image_url": {"url": "https://a/b.png"}}])
    assert await local(counters, MODELS["pictures"], picture) > 777 > await local(counters, MODELS["exact"], call())


@pytest.mark.parametrize("member", COSTLY)
async def test_what_an_upstream_bills_as_prompt_is_counted(counters: Counters, member: str) -> None:
    asked = call()
    plain = await local(counters, MODELS["exact"], asked)
    assert await local(counters, MODELS["exact"], call(user="a user is not in the prompt")) == plain
    asked.members[member] = call(metadata={"k": "some words"}).members["metadata"]
    assert await local(counters, MODELS["exact"], asked) > plain


async def test_a_long_prompt_is_counted_the_same(counters: Counters) -> None:
    long = "word " * (THREAD_BYTES // 4)
    asked = call(long)
    assert asked.size > THREAD_BYTES
    expected = count_text(load("cl100k_base"), long) + await local(counters, MODELS["exact"], call(""))
    assert await local(counters, MODELS["exact"], asked) == expected


async def test_text(counters: Counters) -> None:
    count = await counters.text(MODELS["exact"])
    assert [count(text) for text in ("", "hello world", "<|endoftext|>")] == [0, 2, 7]
