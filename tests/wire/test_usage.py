from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from streamrouter.wire.usage import MOST_TOKENS, Usage, read_usage, usage_json


def read(value: Any) -> Usage | None:
    return read_usage(Raw(json.dumps(value).encode()))


def told(prompt: Any = 9, completion: Any = 5, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (told(), Usage(9, 5)),
        (told(0, 0), Usage(0, 0)),
        (told(MOST_TOKENS, MOST_TOKENS), Usage(MOST_TOKENS, MOST_TOKENS)),
        # OpenAI: cached inside the prompt, reasoning inside the completion
        (
            told(
                total_tokens=14,
                prompt_tokens_details={"cached_tokens": 4, "audio_tokens": 0},
                completion_tokens_details={"reasoning_tokens": 3},
            ),
            Usage(9, 5, 4, 3),
        ),
        # xAI, Gemini: reasoning beside the completion, and in the total
        (told(total_tokens=34, completion_tokens_details={"reasoning_tokens": 20}), Usage(9, 25, 0, 20)),
        (told(9, 0, total_tokens=29, completion_tokens_details={"reasoning_tokens": 20}), Usage(9, 20, 0, 20)),
        # no total to tell by: OpenAI's meaning, and reasoning never above the output
        (told(completion_tokens_details={"reasoning_tokens": 20}), Usage(9, 5, 0, 5)),
        # DeepSeek
        (told(prompt_cache_hit_tokens=6, prompt_cache_miss_tokens=3), Usage(9, 5, 6)),
        (told(prompt_cache_hit_tokens=6, prompt_tokens_details={"cached_tokens": 4}), Usage(9, 5, 4)),
        # details that make no sense are no reason to doubt the counts
        (told(prompt_tokens_details={"cached_tokens": 99}), Usage(9, 5, 9)),
        (told(prompt_tokens_details={"cached_tokens": -1}), Usage(9, 5)),
        (told(prompt_tokens_details={"cached_tokens": "4"}), Usage(9, 5)),
        (told(prompt_tokens_details=None, completion_tokens_details=None), Usage(9, 5)),
        (told(prompt_tokens_details=[4], completion_tokens_details="x"), Usage(9, 5)),
        (told(total_tokens="x", service_tier=None), Usage(9, 5)),
    ],
)
def test_normalised(value: dict[str, Any], expected: Usage) -> None:
    assert read(value) == expected


@pytest.mark.parametrize("bad", [None, -1, 1.0, 1.5, "9", True, [], {}, MOST_TOKENS + 1, 10**30, 10**400])
def test_a_count_that_is_none_is_insane(bad: Any) -> None:
    assert read(told(prompt=bad)) is None
    assert read(told(completion=bad)) is None


@pytest.mark.parametrize(
    "raw", [b"{}", b"[]", b"null", b"7", b'"x"', b"{", b"", b'{"prompt_tokens":9}', b'{"\xff":1}', b"[" * 100_000]
)
def test_what_is_no_usage_is_insane(raw: bytes) -> None:
    assert read_usage(Raw(raw)) is None


counts = st.integers(0, MOST_TOKENS)


@given(prompt=counts, completion=counts, cached=counts, reasoning=counts, total=counts | st.none())
def test_parts_never_exceed_the_whole(
    prompt: int, completion: int, cached: int, reasoning: int, total: int | None
) -> None:
    usage = read(
        told(
            prompt,
            completion,
            total_tokens=total,
            prompt_tokens_details={"cached_tokens": cached},
            completion_tokens_details={"reasoning_tokens": reasoning},
        )
    )
    assert usage is not None
    assert 0 <= usage.cached <= usage.input == prompt
    assert 0 <= usage.reasoning <= usage.output
    assert usage.output in (completion, completion + reasoning)


@given(st.builds(Usage, counts, counts).flatmap(lambda u: st.builds(Usage, st.just(u.input), st.just(u.output))))
def test_our_own_reads_back(usage: Usage) -> None:
    assert read_usage(usage_json(usage)) == usage


def test_our_own_has_openais_shape() -> None:
    assert json.loads(bytes(usage_json(Usage(9, 5, 4, 3)))) == {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
