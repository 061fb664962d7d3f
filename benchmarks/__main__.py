"""``python -m benchmarks VERB``: the load-test harness."""

from __future__ import annotations

import signal
import sys

from streamrouter.cli.lazy import LazyGroup

cli = LazyGroup(
    name="benchmarks",
    help="What streamrouter costs, beside others on the same machine (docs/performance.md).",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    commands_at={
        "load": ("streamrouter.cli.bench:bench", "Load any OpenAI-compatible server (= streamrouter bench)."),
        "upstream": ("benchmarks.verbs:upstream", "Serve a raw upstream: paced, burst, whole, faults on demand."),
        "compare": ("benchmarks.verbs:compare", "The same load through each gateway: CPU, memory, added latency."),
        "scale": ("benchmarks.verbs:scale", "From 200 to 4,000 open streams: where one core ends."),
        "memory": ("benchmarks.verbs:memory", "KiB per open stream."),
        "start": ("benchmarks.verbs:start", "From process start to the first answer and the first streamed event."),
        "history": ("benchmarks.verbs:history", "A run of compare beside an earlier one."),
        "report": ("benchmarks.verbs:report", "HTML, SVG and the tables of docs/ from recorded runs."),
        "ledger": ("benchmarks.ledger:command", "Reserve and settle through the real writer, no HTTP."),
        "soak": ("benchmarks.soak:command", "Bad days in a row; the books must add up to the token."),
        "stalled": ("benchmarks.stalled:command", "A thousand clients that stop reading."),
    },
)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended as well
    cli(prog_name="python -m benchmarks")
