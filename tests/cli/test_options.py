"""The values of options, and how a failure is shown."""

from __future__ import annotations

import io
import json

import click
import pytest

from streamrouter.cli.options import NO_CAP, Refused, Unreachable, cap_value, given, model_ids, span_s, spelled


def test_a_cap_is_a_number_or_none() -> None:
    assert [cap_value(text) for text in ("0", " 12 ", "none", "NONE")] == [0, 12, NO_CAP, NO_CAP]


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e3", "ten", "١٢", "9" * 19, "null"])
def test_a_cap_is_nothing_else(text: str) -> None:
    with pytest.raises(click.BadParameter):
        cap_value(text)


def test_models_are_ids_between_commas() -> None:
    assert model_ids("a, b/c:d,a") == ["a", "b/c:d"]
    assert model_ids("none") == NO_CAP
    for text in ("", "a,,b", ","):
        with pytest.raises(click.BadParameter):
            model_ids(text)


def test_what_was_not_given_is_left_out_and_none_is_null() -> None:
    assert given({"a": None, "b": NO_CAP, "c": 0, "d": [], "e": False}) == {"b": None, "c": 0, "d": [], "e": False}


def test_a_failure_is_shown_for_people_and_for_programs() -> None:
    plain, as_json = io.StringIO(), io.StringIO()
    Refused("not_found", "there is no bob", as_json=False).show(plain)
    Unreachable("ledger_unavailable", "held", as_json=True, pid=7).show(as_json)
    assert plain.getvalue() == "error: there is no bob\n"
    assert json.loads(as_json.getvalue()) == {"error": {"code": "ledger_unavailable", "message": "held", "pid": 7}}
    assert (Refused.exit_code, Unreachable.exit_code) == (1, 3)


def test_spans_of_time() -> None:
    assert [span_s(text) for text in ("90s", "30m", "24H", " 7d ", "0h")] == [90, 1800, 86_400, 604_800, 0]
    for text in ("24", "h", "1.5h", "-1h", "1w", "", "999999999s"):
        with pytest.raises(click.BadParameter):
            span_s(text)
    assert [spelled(seconds) for seconds in (86_400, 7200, 60, 90, 0)] == [
        "1 day",
        "2 hours",
        "1 minute",
        "90 s",
        "0 s",
    ]
