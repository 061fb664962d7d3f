"""What the comparison has to show, each bar with its figure; a bar whose peer is missing is neither met nor missed."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.results import Run

OURS = "streamrouter"
RUST = "TensorZero"
PYTHON = "LiteLLM"


class Bar(NamedTuple):
    """``value`` may be ``most`` at most; None: not measured in this run."""

    what: str
    value: float | None
    most: float
    unit: str

    @property
    def verdict(self) -> str:
        """In one word."""
        if self.value is None:
            return "not measured"
        return "pass" if self.value <= self.most else "MISS"


def bars(run: Run) -> list[Bar]:
    """All of them."""

    def ratio(load: str, peer: str) -> float | None:
        ours, theirs = run.cpu_us(OURS, load), run.cpu_us(peer, load)
        return ours / theirs if ours is not None and theirs else None

    return [
        Bar(f"CPU per paced event, of {RUST}'s", ratio("paced", RUST), 0.85, "×"),
        Bar(f"CPU per request, 8 in flight, of {RUST}'s", ratio("whole", RUST), 2.0, "×"),
        Bar(f"CPU per request, 32 in flight, of {RUST}'s", ratio("whole32", RUST), 2.0, "×"),
        Bar(f"CPU per request, 8 in flight, of {PYTHON}'s", ratio("whole", PYTHON), 1 / 25, "×"),
        Bar(f"CPU per request, 32 in flight, of {PYTHON}'s", ratio("whole32", PYTHON), 1 / 25, "×"),
        Bar(f"CPU per burst of 100 events, of {RUST}'s", ratio("burst", RUST), 0.6, "×"),
        Bar("TTFT added, p50, 50 streams/s", run.added_ms(OURS, "first", lambda r: r.first_ms.p50), 2.0, "ms"),
        Bar("TTFT added, p99, 50 streams/s", run.added_ms(OURS, "first", lambda r: r.first_ms.p99), 6.0, "ms"),
        Bar("gap added, p99, 200 paced streams", run.added_ms(OURS, "paced", lambda r: r.gap_ms.p99), 3.0, "ms"),
        Bar("memory per open stream", run.kib_per_stream(OURS), 64.0, "KiB"),
        Bar("failed requests", float(run.failed(OURS)), 0.0, ""),
    ]
