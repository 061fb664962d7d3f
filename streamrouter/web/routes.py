"""The routes: each surface's own, the probes, and one place where everything else that is raised becomes HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from streamrouter.config.schema import SurfaceConfig
from streamrouter.errors import Refusal
from streamrouter.web.body import header
from streamrouter.web.completions import Completions
from streamrouter.web.console.mount import Console
from streamrouter.web.cors import Cors
from streamrouter.web.probes import Probes
from streamrouter.web.replies import INTERNAL_ERROR
from streamrouter.web.surface import SurfacePages
from streamrouter.wire.dialect import style_of
from streamrouter.wire.refusals import OPENAI, Style, error_body, refusal_headers, refusal_status

COMPLETIONS = "/chat/completions"


def prefixes(surface: SurfaceConfig) -> list[str]:
    """Where a surface's routes are: its base path, and the same without a trailing ``/v1`` (docs/clients.md 10)."""
    base = surface.base_path.rstrip("/")
    return [base, base[: -len("/v1")]] if base.endswith("/v1") else [base]


def _host(surface: SurfaceConfig) -> str:
    """The host name that a surface is bound to, "" for every one."""
    return (surface.host or "").lower()


class _Site(NamedTuple):
    """One host name: completions by path, everything else, the routes of that, and how each path's refusals look."""

    hot: dict[str, ASGIApp]
    rest: ASGIApp
    routes: list[Route]
    styles: list[tuple[str, Style]]  # by prefix, the longest first


class Router:
    """The application below the gate: completions are looked up in a table, the rest is Starlette's."""

    def __init__(
        self,
        surfaces: list[tuple[SurfaceConfig, Completions, SurfacePages]],
        probes: Probes,
        cors: Cors,
        new_id: Callable[[], str],
        console: Console | None = None,
    ) -> None:
        self._cors = cors
        self._console = console
        self._new_id = new_id
        hosts = dict.fromkeys(["", *(_host(surface) for surface, _, _ in surfaces)])
        self._sites = {host.encode("ascii"): self._site(host, surfaces, probes) for host in hosts}
        self.routes = [route for site in self._sites.values() for route in site.routes]

    def _site(
        self, host: str, surfaces: list[tuple[SurfaceConfig, Completions, SurfacePages]], probes: Probes
    ) -> _Site:
        """What is served under one host name ("": any other): its own surfaces first, then those of every host."""
        here = [entry for entry in surfaces if host and _host(entry[0]) == host]
        here += [entry for entry in surfaces if not _host(entry[0])]
        bases = {surface.base_path.rstrip("/") for surface, _, _ in here}
        hot: dict[str, ASGIApp] = {}
        routes: list[Route] = probes.routes()
        styles: dict[str, Style] = {}
        for surface, completions, pages in here:
            for prefix in prefixes(surface):
                short = prefix != surface.base_path.rstrip("/")
                if prefix + COMPLETIONS in hot or (short and prefix in bases):
                    continue
                hot[prefix + COMPLETIONS] = completions
                styles[prefix + "/"] = style_of(surface)
                routes += pages.routes(prefix)
        handlers = {Refusal: self._refused, HTTPException: self._refused, Exception: self._refused}
        rest = Starlette(routes=routes, exception_handlers=handlers)
        rest.router.redirect_slashes = False
        return _Site(hot, rest, routes, sorted(styles.items(), key=lambda entry: -len(entry[0])))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._console is not None and self._console.at(scope["path"]):
            await self._console(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            await self._cors.preflight(scope, send)
            return
        site = self._site_of(scope)
        await site.hot.get(scope["path"], site.rest)(scope, receive, send)

    def _site_of(self, scope: Scope) -> _Site:
        host = (header(scope, b"host") or b"").split(b":")[0].lower() if len(self._sites) > 1 else b""
        return self._sites.get(host) or self._sites[b""]

    def style(self, scope: Scope) -> Style:
        """How refusals look at that path: as on the surface that it is inside of."""
        path = scope["path"] + "/"
        return next((style for prefix, style in self._site_of(scope).styles if path.startswith(prefix)), OPENAI)

    async def _refused(self, request: Request, error: Exception) -> Response:
        refusal = error if isinstance(error, Refusal) else _from_http(request, error)
        request_id = self._new_id()
        style = self.style(request.scope)
        response = Response(error_body(refusal, request_id, style), status_code=refusal_status(refusal, style=style))
        response.raw_headers.extend([*refusal_headers(refusal, request_id, style), *self._cors.headers(request.scope)])
        return response


def _from_http(request: Request, error: Exception) -> Refusal:
    """Starlette's own refusals (no such route, not this method) in our words."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    path = request.scope["path"]
    if status == 405:
        allow = (error.headers or {}).get("Allow", "") if isinstance(error, HTTPException) else ""
        return Refusal("method_not_allowed", "This route exists, but not with this method.", allow=allow)
    if "/v1/v1/" in path:
        return Refusal("not_found", "The path holds /v1 twice: set the client's base URL to end in /v1 once.")
    if status == 404:
        return Refusal("not_found", "There is nothing here. The API's routes begin with its base path, such as /v1.")
    return INTERNAL_ERROR


Handler = Callable[[Request], Awaitable[Response]]
