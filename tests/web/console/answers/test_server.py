from __future__ import annotations

import inspect

import pytest

from streamrouter.policy.breaker import Breaker
from streamrouter.web.console.answers import server
from streamrouter.web.console.answers.books import Answer
from streamrouter.web.console.feed import STATES

STRUCTS = [kind for _, kind in inspect.getmembers(server, inspect.isclass) if issubclass(kind, Answer)]


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_each_is_strict_and_says_what_it_is(kind: type[Answer]) -> None:
    assert kind.__struct_config__.forbid_unknown_fields
    assert kind.__doc__


def test_every_state_of_a_breaker_has_its_word() -> None:
    breaker = Breaker(10, threshold=1)
    found = [breaker.state(0)]
    breaker.failed(0)
    found += [breaker.state(5), breaker.state(11)]
    assert [STATES[state] for state in found] == ["closed", "open", "half_open"]
