from __future__ import annotations

from typing import Annotated

import pytest
from msgspec import UNSET, Meta, UnsetType

from streamrouter.errors import Refusal
from streamrouter.web.console.decoding import body_of, query_of
from streamrouter.web.console.route import Body, Empty


class Inner(Body, frozen=True):
    amount: Annotated[int, Meta(ge=0)] = 0


class Sample(Body, frozen=True):
    name: str
    inner: Inner | None = None
    cap: int | UnsetType | None = UNSET


class Query(Body, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=10)] = 5
    user: str | None = None
    live: bool = False


def test_a_body_becomes_its_struct() -> None:
    assert body_of(b'{"name":"a","cap":null}', Sample) == Sample(name="a", cap=None)
    assert body_of(b"", Empty) == body_of(b"{}", Empty) == Empty()


@pytest.mark.parametrize(
    ("raw", "code", "param"),
    [
        (b"{", "invalid_json", None),
        (b"\xff{}", "invalid_json", None),
        (b'{"name":"\xff"}', "invalid_json", None),
        (b"[" * 5000, "invalid_json", None),
        (b"[]", "invalid_value", None),
        (b'"name"', "invalid_value", None),
        (b"{}", "invalid_value", "name"),
        (b'{"name":1}', "invalid_value", "name"),
        (b'{"name":"a","role":"admin"}', "invalid_value", "role"),
        (b'{"name":"a","name":"b"}', "invalid_value", "name"),
        (b'{"name":"a","inner":{"amount":1,"amount":2}}', "invalid_value", "inner.amount"),
        (b'{"name":"a","inner":{"amount":-1}}', "invalid_value", "inner.amount"),
        (b'{"name":"a","inner":{"other":1}}', "invalid_value", "inner.other"),
        (b'{"name":"a","cap":1e400}', "invalid_value", None),
        (b'{"name":"a","cap":' + b"9" * 400 + b"}", "invalid_value", None),
        (b'{"name":"a","' + b"x" * 5000 + b'":1}', "invalid_value", "x" * 100),
    ],
)
def test_what_is_wrong_is_named(raw: bytes, code: str, param: str | None) -> None:
    with pytest.raises(Refusal) as refused:
        body_of(raw, Sample)
    assert (refused.value.code, refused.value.param) == (code, param)
    assert len(refused.value.message) <= 320


def test_a_query_becomes_its_struct() -> None:
    assert query_of(b"", Query) == Query()
    assert query_of(b"limit=7&user=t%C3%A9am+b&live=true", Query) == Query(limit=7, user="téam b", live=True)
    assert query_of(b"", None) is None


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"limit=0", "limit"),
        (b"limit=ten", "limit"),
        (b"limit=1&limit=2", "limit"),
        (b"Limit=1", "Limit"),
        (b"user=%ff", None),
        (b"user=\xff", None),
        (b"&".join(b"a%d=1" % number for number in range(100)), None),
    ],
)
def test_what_is_wrong_with_a_query_is_named(raw: bytes, param: str | None) -> None:
    with pytest.raises(Refusal) as refused:
        query_of(raw, Query)
    assert (refused.value.code, refused.value.param) == ("invalid_value", param)


def test_a_route_without_parameters_takes_none() -> None:
    with pytest.raises(Refusal) as refused:
        query_of(b"debug=1", None)
    assert refused.value.param == "debug"
