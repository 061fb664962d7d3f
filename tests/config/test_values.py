"""The forms of values: what is taken and what is not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamrouter.config import values


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (values.Positive, [1, 2**53 - 1], [0, -1, 2**53, 1.5]),
        (values.Natural, [0], [-1]),
        (values.Seconds, [0.001, 86_400], [0, -1, 86_401]),
        (values.Name, ["main", "a.b_c-1"], ["", "-a", "a b", "a" * 65, "a\n"]),
        (values.ModelId, ["org/model:1", "gpt-4.1"], ["", "/a", "a b", "ä", "a\n"]),
        (values.Usd, ["0", "10.50", "0.000000001"], ["", "-1", "1e3", ".5", "0.0000000001"]),
        (values.UsdPerMillion, ["0.15"], ["0.0000001"]),
        (values.Percent, ["5", "2.5"], ["100", "-1"]),
        (values.BasePath, ["/v1", "/a/b"], ["v1", "/v1/", "/"]),
        (values.Origin, ["*", "https://app.example.com"], ["app.example.com", "https://a/b"]),
        (values.FieldType, ["any", "string or array"], ["text", "string or", ""]),
        (values.CancelPath, ["/predictions/{id}/cancel"], ["/predictions/cancel", "predictions/{id}"]),
        (values.Network, ["10.0.0.0/8", "::1"], ["localhost", ""]),
    ],
)
def test_what_a_value_may_be(kind: Any, good: list[Any], bad: list[Any]) -> None:
    assert [msgspec.convert(value, kind) for value in good] == good
    for value in bad:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(value, kind)
