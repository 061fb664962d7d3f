"""The Idempotency-Key header: which ones are keys, and what two requests must share to be the same."""

from __future__ import annotations

import pytest
from starlette.types import Scope

from streamrouter.errors import Refusal
from streamrouter.web.idempotency import idempotency_of


def scope(*values: bytes, method: str = "POST", path: str = "/v1/chat/completions") -> Scope:
    return {"method": method, "path": path, "headers": [(b"idempotency-key", value) for value in values]}


def test_without_the_header_there_is_none() -> None:
    assert idempotency_of(scope(), b"{}") is None


@pytest.mark.parametrize("value", [b"a", b"x" * 255, b"8e03978e-40d5-43e8-bc93-6894a57f9324", b" a b ", b"~!"])
def test_printable_ascii_is_a_key(value: bytes) -> None:
    found = idempotency_of(scope(value), b"{}")
    assert found is not None and found.name == value.strip().decode()


@pytest.mark.parametrize("values", [(b"",), (b"x" * 256,), (b"\xc3\xa9",), (b"a\tb",), (b"a\x7f",), (b"a", b"a")])
def test_anything_else_is_refused(values: tuple[bytes, ...]) -> None:
    with pytest.raises(Refusal, match="1 to 255 printable ASCII") as refused:
        idempotency_of(scope(*values), b"{}")
    assert (refused.value.code, refused.value.param) == ("invalid_value", "Idempotency-Key")


def test_method_path_and_body_make_the_fingerprint() -> None:
    requests = [
        (scope(b"a"), b"{}"),
        (scope(b"a"), b"{ }"),
        (scope(b"a", path="/wl/v1/chat/completions"), b"{}"),
        (scope(b"a", method="PUT"), b"{}"),
    ]
    prints = {found.fingerprint for each in requests if (found := idempotency_of(*each)) is not None}
    assert len(prints) == 4
    same = [idempotency_of(scope(name), b"{}") for name in (b"a", b"b")]
    assert same[0] is not None and same[1] is not None
    assert same[0].fingerprint == same[1].fingerprint and len(same[0].fingerprint) == 32
