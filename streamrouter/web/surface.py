"""A surface's pages beside completions: its models (from memory), and what a key may still spend (from the ledger)."""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamrouter import ids
from streamrouter.config.schema import SurfaceConfig
from streamrouter.errors import Refusal
from streamrouter.gateway import Gateway
from streamrouter.ledger.records import Usage
from streamrouter.policy.catalog import model_object
from streamrouter.policy.money import nano_to_usd
from streamrouter.request import Caller
from streamrouter.web.auth import authenticate
from streamrouter.web.cors import Cors
from streamrouter.web.streams import Streams


class SurfacePages:
    """GET models, models/{id}, chat/models, streams/{id}, usage, dashboard/billing/*; all need a key of it."""

    def __init__(self, gateway: Gateway, surface: SurfaceConfig, cors: Cors, started_s: int, streams: Streams) -> None:
        self._gateway = gateway
        self._surface = surface
        self._dialect = gateway.dialects[surface.name]
        self._cors = cors
        self._started_s = started_s
        self._streams = streams

    def routes(self, prefix: str) -> list[Route]:
        """The routes below ``prefix``."""
        return [
            Route(prefix + "/models", self.models, methods=["GET"]),
            Route(prefix + "/chat/models", self.chat_models, methods=["GET"]),
            Route(prefix + "/models/{model:path}", self.model, methods=["GET"]),
            Route(prefix + "/streams/{stream_id}", self.stream, methods=["GET"]),
            Route(prefix + "/usage", self.usage, methods=["GET"]),
            Route(prefix + "/dashboard/billing/subscription", self.subscription, methods=["GET"]),
            Route(prefix + "/dashboard/billing/usage", self.billing_usage, methods=["GET"]),
        ]

    async def _caller(self, request: Request) -> Caller:
        return await authenticate(request.scope, self._surface, self._gateway.ledger, self._gateway.clock.now_ns())

    def _json(self, request: Request, value: object) -> Response:
        response = Response(orjson.dumps(value), media_type="application/json", headers={"Cache-Control": "no-store"})
        if self._dialect.id_in_header:
            now = self._gateway.clock.now_ns()
            response.raw_headers.append((b"x-request-id", ids.request_id(now).encode("ascii")))
        response.raw_headers.extend(self._cors.headers(request.scope))
        return response

    async def models(self, request: Request) -> Response:
        """The models that the caller's key may use."""
        caller = await self._caller(request)
        visible = self._gateway.catalog_of(self._surface).visible((caller.account.models, caller.key.models))
        data = [model_object(model, self._started_s) for model in visible]
        return self._json(request, {"object": "list", "data": data})

    async def chat_models(self, request: Request) -> Response:
        """Each model's key, name and upper limit, as WeryAI's clients read it."""
        caller = await self._caller(request)
        visible = self._gateway.catalog_of(self._surface).visible((caller.account.models, caller.key.models))
        data = [
            {
                "model": model.id,
                "key": model.id,
                "name": model.name,
                "max_tokens": min(model.max_output_tokens, self._dialect.ceiling),
            }
            for model in visible
        ]
        return self._json(request, {"object": "list", "data": data})

    async def model(self, request: Request) -> Response:
        """One model; ids may contain ``/`` and ``:``. A model that the key may not use does not exist for it."""
        caller = await self._caller(request)
        name = request.path_params["model"]
        try:
            model = self._gateway.catalog_of(self._surface).resolve(name, caller.account.models, caller.key.models)
        except Refusal as refusal:
            raise Refusal("model_not_found", refusal.message, param="model") from None
        return self._json(request, model_object(model, self._started_s))

    async def stream(self, request: Request) -> Response:
        """The rest of a resumable stream of this key."""
        response = self._streams.continued(request, await self._caller(request))
        response.raw_headers.extend(self._cors.headers(request.scope))
        return response

    async def usage(self, request: Request) -> Response:
        """What this key's account has used today and may still spend."""
        caller = await self._caller(request)
        usage = await self._gateway.ledger.usage(caller.account.id)
        return self._json(request, usage_object(usage))

    async def subscription(self, request: Request) -> Response:
        """NextChat asks here for the balance: ``hard_limit_usd`` is all that was ever credited."""
        usage = await self._gateway.ledger.usage((await self._caller(request)).account.id)
        limit = usage.credited / 1e9 if not usage.unlimited else 1e9
        return self._json(
            request,
            {
                "object": "billing_subscription",
                "has_payment_method": True,
                "hard_limit_usd": limit,
                "soft_limit_usd": limit,
                "system_hard_limit_usd": limit,
            },
        )

    async def billing_usage(self, request: Request) -> Response:
        """NextChat's other half: ``total_usage`` in US cents."""
        usage = await self._gateway.ledger.usage((await self._caller(request)).account.id)
        return self._json(request, {"object": "list", "total_usage": usage.spent / 1e7})


def usage_object(usage: Usage) -> dict[str, object]:
    """``GET /v1/usage``: tokens as integers, amounts as decimal strings, what is left where a cap is set."""
    return {
        "object": "usage",
        "day": usage.day,
        "input": {**usage.input, "left": left(usage.input)},
        "output": {**usage.output, "left": left(usage.output)},
        "balance_usd": nano_to_usd(usage.credited - usage.spent - usage.reserved_usd),
        "spent_usd": nano_to_usd(usage.spent),
        "reserved_usd": nano_to_usd(usage.reserved_usd),
        "unlimited": usage.unlimited,
        "in_flight": usage.in_flight,
    }


def left(tokens: dict[str, int | None]) -> int | None:
    """What a daily cap leaves, None without one."""
    cap = tokens.get("cap")
    return None if cap is None else max(0, cap - (tokens["used"] or 0) - (tokens["reserved"] or 0))
