"""The table of routes itself; who may use which is in tests/security/test_console_access.py."""

from __future__ import annotations

from pathlib import Path

from streamrouter.web.console.table import ROUTES
from tests.support.asgi import running
from tests.support.console import signed_in


def test_every_row_is_whole() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    for route in ROUTES:
        assert route.path.startswith("/") and not route.path.endswith("/")
        assert route.summary and not route.summary.endswith(".")
        assert route.answer is not None or route.status == 204 or route.path == "/live"
        assert (route.body is None) == (route.method in ("GET", "DELETE"))
        for kind in (route.body, route.query):
            assert kind is None or kind.__struct_config__.forbid_unknown_fields


async def test_nothing_else_is_there(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        admin = await signed_in(rig)
        for path in ("", "/", "/nothing", "/people/", "/people/x/y/z", "/session/../people"):
            assert (await admin.get(path)).status in (404, 400)
        refused = await admin.send("PUT", "/people", {})
        assert (refused.code, refused.headers["allow"]) == ("method_not_allowed", "GET, POST")
        assert (await admin.send("OPTIONS", "/people")).status == 405
