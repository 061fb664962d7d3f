from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path

import pytest

from streamrouter.errors import RULES, ConfigError, LedgerError, Refusal, StreamrouterError, Upstreamed

SOURCE = "\n".join(path.read_text() for path in (Path(__file__).parent.parent / "streamrouter").rglob("*.py"))
# What a status may be called, by OpenAI's and our own table.
TYPES = {
    400: {"invalid_request_error"},
    401: {"authentication_error"},
    402: {"insufficient_quota"},
    403: {"permission_error"},
    404: {"invalid_request_error"},
    405: {"invalid_request_error"},
    408: {"timeout"},
    409: {"invalid_request_error"},
    410: {"invalid_request_error"},
    413: {"invalid_request_error"},
    415: {"invalid_request_error"},
    429: {"insufficient_quota", "rate_limit_error"},
    500: {"api_error"},
    502: {"api_error"},
    503: {"api_error"},
    504: {"timeout"},
}


@pytest.mark.parametrize("code", RULES)
def test_a_rule_is_consistent(code: str) -> None:
    rule = RULES[code]
    assert re.fullmatch(r"[a-z_]{3,40}", code)
    assert HTTPStatus(rule.status)
    assert rule.type in TYPES[rule.status]
    if rule.type == "insufficient_quota":
        assert rule.retry is False  # waiting a second does not fill a quota
    elif rule.status >= 500:
        assert rule.retry is None  # SDKs retry 5xx by themselves


@pytest.mark.parametrize("code", RULES)
def test_no_code_is_dead(code: str) -> None:
    assert SOURCE.count(f'"{code}"') >= 2


def test_a_code_that_is_not_in_the_table_cannot_be_raised() -> None:
    with pytest.raises(KeyError):
        Refusal("no_such_code", "m")


def test_refusal() -> None:
    refusal = Refusal("rate_limit_exceeded", "Too fast.", param="p", retry_after_s=7)
    assert (str(refusal), refusal.rule.status, refusal.param, refusal.retry_after_s) == ("Too fast.", 429, "p", 7)


def test_upstreamed() -> None:
    fault = Upstreamed("upstream_timeout", "m")
    assert (fault.ambiguous, fault.fault, fault.param, fault.retry_after_s) == (False, True, None, None)
    fault = Upstreamed("upstream_rejected", "m", param="p", retry_after_s=1, ambiguous=True, fault=False)
    assert (fault.ambiguous, fault.fault, fault.param, fault.retry_after_s) == (True, False, "p", 1)


def test_the_tree() -> None:
    def below(kind: type[Exception]) -> set[type[Exception]]:
        return {kind}.union(*(below(each) for each in kind.__subclasses__()))

    assert {Refusal, Upstreamed, ConfigError, LedgerError} <= below(StreamrouterError)
    assert issubclass(Upstreamed, Refusal)
    assert not issubclass(ConfigError, Refusal)
