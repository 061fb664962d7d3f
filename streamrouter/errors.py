"""Every way in which streamrouter says no, and the one tree that they form.

A ``Refusal`` is what a client is told; it is raised anywhere below the web layer and becomes HTTP (or an error event
inside a stream) in one place, ``web/replies.py``. ``RULES`` is the whole table: no code exists that is not in it, and
a test holds it against the documentation. Messages say what happened, the numbers, and what to do; they never carry
upstream text, URLs, keys or traces.
"""

from __future__ import annotations

from msgspec import Struct


class StreamrouterError(Exception):
    """The root of the tree: whatever we raise on purpose."""


class ConfigError(StreamrouterError):
    """A configuration that cannot be used. ``str()`` is one fault per line: ``file:line: path: what; what to do``."""


class LedgerError(StreamrouterError):
    """The ledger file cannot be opened or used; the message says what to do."""


class NoLedger(LedgerError):
    """There is no ledger in that database, and none was to be made."""


class Rule(Struct, frozen=True):
    """How one refusal looks from outside: HTTP status, OpenAI error type, and whether a client should retry.

    ``retry`` becomes ``x-should-retry`` (None: the header is left out and SDKs decide by the status).
    """

    status: int
    type: str
    retry: bool | None = None


_INVALID = "invalid_request_error"

RULES: dict[str, Rule] = {
    "invalid_json": Rule(400, _INVALID),
    "missing_required_parameter": Rule(400, _INVALID),
    "invalid_type": Rule(400, _INVALID),
    "invalid_value": Rule(400, _INVALID),
    "context_length_exceeded": Rule(400, _INVALID),
    "upstream_rejected": Rule(400, _INVALID),
    "bad_request": Rule(400, _INVALID),
    "missing_api_key": Rule(401, "authentication_error"),
    "invalid_api_key": Rule(401, "authentication_error"),
    "not_signed_in": Rule(401, "authentication_error"),
    "wrong_password": Rule(401, "authentication_error"),
    "insufficient_balance": Rule(402, "insufficient_quota", retry=False),
    "model_not_allowed": Rule(403, "permission_error"),
    "stopped_by_admin": Rule(403, "permission_error", retry=False),
    "forbidden": Rule(403, "permission_error"),
    "forbidden_origin": Rule(403, "permission_error"),
    "model_not_found": Rule(404, _INVALID),
    "not_found": Rule(404, _INVALID),
    "method_not_allowed": Rule(405, _INVALID),
    "request_timeout": Rule(408, "timeout"),
    "stream_expired": Rule(410, _INVALID, retry=False),
    "link_expired": Rule(410, _INVALID, retry=False),
    "input_tokens_exceeded": Rule(413, _INVALID),
    "request_too_large": Rule(413, _INVALID),
    "unsupported_media_type": Rule(415, _INVALID),
    "daily_input_tokens_exceeded": Rule(429, "insufficient_quota", retry=False),
    "daily_output_tokens_exceeded": Rule(429, "insufficient_quota", retry=False),
    "concurrent_requests_exceeded": Rule(429, "rate_limit_error"),
    "rate_limit_exceeded": Rule(429, "rate_limit_error"),
    "upstream_rate_limited": Rule(429, "rate_limit_error"),
    "too_many_attempts": Rule(429, "rate_limit_error"),
    "last_admin": Rule(409, _INVALID, retry=False),
    "idempotency_in_progress": Rule(409, _INVALID),
    "idempotency_completed": Rule(409, _INVALID, retry=False),
    "idempotency_key_reused": Rule(400, _INVALID),
    "internal_error": Rule(500, "api_error"),
    "upstream_unreachable": Rule(502, "api_error"),
    "upstream_disconnected": Rule(502, "api_error"),
    "upstream_truncated": Rule(502, "api_error"),
    "upstream_invalid_response": Rule(502, "api_error"),
    "upstream_auth": Rule(502, "api_error"),
    "upstream_not_configured": Rule(503, "api_error"),
    "ledger_unavailable": Rule(503, "api_error"),
    "overloaded": Rule(503, "api_error"),
    "server_shutdown": Rule(503, "api_error"),
    "upstream_timeout": Rule(504, "timeout"),
}


class Refusal(StreamrouterError):
    """A request that is not served, or a stream that ends early. ``code`` is a key of ``RULES``.

    ``param`` names the field at fault; ``retry_after_s`` becomes ``Retry-After`` (whole seconds, at least 1); ``allow``
    the methods that a 405 has to name (RFC 9110 section 15.5.6).
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: int | None = None,
        allow: str = "",
    ) -> None:
        super().__init__(message)
        self.rule = RULES[code]
        self.code = code
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.allow = allow


class Upstreamed(Refusal):
    """A refusal whose cause is the upstream: dispatch may try the next target.

    ``ambiguous``: the upstream may have worked on the request, so its input is charged (LEDGER: "what is charged").
    ``fault``: it counts against the upstream in its breaker (a 400 does not: that one is the client's).
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: int | None = None,
        ambiguous: bool = False,
        fault: bool = True,
    ) -> None:
        super().__init__(code, message, param=param, retry_after_s=retry_after_s)
        self.ambiguous = ambiguous
        self.fault = fault
