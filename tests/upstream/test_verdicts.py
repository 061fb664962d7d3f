"""What an upstream's refusals become, and what must never get out with them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrouter.errors import Upstreamed
from streamrouter.upstream.verdicts import error_event, error_of, not_streamed, refused, retry_after, scrub, unusable

CANARIES = (
    "https://internal.example:8443/v1?key=abc",
    "postgres://user:pw@db/x",
    "10.20.30.40",
    "192.168.1.7:9000",
    "[2001:db8::7]:8080",
    "2001:db8:0:1::42",
    "fe80::1",
    "sk-proj-abcdefgh12345678",
    "sk-ab********wxyz",
    "gsk_abcdefghijkl1234",
    "xai-abcdefghijkl1234",
    "AIzaSyA1234567890abcdefghijk",
    "Bearer abc.def-ghi",
    "bearer abc.def-ghi",
    "0123456789abcdef0123456789abcdef",
    "org-AbCdEfGhIjKlMnOpQrStUvWx",
)


def error_body(message: Any = "m", **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


@pytest.mark.parametrize(
    ("status", "code", "fault"),
    [
        (400, "upstream_rejected", False),
        (413, "upstream_rejected", False),
        (422, "upstream_rejected", False),
        (401, "upstream_auth", True),
        (402, "upstream_auth", True),
        (403, "upstream_auth", True),
        (408, "upstream_timeout", True),
        (504, "upstream_timeout", True),
        (429, "upstream_rate_limited", True),
        *((status, "upstream_invalid_response", True) for status in (301, 302, 307, 304, 404, 405, 418)),
        *((status, "upstream_invalid_response", True) for status in (500, 502, 503, 520, 529, 999)),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>sk-proj-abcdefgh12345678</html>", error_body("at https://a.b/c")])
def test_statuses(status: int, code: str, fault: bool, body: bytes) -> None:
    verdict = refused(status, {}, body)
    assert (verdict.code, verdict.fault, verdict.ambiguous) == (code, fault, False)
    assert "sk-" not in verdict.message
    assert "a.b" not in verdict.message


@pytest.mark.parametrize("canary", CANARIES)
def test_nothing_of_theirs_gets_out(canary: str) -> None:
    told = f"Cannot use {canary}, sorry."
    for verdict in (
        *(refused(status, {"retry-after": canary}, error_body(told, param=told)) for status in range(300, 600)),
        error_event(json.dumps({"message": told, "code": canary, "type": "invalid_request_error"}).encode()),
        error_event(json.dumps({"message": told, "code": 500, "type": canary}).encode()),
        not_streamed(error_body(told)),
        not_streamed(told.encode()),
    ):
        assert canary not in verdict.message
        assert canary not in (verdict.param or "")


@pytest.mark.parametrize(
    "sentence",
    [
        "max_tokens is too large: 5000. This model supports at most 4096 completion tokens.",
        "Invalid value at messages[1].content: expected a string, got 12:30:45.",
        "Unsupported parameter: 'temperature' is not supported with this model, version 1.2.3.",
        "The keywords of a skyscraper, an organization or a project may repeat.",
        "The key must be a word; see the docs::errors page for std::string.",
    ],
)
def test_a_plain_sentence_is_told_as_it_is(sentence: str) -> None:
    verdict = refused(400, {}, error_body(sentence, param="max_tokens"))
    assert (verdict.message, verdict.param, verdict.rule.status) == (sentence, "max_tokens", 400)


def test_control_characters_and_length() -> None:
    assert scrub("a\nb\x1b[31mc\u202ed") == "a b [31mc d"
    assert len(scrub("word " * 10_000)) == 500


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (error_body("m"), "m"),
        (b'{"error":"m"}', "m"),
        (b'[{"error":{"code":400,"message":"m"}}]', "m"),  # Gemini
        (b'{"detail":"m"}', "m"),
        (b'{"object":"error","message":"m"}', None),
        (b'{"detail":[{"msg":"m"}]}', None),
        (b'{"error":null}', None),
        (b'{"error":7}', None),
        (b"[]", None),
        (b"null", None),
        (b"", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
        (b"<html>", None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_error_of(body: bytes, message: str | None) -> None:
    assert error_of(body).get("message") == message


@pytest.mark.parametrize("message", [None, 7, "", {"a": 1}, ["m"]])
def test_a_rejection_without_words(message: Any) -> None:
    verdict = refused(400, {}, error_body(message, param=7))
    assert (verdict.message, verdict.param) == ("The upstream rejected the request.", None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0.2", 1),
        ("7.1", 8),
        ("0", 1),
        ("-5", 1),
        ("99999", 3600),
        ("1e400", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("soon", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_retry_after(text: str, seconds: int | None) -> None:
    assert retry_after({"retry-after": text}) == seconds
    verdict = refused(429, {"retry-after": text}, b"")
    assert verdict.retry_after_s == (seconds or 1)
    assert f"{seconds or 1} s" in verdict.message


def test_no_retry_after() -> None:
    assert retry_after({}) is None
    assert refused(429, {}, b"").retry_after_s == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": 429}, "upstream_rate_limited"),
        ({"code": "429"}, "upstream_rate_limited"),
        ({"code": "rate_limit_exceeded"}, "upstream_rate_limited"),
        ({"type": "rate_limit_error"}, "upstream_rate_limited"),
        ({"code": 400, "message": "m"}, "upstream_rejected"),
        ({"code": "context_length_exceeded", "type": "invalid_request_error", "message": "m"}, "upstream_rejected"),
        ({"code": 500}, "upstream_disconnected"),
        ({"code": "server_error", "message": "m"}, "upstream_disconnected"),
        ({}, "upstream_disconnected"),
        ("oops", "upstream_disconnected"),
        (7, "upstream_disconnected"),
        ([], "upstream_disconnected"),
    ],
)
def test_an_error_inside_a_stream(error: Any, code: str) -> None:
    verdict = error_event(json.dumps(error).encode())
    assert (verdict.code, verdict.ambiguous) == (code, False)
    assert verdict.fault is (code != "upstream_rejected")


@pytest.mark.parametrize(
    ("body", "code", "ambiguous"),
    [
        (error_body("m", code=429), "upstream_rate_limited", False),
        (error_body("m", type="invalid_request_error"), "upstream_rejected", False),
        (error_body("m"), "upstream_disconnected", False),
        (b"<html>", "upstream_invalid_response", True),
        (b"{}", "upstream_invalid_response", True),
        (b"", "upstream_invalid_response", True),
    ],
)
def test_a_200_that_is_no_stream(body: bytes, code: str, ambiguous: bool) -> None:
    verdict = not_streamed(body)
    assert (verdict.code, verdict.ambiguous) == (code, ambiguous)


def test_unusable_is_ambiguous() -> None:
    verdict = unusable("it is compressed")
    assert (verdict.code, verdict.ambiguous, verdict.fault) == ("upstream_invalid_response", True, True)
    assert "it is compressed" in verdict.message


@given(status=st.integers(300, 599), body=st.binary(max_size=60), header=st.text(max_size=10))
def test_any_answer_has_a_verdict(status: int, body: bytes, header: str) -> None:
    verdict = refused(status, {"retry-after": header}, body)
    assert isinstance(verdict, Upstreamed)
    assert verdict.message.isprintable()
    assert error_event(body).message.isprintable()
