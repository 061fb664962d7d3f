"""The routes: each surface's own, the probes, and one place where everything else that is raised becomes HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

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
from streamrouter.web.cors import Cors
from streamrouter.web.probes import Probes
from streamrouter.web.replies import INTERNAL_ERROR
from streamrouter.web.surface import SurfacePages
from streamrouter.wire.refusals import error_body, refusal_headers, refusal_status

COMPLETIONS = "/chat/completions"


def prefixes(surface: SurfaceConfig) -> list[str]:
    """Where a surface's routes are: its base path, and the same without a trailing ``/v1`` (CLIENTS 10)."""
    base = surface.base_path.rstrip("/")
    return [base, base[: -len("/v1")]] if base.endswith("/v1") else [base]


class Router:
    """The application below the gate: completions are looked up in a table, the rest is Starlette's."""

    def __init__(
        self,
        surfaces: list[tuple[SurfaceConfig, Completions, SurfacePages]],
        probes: Probes,
        cors: Cors,
        new_id: Callable[[], str],
    ) -> None:
        self._cors = cors
        self._new_id = new_id
        self._hot: dict[str, list[tuple[bytes | None, ASGIApp]]] = {}
        routes: list[Route] = probes.routes()
        taken: set[str] = {surface.base_path.rstrip("/") for surface, _, _ in surfaces}
        for surface, completions, pages in surfaces:
            host = surface.host.encode("ascii") if surface.host else None
            for prefix in prefixes(surface):
                if prefix != surface.base_path.rstrip("/") and prefix in taken:
                    continue
                taken.add(prefix)
                self._hot.setdefault(prefix + COMPLETIONS, []).append((host, completions))
                routes += pages.routes(prefix)
        self._rest = Starlette(routes=routes, exception_handlers={Refusal: self._refused, HTTPException: self._refused})
        self._rest.router.redirect_slashes = False
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS":
            await self._cors.preflight(scope, send)
            return
        candidates = self._hot.get(scope["path"])
        if candidates is not None:
            host = (header(scope, b"host") or b"").split(b":")[0].lower()
            for wanted, completions in sorted(candidates, key=lambda entry: entry[0] is None):
                if wanted is None or wanted == host:
                    await completions(scope, receive, send)
                    return
        await self._rest(scope, receive, send)

    async def _refused(self, request: Request, error: Exception) -> Response:
        refusal = error if isinstance(error, Refusal) else _from_http(request, error)
        request_id = self._new_id()
        response = Response(error_body(refusal, request_id), status_code=refusal_status(refusal))
        response.raw_headers.extend([*refusal_headers(refusal, request_id), *self._cors.headers(request.scope)])
        return response


def _from_http(request: Request, error: Exception) -> Refusal:
    """Starlette's own refusals (no such route, not this method) in our words."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    path = request.scope["path"]
    if status == 405:
        return Refusal("method_not_allowed", "This route exists, but not with this method.")
    if "/v1/v1/" in path:
        return Refusal("not_found", "The path holds /v1 twice: set the client's base URL to end in /v1 once.")
    if status == 404:
        return Refusal("not_found", "There is nothing here. The API's routes begin with its base path, such as /v1.")
    return INTERNAL_ERROR


Handler = Callable[[Request], Awaitable[Response]]
