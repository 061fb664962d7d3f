"""The benchmarks' upstream, and streamrouter in front of it with every feature on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.proc import free_port, listening, start, wait_until

MODELS = ("paced", "burst", "whole", "paced-20", "paced-50", "paced-100", "paced-200", "paced-400", "paced-1000")
CONFIG = """
[upstreams.main]
base_url = "http://127.0.0.1:{port}/v1"
[[surface]]
""" + "".join(f"[models.{name}]\nexact = true\n" for name in MODELS)


def start_upstream(
    directory: str, module: str = "benchmarks.upstream", *more: str
) -> tuple[subprocess.Popen[bytes], int]:
    """A raw upstream in a process of its own; its port."""
    port = free_port()
    if module == "benchmarks.upstream":
        command = [sys.executable, "-m", "benchmarks", "upstream", "--port", str(port), *more]
    else:
        command = [sys.executable, "-m", module, str(port), *more]
    process = start(command, Path(directory, "upstream.log"), cwd=Path(__file__).parent.parent)
    wait_until(lambda: listening(port), process, "the upstream")
    return process, port


def start_proxy(directory: str, upstream_port: int, text: str = CONFIG) -> tuple[subprocess.Popen[bytes], int, str]:
    """streamrouter with a durable ledger in ``directory``; its port and first key. ``text``: its configuration.

    Keys, exact counts, leases and the ledger with ``synchronous=FULL`` are its defaults; its log goes to a file.
    """
    config, said = Path(directory, "streamrouter.toml"), Path(directory, "said")
    config.write_text(text.format(port=upstream_port))
    command = [sys.executable, "-m", "streamrouter", "serve", "--port", "0", "--config", str(config), "--json"]
    command += ["--ledger", str(Path(directory, "ledger.db"))]
    with said.open("wb") as out, Path(directory, "log.jsonl").open("wb") as log:
        process = subprocess.Popen(command, stdout=out, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    wait_until(lambda: "Try" in said.read_text(), process, "streamrouter", every_s=0.005)
    port, key = (re.search(pattern, said.read_text()) for pattern in (r"API\s+http://[^:]+:(\d+)/", r"Key\s+(\S+)"))
    if port is None or key is None:
        raise RuntimeError(f"streamrouter said neither port nor key: {said.read_text()}")
    return process, int(port.group(1)), key.group(1)
