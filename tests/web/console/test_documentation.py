"""docs/admin-api.md against the tables: every route and every verb of the console is there, nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamrouter.admin.browsing import BROWSING
from streamrouter.admin.flights import FLIGHTS
from streamrouter.admin.verbs import VERBS
from streamrouter.web.console.route import Route
from streamrouter.web.console.series import SPANS
from streamrouter.web.console.table import ROUTES

PAGE = (Path(__file__).parent.parent.parent.parent / "docs" / "admin-api.md").read_text()
ROW = re.compile(r"^\| (`(?:GET|POST|PATCH|DELETE|PUT) [^|]*) \| (anyone|member|admin) \|", re.MULTILINE)
TOLD = {name: role for names, role in ROW.findall(PAGE) for name in re.findall(r"`([A-Z]+ /[^`]*)`", names)}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_has_its_row(route: Route) -> None:
    assert TOLD.get(f"{route.method} {route.path}") == route.role


def test_no_row_is_without_a_route() -> None:
    assert set(TOLD) == {f"{route.method} {route.path}" for route in ROUTES}


@pytest.mark.parametrize("verb", [*BROWSING, *FLIGHTS, "key.set"])
def test_every_verb_of_the_console_is_told(verb: str) -> None:
    assert verb in VERBS
    assert f"`{verb}`" in PAGE


@pytest.mark.parametrize("span", SPANS)
def test_every_range_is_told(span: str) -> None:
    assert f"`{span}`" in PAGE or f"range={span}`" in PAGE


def test_every_example_asks_a_route_that_is_there() -> None:
    asked = re.findall(r'curl -sN?(?: -X (\w+))? "\$BASE(/[^"?]*)', PAGE)
    assert len(asked) >= 12
    for method, path in asked:
        steps = path.split("/")
        assert any(
            route.method == (method or "GET")
            and len(route.path.split("/")) == len(steps)
            and all(
                ours == theirs or ours[:1] == "{" for ours, theirs in zip(route.path.split("/"), steps, strict=True)
            )
            for route in ROUTES
        ), path
