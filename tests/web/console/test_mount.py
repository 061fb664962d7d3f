from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from streamrouter.config.schema import ConsoleConfig
from streamrouter.web.console.mount import Console
from streamrouter.web.replies import send_json
from tests.support.asgi import CONFIG, ask, running


async def here(scope: Any, receive: Any, send: Any) -> None:
    await send_json(send, {"path": scope["path"]})


@pytest.mark.parametrize(
    ("path", "is_its"),
    [
        ("/admin/api", True),
        ("/admin/api/session", True),
        ("/console", True),
        ("/console/", True),
        ("/openapi.json", True),
        ("/admin", False),
        ("/admin/apis", False),
        ("/console.html", False),
        ("/v1/console", False),
        ("/", False),
    ],
)
def test_which_paths_are_the_consoles(path: str, is_its: bool) -> None:
    assert Console({}, lambda: "req_1").at(path) is is_its


async def test_each_prefix_has_its_application() -> None:
    console = Console({"/admin/api": here}, lambda: "req_1")
    assert (await ask(console, "GET", "/admin/api/x")).json == {"path": "/admin/api/x"}
    assert (await ask(console, "GET", "/console/x")).code == "not_found"


async def test_a_console_that_is_switched_off_is_not_there(tmp_path: Path) -> None:
    async with running(tmp_path, config=replace(CONFIG, console=ConsoleConfig(enabled=False))) as rig:
        for path in ("/admin/api/session", "/console", "/openapi.json"):
            assert (await ask(rig.app.asgi, "GET", path)).status == 404
