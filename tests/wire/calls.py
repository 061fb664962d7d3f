"""Requests for the tests of ``wire/chat.py``: made, refused, forwarded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamrouter.errors import Refusal
from streamrouter.wire.chat import Call, decode_call, forward_body

USER = {"role": "user", "content": "Hi"}
BODY = {"model": "gpt-5.4-mini", "messages": [USER]}


def call_of(**members: Any) -> Call:
    return decode_call(json.dumps(BODY | members).encode(), "req_1")


def refusal(body: bytes, **how: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        decode_call(body, "req_1", **how)
    return refused.value


def refused(**members: Any) -> tuple[str, str | None]:
    found = refusal(json.dumps(BODY | members).encode())
    return found.code, found.param


def forwarded(call: Call, **how: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "model": "upstream",
        "limit": 100,
        "limit_field": "max_tokens",
        "ask_usage": True,
        "stream": call.stream,
    } | how
    sent: dict[str, Any] = json.loads(forward_body(call, **told))
    return sent
