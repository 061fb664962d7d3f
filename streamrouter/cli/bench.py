"""``streamrouter bench``: a load on any OpenAI-compatible server, and what it took."""

from __future__ import annotations

import contextlib
import importlib
import os
import ssl
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from streamrouter.bench.load import Plan, run_load
from streamrouter.bench.report import Report, compared, lines, read_report, report_of
from streamrouter.bench.target import PROMPT, Target, call_body, target

PROGRESS = "streamrouter.bench.progress"  # rich takes 100 ms to import: only a terminal pays for it
KEYS = ("STREAMROUTER_API_KEY", "OPENAI_API_KEY")
HELP = """Send a load to the OpenAI-compatible server at URL (its /v1 included) and report time to first event, gaps
between events, rates and errors by kind. Exit code 1 if any request failed.

\b
Three ways to load:
  --clients 8 --duration 10        closed loop: 8 requests in flight for 10 s (or --requests N)
  --rate 50 --duration 10          open loop: 50 requests/s, whatever becomes of them
  --streams 200 --pace 20 --duration 10
                                   200 streams at once, each as long as the server needs for 10 s at 20 ms an event

The key comes from STREAMROUTER_API_KEY, OPENAI_API_KEY or --key-file: an argument would stand in the process list."""


@click.command(help=HELP)
@click.argument("url", default="http://127.0.0.1:8000/v1")
@click.option("--model", default="demo", show_default=True)
@click.option("--prompt", default=PROMPT, help="What is asked; `system`, a blank line, `user` makes two messages.")
@click.option("--max-tokens", type=click.IntRange(1), help="Tokens per answer (default: what --pace needs, else 100).")
@click.option("--stream/--no-stream", default=True, show_default=True)
@click.option("--usage/--no-usage", default=True, help="Ask for the usage at a stream's end.")
@click.option("--clients", type=click.IntRange(1), help="Requests in flight [default: 8].")
@click.option("--requests", type=click.IntRange(1), help="Stop after so many.")
@click.option("--duration", type=click.FloatRange(0.1), help="Stop after so many seconds [default: 10].")
@click.option("--rate", type=click.FloatRange(0.01), help="Requests per second, sent when due.")
@click.option("--streams", type=click.IntRange(1), help="Streams at once, one each.")
@click.option("--pace", type=click.FloatRange(0.1), help="Milliseconds per event that the server is known for.")
@click.option("--ramp", type=click.FloatRange(0), help="Seconds over which the clients begin.")
@click.option("--timeout", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Seconds of silence.")
@click.option("--thorough", is_flag=True, help="Decode every event, not only those that look odd.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="Another header; may repeat.")
@click.option("--key-file", type=click.File(), help="A file with the key; - for standard input.")
@click.option("--ca", type=click.Path(exists=True), help="Certificates to trust, for https.")
@click.option("--insecure", is_flag=True, help="Trust any certificate.")
@click.option("--json", "json_file", metavar="FILE|-", help="Write the report there.")
@click.option("--compare", "before", type=click.File("rb"), help="A report of --json to compare with.")
def bench(url: str, json_file: str | None, before: Any, ca: str | None, insecure: bool, **options: Any) -> None:
    """The command; ``HELP`` is what its users read."""
    plan = plan_of(options)
    aim = _target(url, plan, options)
    try:
        earlier = None if before is None else read_report(before.read())
        context = aim.context(ca=ca, insecure=insecure)
    except (ValueError, ssl.SSLError) as error:
        raise click.UsageError(str(error)) from None
    with contextlib.ExitStack() as stack:
        watch = None
        if sys.stderr.isatty():
            shown = importlib.import_module(PROGRESS)
            watch = stack.enter_context(shown.live(shown.Console(stderr=True), plan.duration_s))
        outcome = run_load(aim, plan, context=context, watch=watch)
    report = report_of(outcome, plan, url=url, model=options["model"], stream=options["stream"])
    _show(report, earlier, json_file)
    sys.exit(1 if report.failed or not report.requests else 0)


def plan_of(options: dict[str, Any]) -> Plan:
    """The plan behind the options; click.UsageError where they contradict each other."""
    streams, clients, rate = options["streams"], options["clients"], options["rate"]
    if sum(value is not None for value in (streams, clients, rate)) > 1:
        raise click.UsageError("--streams, --clients and --rate are three ways to load; choose one")
    if options["pace"] is not None and streams is None:
        raise click.UsageError("--pace belongs to --streams")
    duration = options["duration"]
    if duration is None and options["requests"] is None:
        duration = 10.0
    shared = {"silence_s": options["timeout"], "thorough": options["thorough"]}
    if streams is not None:
        ramp = min(1.0, duration or 1.0) if options["ramp"] is None else options["ramp"]
        return Plan(clients=streams, requests=streams, duration_s=duration, ramp_s=ramp, **shared)
    return Plan(
        clients=clients or 8,
        requests=options["requests"],
        duration_s=duration,
        rate=rate,
        ramp_s=options["ramp"] or 0.0,
        **shared,
    )


def _target(url: str, plan: Plan, options: dict[str, Any]) -> Target:
    tokens = options["max_tokens"]
    if tokens is None:
        pace = options["pace"]
        tokens = 100 if pace is None or plan.duration_s is None else max(1, round(plan.duration_s * 1000 / pace))
    stream = options["stream"]
    body = call_body(
        options["model"], prompt=options["prompt"], stream=stream, max_tokens=tokens, usage=options["usage"]
    )
    pairs = [text.partition(":") for text in options["headers"]]
    if not all(found for _, found, _ in pairs):
        raise click.UsageError("--header is NAME:VALUE")
    given = options["key_file"]
    key = given.read().strip() if given is not None else next((os.environ[n] for n in KEYS if os.environ.get(n)), "")
    try:
        return target(url, body, stream=stream, key=key, headers={name: value.strip() for name, _, value in pairs})
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _show(report: Report, earlier: Report | None, json_file: str | None) -> None:
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"
    if json_file == "-":
        click.echo(encoded, nl=False)
        return
    if json_file is not None:
        Path(json_file).write_bytes(encoded)
    for line in lines(report):
        click.echo(line)
    if earlier is not None:
        click.echo("")
        for line in compared(report, earlier):
            click.echo(line)
