"""One live line on a terminal while a load runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from streamrouter.bench.load import Load
from streamrouter.bench.stats import quantile_ms

RECENT = 1000  # first events that the live figure looks at


def status(load: Load, duration_s: float | None) -> str:
    """What there is to say now."""
    tally, elapsed = load.tally, load.elapsed_s
    of = f"/{duration_s:.0f}" if duration_s else ""
    first = quantile_ms(tally.first_s[-RECENT:], 0.5)
    rate = tally.events / elapsed if elapsed > 0 else 0.0
    return (
        f"{elapsed:5.1f}{of} s  {load.in_flight:,} in flight  {tally.requests:,} done  "
        f"{tally.errors.total():,} failed  {rate:,.0f} events/s  first event p50 {first:.1f} ms"
    )


@contextmanager
def live(console: Console, duration_s: float | None) -> Iterator[Callable[[Load], None]]:
    """A callable that shows a load; the line is gone at the end."""
    with Live(Text(""), console=console, transient=True, refresh_per_second=4) as shown:
        yield lambda load: shown.update(Text(status(load, duration_s)))
