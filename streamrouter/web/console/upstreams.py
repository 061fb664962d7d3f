"""Models and upstreams: prices, places, how upstreams are doing, and one prompt to try an upstream with."""

from __future__ import annotations

from typing import Any

from streamrouter.admin.desk import Text
from streamrouter.errors import Refusal
from streamrouter.ops import histogram
from streamrouter.policy.catalog import Model
from streamrouter.upstream.dispatch import Upstream
from streamrouter.upstream.trial import trial
from streamrouter.web.console.answers import server
from streamrouter.web.console.configuration import without_userinfo
from streamrouter.web.console.feed import iso_in, state_of
from streamrouter.web.console.route import Body, Context, Route


class Trial(Body, frozen=True):
    """The public model to ask for; the upstream must be one of its targets."""

    model: Text


async def models(context: Context) -> Any:
    """Every configured model with its price and its targets."""
    catalog = context.site.gateway().catalog
    return {"data": [_model(model) for model in catalog.models.values()], "next": None}


def _model(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "name": model.name,
        "owned_by": model.owned_by,
        "context_length": model.context_length,
        "max_output_tokens": model.max_output_tokens,
        "default_max_tokens": model.default_max_tokens,
        "price": dict(zip(("input", "output", "cache_read"), model.price_text, strict=True)),
        "targets": [
            {"upstream": target.upstream, "model": target.model, "rank": target.rank, "weight": target.weight}
            for target in model.targets
        ],
        "streaming": model.streaming,
        "exact": model.exact,
    }


async def upstreams(context: Context) -> Any:
    """Every upstream: the breaker's state and the last hour."""
    found = context.site.gateway().dispatch.upstreams.values()
    return {"data": [_upstream(context, upstream) for upstream in found], "next": None}


def _upstream(context: Context, upstream: Upstream) -> dict[str, Any]:
    now = context.site.clock.monotonic()
    hour = context.site.watch.of_upstream(upstream.name, context.now_ns // 1_000_000_000)
    left_s = upstream.breaker.until - now
    return {
        "name": upstream.name,
        "base_url": without_userinfo(upstream.config.base_url),
        "preset": upstream.config.preset,
        "state": state_of(upstream, now),
        "cooldown_until": iso_in(left_s, context.now_ns) if left_s > 0 else None,
        "requests": hour.requests,
        "errors": hour.errors,
        "ttft_p50_ms": histogram.quantile(hour.ttft, 0.5),
        "ttft_p95_ms": histogram.quantile(hour.ttft, 0.95),
        "gap_p99_ms": histogram.quantile(hour.gap, 0.99),
    }


async def tested(context: Context) -> Any:
    """Send one short prompt straight to an upstream. It is charged to nobody, and stops no request in flight."""
    gateway = context.site.gateway()
    upstream = gateway.dispatch.upstreams.get(context.path["name"])
    if upstream is None:
        raise Refusal("not_found", "There is no such upstream; GET /admin/api/upstreams lists them.")
    model = gateway.catalog.models.get(context.body.model)
    target = next((each for each in model.targets if each.upstream == upstream.name), None) if model else None
    if target is None:
        raise Refusal("invalid_value", "This upstream is no target of that model.", param="model")
    return await trial(upstream, target.model, context.site.clock, context.request_id)


ROUTES = (
    Route("GET", "/models", "admin", models, "Models, prices and targets", answer=server.Models),
    Route("GET", "/upstreams", "admin", upstreams, "Upstreams and how they are doing", answer=server.Upstreams),
    Route("POST", "/upstreams/{name}/test", "admin", tested, "Try an upstream", Trial, answer=server.Tested),
)
