"""Where the console is: the admin API, its description and the pages, beside the surfaces and apart from their CORS."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from streamrouter import ids
from streamrouter.errors import Refusal
from streamrouter.web.console.frame import BASE, AdminApi
from streamrouter.web.console.openapi import OpenApi
from streamrouter.web.console.route import SAFETY, Site
from streamrouter.web.console.table import ROUTES
from streamrouter.web.pages import PREFIX as PAGES
from streamrouter.web.pages import Pages
from streamrouter.web.replies import send_refusal

# What no surface may stand on (config/surfaces.py): a path that is one of these, or below it.
PREFIXES = (BASE, PAGES, "/openapi.json")


class Console:
    """``apps`` by prefix. A prefix without one is not there."""

    def __init__(self, apps: Mapping[str, ASGIApp], new_id: Callable[[], str]) -> None:
        self._apps = apps
        self._new_id = new_id

    def at(self, path: str) -> bool:
        """Whether a path is the console's."""
        return path.startswith(PREFIXES) and _prefix(path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._apps.get(_prefix(scope["path"]) or "")
        try:
            if app is None:
                raise Refusal("not_found", "There is nothing here.")
            await app(scope, receive, send)
        except Refusal as refusal:
            await send_refusal(send, refusal, self._new_id(), headers=SAFETY)


def _prefix(path: str) -> str | None:
    return next((prefix for prefix in PREFIXES if path == prefix or path.startswith(prefix + "/")), None)


def console_of(site: Site) -> Console:
    """The console of a running server."""
    apps: dict[str, ASGIApp] = {
        BASE: AdminApi(site, ROUTES),
        PAGES: Pages(),
        "/openapi.json": OpenApi(ROUTES, BASE),
    }
    return Console(apps, lambda: ids.request_id(site.clock.now_ns()))
