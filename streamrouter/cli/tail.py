"""``streamrouter tail``: a server's requests as they end, through its control socket or from its log file."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from streamrouter.cli.options import Options, Unreachable, common
from streamrouter.cli.reach import expected_faults, ledger_of
from streamrouter.control import NotServing, follow

_POLL_S = 0.2
_SHOWN = ("end", "ttft_ms", "input_tokens", "output_tokens", "cost_usd", "id")


@click.command()
@click.option("--user", metavar="NAME", help="Only requests of this user.")
@click.option("--model", metavar="ID", help="Only requests for this model.")
@click.option("--errors", is_flag=True, help="Only what was refused, failed or was left by its client.")
@click.option("--file", "log_file", type=click.Path(dir_okay=False), help="Follow this file of JSON lines instead.")
@click.option("--count", metavar="N", type=click.IntRange(1), help="Stop after that many lines.")
@common
def tail(
    options: Options, user: str | None, model: str | None, errors: bool, log_file: str | None, count: int | None
) -> None:
    """Show each request as it ends, until interrupted (with --json as the log has it)."""
    with expected_faults(options):
        lines = _of_file(Path(log_file)) if log_file else _of_server(options)
        with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
            for line in lines:
                if not wanted(line, user, model, errors):
                    continue
                click.echo(
                    json.dumps(line, ensure_ascii=False) if options.as_json else spoken(line, sys.stdout.isatty())
                )
                count = None if count is None else count - 1
                if count == 0:
                    return


def wanted(line: dict[str, Any], user: str | None, model: str | None, errors: bool) -> bool:
    """Whether a line of the log is one of a request that was asked for."""
    if line.get("event") not in ("request", "refused", "client_left", "internal_error"):
        return False
    if (user is not None and line.get("user") != user) or (model is not None and line.get("model") != model):
        return False
    return not errors or failed(line)


def failed(line: dict[str, Any]) -> bool:
    """A refusal, a failure, or a client that left."""
    status = line.get("status")
    return line["event"] != "request" or (isinstance(status, int) and status >= 400)


def spoken(line: dict[str, Any], colour: bool) -> str:
    """One line for people. What is in it was cleaned when it was logged, and is cleaned of controls again here."""
    status = line.get("status") or line["event"]
    who = " ".join(str(line[name]) for name in ("user", "key", "model", "upstream") if line.get(name))
    rest = " ".join(f"{name}={line[name]}" for name in (*_SHOWN, "code", "at") if line.get(name) not in (None, ""))
    text = f"{str(line.get('time', ''))[11:19]} {status} {who}"
    text, rest = ("".join(c if c.isprintable() else " " for c in part) for part in (text, rest))
    if not colour or os.environ.get("NO_COLOR"):
        return f"{text}  {rest}"
    serious = isinstance(status, int) and status >= 500
    shade = "red" if serious or line["event"] == "internal_error" else "yellow" if failed(line) else "green"
    return f"{click.style(text, fg=shade)}  {click.style(rest, dim=True)}"


def _of_server(options: Options) -> Iterator[dict[str, Any]]:
    try:
        yield from follow(ledger_of(options))
    except NotServing as error:
        message = f"{error}; start it, or follow its log with --file"
        raise Unreachable("server_unreachable", message, as_json=options.as_json) from None


def _of_file(path: Path) -> Iterator[dict[str, Any]]:
    """New lines of a file from now on, also after it was rotated (another file under its name) or emptied."""
    file = path.open("rb")
    file.seek(0, os.SEEK_END)
    return _lines(path, file)


def _lines(path: Path, file: IO[bytes]) -> Iterator[dict[str, Any]]:
    rest = b""
    while True:
        pieces = (rest + file.read()).split(b"\n")
        rest = pieces.pop()
        for piece in pieces:
            with contextlib.suppress(ValueError):
                line = json.loads(piece)
                if isinstance(line, dict):
                    yield line
        if not pieces:
            time.sleep(_POLL_S)
            with contextlib.suppress(FileNotFoundError):
                now = path.stat()
                if now.st_ino != os.fstat(file.fileno()).st_ino or now.st_size < file.tell():
                    file.close()
                    file, rest = path.open("rb"), b""
