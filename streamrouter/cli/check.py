"""``streamrouter check``: what the configuration would do, or every fault of it with its line; ``--probe`` tries it."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import click

from streamrouter.admin.verbs import AdminError
from streamrouter.cli.options import Options, common
from streamrouter.cli.output import working, write_json, write_table, write_warnings
from streamrouter.cli.probing import Probe, probe_all
from streamrouter.cli.reach import expected_faults, load_config
from streamrouter.config.load import Loaded
from streamrouter.config.place import is_database, shown
from streamrouter.config.schema import SurfaceConfig, UpstreamConfig
from streamrouter.control import ControlFault, NotServing, call
from streamrouter.policy.catalog import Catalog, Model

_ROUTES = ("POST {}/chat/completions", "GET {}/models", "GET {}/models/ID", "GET {}/usage")
_NUMBERS = (
    "context",
    "max_output",
    "usd_per_million_input",
    "usd_per_million_output",
    "usd_per_million_cache_read",
)


@click.command()
@click.option("--probe", is_flag=True, help="Also ask every upstream for a few tokens; exit 1 if one does not answer.")
@common
@click.pass_context
def check(ctx: click.Context, options: Options, probe: bool) -> None:
    """Say what the configuration would do, without doing it; list its faults and exit 1 if it cannot be used."""
    with expected_faults(options):
        loaded = load_config(options)
    plan = plan_of(loaded)
    running = _running(loaded)
    if running is not None:
        plan["running"] = running
    if not options.as_json:
        _show(plan)
    if probe:
        with working("Every upstream is asked"):
            found = asyncio.run(probe_all(loaded.config))
        plan |= {"ok": all(each.ok for each in found), "probes": [_probed(each) for each in found]}
        if not options.as_json:
            _show_probes(found)
    if options.as_json:
        write_json(plan)
    elif plan["ok"]:
        click.echo("\nThe configuration is good.")
    ctx.exit(0 if plan["ok"] else 1)


def _show(plan: dict[str, Any]) -> None:
    click.echo(f"configuration  {plan['source']}")
    click.echo(f"listen         {plan['listen']}")
    click.echo(f"ledger         {plan['ledger']['path']}{' (will be created)' * (plan['ledger']['exists'] is False)}")
    for title, rows in (("surface", plan["surfaces"]), ("upstream", plan["upstreams"]), ("model", plan["models"])):
        click.echo("")
        if rows:
            write_table([title, *list(rows[0])[1:]], [list(row.values()) for row in rows], right=_NUMBERS)
        else:
            click.echo(f"no {title}s")
    if "running" in plan:
        _show_running(plan["running"])
    write_warnings(plan["warnings"])


def _running(loaded: Loaded) -> dict[str, Any] | None:
    """What the server that runs with this ledger and this file would take over; None where there is none."""
    try:
        found: dict[str, Any] = call(loaded.config.ledger.path, "config.pending", {})
    except (NotServing, ControlFault, AdminError):
        return None
    return found if found["source"] == os.path.realpath(loaded.source) else None


def _show_running(running: dict[str, Any]) -> None:
    click.echo("")
    click.echo(f"running        would take over: {', '.join(running['changed']) or 'nothing new'}")
    if running["restart"]:
        click.echo(f"               needs a restart: {', '.join(running['restart'])}")
    for fault in running["faults"]:
        click.echo(f"               would be refused: {fault}")


def _show_probes(found: list[Probe]) -> None:
    click.echo("")
    ttft = ["-" if each.ttft_ms is None else f"{each.ttft_ms} ms" for each in found]
    rows = [[each.upstream, each.model, each.kind, time, each.detail] for each, time in zip(found, ttft, strict=True)]
    write_table(("probed", "model", "answer", "TTFT", "detail"), rows, right=("TTFT",))
    for each in found:
        if not each.ok:
            click.echo(f"{each.upstream}: {each.remedy}.", err=True)


def _probed(found: Probe) -> dict[str, Any]:
    return {name: getattr(found, name) for name in found.__struct_fields__}


def plan_of(loaded: Loaded) -> dict[str, Any]:
    """What ``loaded`` would do, as JSON; of keys and headers only that they are there, and no password.

    Whether a database has the tables is not looked at: that is ``streamrouter doctor``'s.
    """
    config = loaded.config
    path = config.ledger.path
    return {
        "ok": True,
        "source": loaded.source,
        "listen": _address(config.server.host, config.server.port, "https" if config.server.tls_cert else "http"),
        "ledger": {"path": shown(path), "exists": None if is_database(path) else os.path.exists(path)},
        "surfaces": [_surface(surface) for surface in config.surface],
        "upstreams": [_upstream(name, upstream) for name, upstream in config.upstreams.items()],
        "models": [_model(model) for model in Catalog(config).models.values()],
        "warnings": loaded.warnings,
    }


def _address(host: str, port: int, scheme: str) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _surface(surface: SurfaceConfig) -> dict[str, Any]:
    return {
        "name": surface.name,
        "host": surface.host,
        "routes": [route.format(surface.base_path) for route in _ROUTES],
        "key_prefix": surface.key_prefix,
        "auth": surface.auth,
        "billing": surface.billing,
    }


def _upstream(name: str, upstream: UpstreamConfig) -> dict[str, Any]:
    return {
        "name": name,
        "base_url": upstream.base_url,  # holds no user and no query: config/rules.py refuses such addresses
        "api_key": "set" if upstream.api_key else None,
        "headers": list(upstream.headers),
    }


def _model(model: Model) -> dict[str, Any]:
    input_usd, output_usd, cache_read_usd = model.price_text
    return {
        "id": model.id,
        "targets": [f"{target.upstream}/{target.model}" for target in model.targets],
        "context": model.context_length,
        "max_output": model.max_output_tokens,
        "usd_per_million_input": input_usd,
        "usd_per_million_output": output_usd,
        "usd_per_million_cache_read": cache_read_usd,
    }
