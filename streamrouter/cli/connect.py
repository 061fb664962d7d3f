"""``streamrouter connect``: how a client is pointed at this server. The key is not in it: it is not known any more."""

from __future__ import annotations

import difflib

import click

from streamrouter.cli.healthcheck import address_of
from streamrouter.cli.options import Options, Refused, common
from streamrouter.cli.output import write_json, write_table
from streamrouter.cli.reach import expected_faults, load_config
from streamrouter.config.clients import CLIENTS, rendered
from streamrouter.config.schema import Config, SurfaceConfig


@click.command()
@click.argument("client", required=False)
@click.option("--url", metavar="URL", help="The public address (default: the configuration's own).")
@click.option("--model", metavar="ID", help="A model (default: the first one configured).")
@click.option("--surface", "surface_name", metavar="S", help="The surface (default: the first).")
@common
def connect(options: Options, client: str | None, url: str | None, model: str | None, surface_name: str | None) -> None:
    """Print the configuration of CLIENT for this server; without CLIENT, the list of those that are known."""
    if client is None:
        _list(options)
        return
    if client not in CLIENTS:
        near = difflib.get_close_matches(client, CLIENTS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(CLIENTS)}"
        raise Refused("not_found", f"no client {client!r} is known; {hint}", as_json=options.as_json)
    with expected_faults(options):
        config = load_config(options).config
    surface = _surface(options, config, surface_name)
    base = _base(config, surface, url)
    found = CLIENTS[client]
    chosen = model or next(iter(surface.models or config.models), "demo")
    text = rendered(found, base, chosen)
    if options.as_json:
        write_json({"client": client, "base_url": base, "model": chosen, "place": found.place, "snippet": text})
        return
    click.echo(f"# {found.title}. {found.place}", err=True)
    click.echo(text, nl=False)


def _list(options: Options) -> None:
    if options.as_json:
        write_json({name: client.title for name, client in CLIENTS.items()})
    else:
        write_table(("client", "is"), [[name, client.title] for name, client in CLIENTS.items()])


def _surface(options: Options, config: Config, name: str | None) -> SurfaceConfig:
    for surface in config.surface:
        if name in (None, surface.name):
            return surface
    names = ", ".join(surface.name for surface in config.surface)
    raise Refused("not_found", f"there is no surface {name!r}; there are: {names}", as_json=options.as_json)


def _base(config: Config, surface: SurfaceConfig, url: str | None) -> str:
    """The address that a client needs, with the surface's path, whether ``url`` was given with it or without."""
    root = (url or address_of(config)).rstrip("/").removesuffix(surface.base_path)
    return root + surface.base_path
