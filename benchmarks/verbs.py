"""The command line of the harness."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click
import uvloop

from benchmarks import tables
from benchmarks.chart import main_chart
from benchmarks.compare import Comparison
from benchmarks.docs import RECORDED, scaling, write_docs
from benchmarks.gateways import FLOOR, OURS, PEERS
from benchmarks.history import HEADINGS as HISTORY_HEADINGS
from benchmarks.history import history as history_rows
from benchmarks.install import HOME
from benchmarks.page import page
from benchmarks.proc import listen
from benchmarks.resting import OPEN, starts
from benchmarks.resting import memory as open_memory
from benchmarks.results import Run, read_run, write
from benchmarks.scale import STEPS
from benchmarks.scale import scale as scale_steps
from benchmarks.upstream import FAULTS, Playing, serve
from streamrouter.cli.output import write_table


def _recorded(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--json", "path", type=click.Path(path_type=Path), default=HOME / f"{name}.json", show_default=True
    )


@click.command()
@click.option("--port", type=int, default=9000, show_default=True)
@click.option("--pace", type=click.FloatRange(0.1), default=20.0, show_default=True, help="Milliseconds per event.")
@click.option("--fault", type=click.Choice(FAULTS), help="What goes wrong with every N-th request.")
@click.option("--fault-every", type=click.IntRange(1), default=50, show_default=True, metavar="N")
def upstream(port: int, pace: float, fault: str | None, fault_every: int) -> None:
    """Serve on 127.0.0.1 until killed; the model's name says what to play (burst, paced-N, fault-NAME)."""
    playing = Playing(pace / 1000, fault or "", fault_every if fault else 0)
    uvloop.run(serve(listen(port), playing))


@click.command()
@click.option("--peers", is_flag=True, help="With TensorZero, vllm-router, Portkey and LiteLLM, installed if need be.")
@click.option("--only", multiple=True, metavar="NAME", help="Only these gateways; may repeat.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--scale", type=click.FloatRange(0.02), default=1.0, show_default=True, help="How long each load is.")
@_recorded("compare")
def compare(peers: bool, only: tuple[str, ...], rounds: int, scale: float, path: Path) -> None:
    """The same loads direct and through each gateway, interleaved; exit code 1 if one of ours failed."""
    gateways = [
        each for each in (OURS, FLOOR, *PEERS) if each.name in only or (not only and (peers or each not in PEERS))
    ]
    run = Comparison(gateways, scale, _say).make(rounds)
    write(path, run)
    path.with_suffix(".html").write_text(page(run))
    path.with_suffix(".svg").write_text(main_chart(run))
    show(run)
    click.echo(f"recorded in {path}; report in {path.with_suffix('.html')}")
    sys.exit(1 if run.failed(OURS.name) or OURS.name in run.skipped else 0)


def _say(line: str) -> None:
    click.echo(line, err=True)


def show(run: Run) -> None:
    """All tables of a comparison."""
    for headings, rows in (
        (tables.HEADINGS, tables.comparison(run)),
        (tables.RATIO_HEADINGS, tables.ratios(run)),
        (tables.DIRECT_HEADINGS, tables.direct(run)),
        (tables.BAR_HEADINGS, tables.verdicts(run)),
        (tables.ABOUT_HEADINGS, tables.abouts(run)),
    ):
        write_table(headings, rows, right=headings[1:] if headings is not tables.ABOUT_HEADINGS else ())
        click.echo("")


@click.command()
@click.option("--most", type=click.IntRange(1), default=100_000, help="Only steps of at most so many streams.")
@_recorded("scale")
def scale(most: int, path: Path) -> None:
    """200 to 4,000 open paced streams through streamrouter, and direct."""
    found = scale_steps([step for step in STEPS if step.streams <= most], _say)
    write(path, found)
    click.echo(scaling(found))


@click.command()
@click.option("--peers", is_flag=True, help="The other gateways too.")
@click.option("--streams", type=click.IntRange(1), multiple=True, default=OPEN, show_default=True)
@_recorded("memory")
def memory(peers: bool, streams: tuple[int, ...], path: Path) -> None:
    """KiB per open stream, each number on a fresh process."""
    write(path, open_memory((OURS, FLOOR, *PEERS) if peers else (OURS,), streams, click.echo))


@click.command()
@click.option("--times", type=click.IntRange(1), default=5, show_default=True)
@_recorded("start")
def start(times: int, path: Path) -> None:
    """Cold starts: seconds to an answer of /healthz, and to the first streamed event."""
    write(path, starts(times, click.echo))


@click.command()
@click.argument("before", type=click.Path(exists=True, path_type=Path), default=RECORDED / "compare.json")
@click.argument("now", type=click.Path(exists=True, path_type=Path), default=HOME / "compare.json")
def history(before: Path, now: Path) -> None:
    """Two recorded comparisons side by side (default: the repository's, and the last one)."""
    write_table(HISTORY_HEADINGS, history_rows(_run(before), _run(now)), right=HISTORY_HEADINGS[2:])


@click.command()
@click.argument("run", type=click.Path(exists=True, path_type=Path), default=HOME / "compare.json")
@click.option("--docs", is_flag=True, help="Rewrite the tables and the chart of docs/ from the runs beside it.")
def report(run: Path, docs: bool) -> None:
    """Tables, HTML and SVG of a recorded comparison."""
    found = _run(run)
    run.with_suffix(".html").write_text(page(found))
    run.with_suffix(".svg").write_text(main_chart(found))
    show(found)
    for name in write_docs(run.parent) if docs else ():
        click.echo(f"wrote {name}")


def _run(path: Path) -> Run:
    try:
        return read_run(path)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
