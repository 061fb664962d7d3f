"""A request as a person reads it in a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from streamrouter.ops.phrases import request_phrase

WHOLE = {
    "id": "req_1",
    "status": 200,
    "user": "team-a",
    "key": "sk-…a1b2",
    "surface": "main",
    "model": "gpt-4.1",
    "upstream": "openai",
    "end": "finished",
    "ttft_ms": 312,
    "gap_p99_ms": 48,
    "duration_ms": 2150,
    "input_tokens": 120,
    "output_tokens": 85,
    "cached_tokens": 96,
    "cost_usd": "0.000184",
    "usage_source": "upstream",
}


def test_everything_that_is_known_is_said() -> None:
    assert request_phrase(WHOLE) == (
        "200 gpt-4.1 openai finished",
        "ttft 312ms  gap 48ms  2.15s  120+85 tok (96 cached)  $0.000184  team-a sk-…a1b2  req_1",
    )


@pytest.mark.parametrize(
    ("fields", "phrase"),
    [
        ({}, ("", "")),
        ({"id": "req_1"}, ("", "req_1")),
        ({"status": 499, "end": "client_left", "upstream": ""}, ("499 client_left", "")),
        ({"status": 200, "duration_ms": 999}, ("200", "999ms")),
        (
            {"input_tokens": 1, "output_tokens": 0, "cost_usd": "0.00", "usage_source": "local"},
            ("", "1+0 tok, local"),
        ),
        ({"status": 200, "client_id": "mine", "code": 7}, ("200", "client_id=mine  code=7")),
    ],
)
def test_what_is_not_known_is_left_out(fields: dict[str, Any], phrase: tuple[str, str]) -> None:
    assert request_phrase(fields) == phrase
