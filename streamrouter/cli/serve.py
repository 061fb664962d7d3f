"""``streamrouter serve``: load the configuration and hand over to the app."""

from __future__ import annotations

import click

from streamrouter.cli.options import Options, Refused, common
from streamrouter.cli.output import write_warnings
from streamrouter.cli.reach import expected_faults, load_config
from streamrouter.process.run import run


@click.command()
@click.option("--host", metavar="H", help="Address to listen on (default: the configuration's, else 127.0.0.1).")
@click.option("--port", metavar="P", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@common
@click.pass_context
def serve(ctx: click.Context, options: Options, host: str | None, port: int | None) -> None:
    """Start the proxy. Without a configuration it serves the built-in demo models.

    --json makes the log JSON lines, whatever stderr is.
    """
    chosen = {"server.host": host, "server.port": port, "log.format": "json" if options.as_json else None}
    with expected_faults(options, ledger=Refused):
        loaded = load_config(options, **chosen)
        write_warnings(loaded.warnings)
        exit_code = run(loaded)
    ctx.exit(exit_code)
