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
@click.option("--log-format", type=click.Choice(["auto", "json", "text"]), help="Log lines (default: auto).")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Lowest level (default: info)."
)
@click.option("--dry-run", is_flag=True, help="Read the configuration, say what is wrong with it, start nothing.")
@common
@click.pass_context
def serve(
    ctx: click.Context,
    options: Options,
    host: str | None,
    port: int | None,
    log_format: str | None,
    log_level: str | None,
    dry_run: bool,
) -> None:
    """Start the proxy. Without a configuration it serves the built-in demo models.

    --json makes the log JSON lines, whatever stderr is. SIGHUP, or a change of the configuration file, reloads it.
    SIGUSR2 starts the program anew in the same process, and refuses nobody meanwhile.
    """
    chosen = {
        "server.host": host,
        "server.port": port,
        "log.format": log_format or ("json" if options.as_json else None),
        "log.level": log_level,
    }
    with expected_faults(options, ledger=Refused):
        loaded = load_config(options, **chosen)
        write_warnings(loaded.warnings)
        if dry_run:
            return
        exit_code = run(loaded, lambda: load_config(options, **chosen))
    ctx.exit(exit_code)
