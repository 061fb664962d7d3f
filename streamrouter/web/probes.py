"""Health, readiness, metrics: for machines, without keys, telling nothing that an attacker could use (S9)."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamrouter.errors import Refusal
from streamrouter.ops.metrics import Metrics
from streamrouter.web import paced


class Probes:
    """``reasons()`` says why the server is not ready; empty when it is."""

    def __init__(self, reasons: Callable[[], list[str]], metrics: Metrics, *, serve_metrics: bool) -> None:
        self._reasons = reasons
        self._metrics = metrics
        self._serve_metrics = serve_metrics
        self._paced = paced.PacedStream().watched

    def routes(self) -> list[Route]:
        return [
            Route("/healthz", self.health, methods=["GET"]),
            Route("/readyz", self.ready, methods=["GET"]),
            Route(paced.PATH, self._paced, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]

    async def health(self, request: Request) -> Response:
        """The loop is alive."""
        return Response(b'{"status":"ok"}', media_type="application/json")

    async def ready(self, request: Request) -> Response:
        """New requests are welcome; 503 with the reasons when they are not."""
        reasons = self._reasons()
        body = orjson.dumps({"status": "not ready" if reasons else "ready", "reasons": reasons})
        return Response(body, status_code=503 if reasons else 200, media_type="application/json")

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text format."""
        if not self._serve_metrics:
            raise Refusal("not_found", "Metrics are switched off ([server] metrics).")
        return Response(self._metrics.render(), media_type="text/plain; version=0.0.4")
