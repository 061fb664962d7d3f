from __future__ import annotations

import json
from typing import Any

import pytest

from streamrouter.wire.answer import BadAnswer, decode_answer, with_our_names
from streamrouter.wire.chunk import texts
from tests.support.upstream import completion


def test_every_choice_is_read() -> None:
    said: dict[str, Any] = completion("Hi.")
    tool = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said["choices"].append(
        {"index": 1, "message": {"content": None, "tool_calls": [tool]}, "finish_reason": "tool_calls"}
    )
    answer = decode_answer(json.dumps(said).encode())
    read = [(c.index, c.finish_reason, list(texts(c.message))) for c in answer.choices or ()]
    assert read == [(0, "stop", [("content", "Hi.")]), (1, "tool_calls", [("tool0", "f"), ("tool0", "{}")])]
    assert json.loads(bytes(answer.usage)) == said["usage"]


def test_an_error_is_an_answer_of_its_own() -> None:
    answer = decode_answer(b'{"error":{"message":"m"}}')
    assert answer.choices is None
    assert bytes(answer.error) == b'{"message":"m"}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b'{"choices":[]}',
        b'{"choices":null}',
        b'{"error":null}',
        b'{"choices":[],"error":null}',
        b'{"choices":[{"message":"x"}]}',
        b'{"choices":[{"message":{"content":7}}]}',
        b'{"choices":[{"message":{"content":"\xff"}}]}',
        b'{"id":"\xff","choices":[{"message":{"content":"x"}}]}',
        b'{"choices":' + b"[" * 100_000,
        b"<html></html>",
        b"\x1f\x8b\x08\x00",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_no_completion(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        decode_answer(body)


def test_our_names_replace_theirs_and_the_rest_stays() -> None:
    body = (
        b'{"request_id":"theirs", "model":"up","error": null,'
        b'"choices":[ {"a":1.50,"b":"\\u0041\xc5\xbe"} ],"x":{"model":"deep"}}'
    )
    named = with_our_names(body, "public/m", "req_1")
    assert b'[ {"a":1.50,"b":"\\u0041\xc5\xbe"} ]' in named
    assert named.count(b"request_id") == 1
    got = json.loads(named)
    assert (got["model"], got["request_id"], got["x"]) == ("public/m", "req_1", {"model": "deep"})
    assert "error" not in got


def test_a_missing_model_is_added() -> None:
    assert json.loads(with_our_names(b'{"choices":[]}', 'a"b', "r")) == {
        "choices": [],
        "model": 'a"b',
        "request_id": "r",
    }
