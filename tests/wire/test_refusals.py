from __future__ import annotations

import json

import pytest

from streamrouter.errors import RULES, Refusal, Upstreamed
from streamrouter.wire.refusals import error_body, error_event, refusal_headers, refusal_status


@pytest.mark.parametrize("code", RULES)
def test_every_code_has_openais_shape(code: str) -> None:
    refusal = Refusal(code, 'Say "why"\n\nand data: what.', param="messages[0]")
    error = json.loads(error_body(refusal, "req_1"))
    assert error == {
        "error": {
            "message": 'Say "why"\n\nand data: what.',
            "type": RULES[code].type,
            "param": "messages[0]",
            "code": code,
            "request_id": "req_1",
        }
    }


def test_no_param_is_null() -> None:
    assert json.loads(error_body(Refusal("not_found", "No."), "r"))["error"]["param"] is None


def test_an_event_is_one_line_and_holds_an_error_only() -> None:
    event = error_event(Upstreamed("upstream_timeout", "a\nb"), "req_1")
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    assert event.count(b"\n") == 2
    assert json.loads(event[6:]).keys() == {"error"}


@pytest.mark.parametrize(
    ("code", "balance_status", "status"),
    [("insufficient_balance", 402, 402), ("insufficient_balance", 429, 429), ("not_found", 429, 404)],
)
def test_status(code: str, balance_status: int, status: int) -> None:
    assert refusal_status(Refusal(code, ""), balance_status) == status
    assert refusal_status(Refusal("insufficient_balance", "")) == 402


def headers(refusal: Refusal) -> dict[str, str]:
    made = refusal_headers(refusal, "req_1")
    assert len(dict(made)) == len(made)
    return {name.decode(): value.decode() for name, value in made}


BASE = {"content-type": "application/json", "cache-control": "no-store", "x-request-id": "req_1"}


@pytest.mark.parametrize(
    ("refusal", "more"),
    [
        (Refusal("invalid_json", ""), {}),
        (Refusal("rate_limit_exceeded", "", retry_after_s=17), {"retry-after": "17"}),
        (Refusal("rate_limit_exceeded", "", retry_after_s=0), {"retry-after": "1"}),
        (
            Refusal("daily_output_tokens_exceeded", "", retry_after_s=60),
            {"retry-after": "60", "x-should-retry": "false"},
        ),
        (Refusal("insufficient_balance", ""), {"x-should-retry": "false"}),
        (Refusal("invalid_api_key", ""), {"www-authenticate": "Bearer"}),
        (Refusal("missing_api_key", ""), {"www-authenticate": "Bearer"}),
        (Refusal("upstream_auth", ""), {}),
        (Refusal("method_not_allowed", "", allow="GET, POST"), {"allow": "GET, POST"}),
    ],
    ids=lambda value: value.code if isinstance(value, Refusal) else "",
)
def test_headers(refusal: Refusal, more: dict[str, str]) -> None:
    assert headers(refusal) == BASE | more
