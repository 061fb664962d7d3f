"""``streamrouter init``: a first configuration (0600, never over another one) and a first key, shown once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from streamrouter.cli.options import Options, Refused, common
from streamrouter.cli.output import write_json
from streamrouter.cli.reach import carry_out, expected_faults
from streamrouter.config.draft import Draft, DraftUpstream, text_of
from streamrouter.config.load import BUILT_IN, DEFAULT_FILE, load
from streamrouter.config.presets import PRESETS, offered_upstreams

_CUSTOM = "upstream"


@click.command()
@click.option("--yes", is_flag=True, help="Ask nothing: provider keys of the environment, else the built-in demo.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="H", help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), metavar="P", help="Its port.")
@click.option("--upstream-url", metavar="URL", help="An OpenAI-compatible endpoint, with its /v1.")
@click.option("--upstream-key-file", type=click.File("r"), metavar="FILE", help="Its key is in FILE (- for stdin).")
@click.option("--model", "models", multiple=True, metavar="ID", help="A model of that endpoint; may be repeated.")
@click.option("--user", default="default", show_default=True, metavar="NAME", help="Whose the first key is.")
@common
def init(
    options: Options,
    yes: bool,
    host: str,
    port: int,
    upstream_url: str | None,
    upstream_key_file: Any,
    models: tuple[str, ...],
    user: str,
) -> None:
    """Write a configuration (./streamrouter.toml, or --config) and make a first key, which is shown once.

    Asks what it cannot know; with --yes, or where stdin is no terminal, it takes the defaults.
    """
    path = Path(options.config or DEFAULT_FILE)
    if path.exists() or path.is_symlink():
        message = f"{path} exists, and is never overwritten; name another with --config"
        raise Refused("exists", message, as_json=options.as_json)
    asking = not yes and not options.as_json and sys.stdin.isatty()
    upstreams: list[DraftUpstream] = []
    if upstream_url:
        secret = upstream_key_file.read().strip() if upstream_key_file else None
        upstreams.append(DraftUpstream(name=_CUSTOM, base_url=upstream_url, api_key=secret, models=models))
    upstreams += _of_environment(asking)
    if asking:
        upstreams += [] if upstreams else _asked()
        port = click.prompt("Port to listen on", default=port, type=click.IntRange(0, 65535))
        user = click.prompt("Name of the first user", default=user)
    ledger = options.ledger or os.environ.get("STREAMROUTER_LEDGER") or "streamrouter.db"
    with expected_faults(options):
        known = load(str(BUILT_IN), {}, {}).config.models
        _write(path, text_of(Draft(host=host, port=port, ledger=ledger, upstreams=tuple(upstreams)), known))
        try:
            load(str(path), os.environ, {})
        except BaseException:
            path.unlink()  # it was ours a moment ago, and is of no use
            raise
    made = _first_key(Options(str(path), ledger, options.as_json), user)
    _report(options, path, [upstream.name for upstream in upstreams] or ["demo"], made)


def _of_environment(asking: bool) -> list[DraftUpstream]:
    return [
        DraftUpstream(name=name, preset=name)
        for name in offered_upstreams(os.environ)
        if not asking or click.confirm(f"Use {name} ({PRESETS[name].key_variable} is set)?", default=True)
    ]


def _asked() -> list[DraftUpstream]:
    """A terminal's answers. A key is typed unseen; it stands in the file, which only its owner may read."""
    click.echo("No provider's key is in the environment.")
    url = click.prompt("Address of an OpenAI-compatible endpoint, with /v1 (empty: the built-in demo)", default="")
    if not url:
        return []
    secret = click.prompt("Its key (not shown; empty: none)", default="", hide_input=True, show_default=False)
    model = click.prompt("One of its models, by its own name", default="", show_default=False)
    return [DraftUpstream(name=_CUSTOM, base_url=url, api_key=secret.strip() or None, models=(model,) if model else ())]


def _write(path: Path, text: str) -> None:
    """0600 from its first moment; fails where something stands there by now."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _first_key(options: Options, user: str) -> dict[str, Any] | None:
    """A user and a key on a ledger that has none; None where there are users already."""
    try:
        if carry_out(options, "user.list", {}):
            return None
    except Refused as error:
        if error.code != "not_found":
            raise
    carry_out(options, "user.create", {"user": user})
    made: dict[str, Any] = carry_out(options, "key.create", {"user": user})
    return made


def _report(options: Options, path: Path, upstreams: list[str], made: dict[str, Any] | None) -> None:
    if options.as_json:
        secret = None if made is None else made["key"]
        write_json({"config": str(path), "upstreams": upstreams, "user": made and made["user"], "key": secret})
        return
    click.echo(f"{path} is written (0600). Upstreams: {', '.join(upstreams)}.")
    if made is None:
        click.echo("The ledger has users already: `streamrouter key create NAME` makes another key.")
    else:
        click.echo(f"The key of {made['user']}:\n\n  {made['key']}\n\nIt will not be shown again: store it now.")
    named = "" if str(path) == DEFAULT_FILE else f" --config {path}"
    click.echo(f"Next: streamrouter check{named} --probe, then streamrouter serve{named}")
