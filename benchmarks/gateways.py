"""How each gateway of the comparison is run: one worker, in front of the one upstream, as lean as its options allow."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from benchmarks import install
from benchmarks.proc import free_port, listening, start, wait_until
from benchmarks.proxy import MODELS, start_proxy
from streamrouter import __version__

MASTER_KEY = "sk-bench-0123456789"
# No gateway asks anybody else for anything while it is measured.
QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_LOG": "ERROR",
    "DO_NOT_TRACK": "1",
    "RUST_LOG": "warn",
    "NODE_ENV": "production",
}


class Running(NamedTuple):
    """A gateway that answers. ``model``: what its requests call a model of ours, ``{}`` being its name."""

    process: subprocess.Popen[Any]
    base_url: str
    key: str = ""
    headers: Mapping[str, str] = MappingProxyType({})
    model: str = "{}"


class Gateway(NamedTuple):
    """``start(directory, upstream_port)`` installs it if it has to, and raises ``install.Skipped`` if it cannot."""

    name: str
    version: str
    built_in: str
    does: str  # in this comparison, of what streamrouter does
    start: Callable[[Path, int], Running]


NGINX = """
daemon off; worker_processes 1; pid {directory}/pid; error_log {directory}/error.log warn;
events {{ worker_connections 16384; }}
http {{
    access_log off; keepalive_requests 1000000;
    client_body_temp_path {directory}/a; proxy_temp_path {directory}/b; fastcgi_temp_path {directory}/c;
    uwsgi_temp_path {directory}/d; scgi_temp_path {directory}/e;
    upstream main {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://main; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
        }}
    }}
}}
"""


def _nginx(directory: Path, upstream: int) -> Running:
    binary, port = install.nginx(), free_port()
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(directory=directory, upstream=upstream, port=port))
    return _started([str(binary), "-c", str(config), "-e", str(directory / "error.log")], directory, port)


def _streamrouter(directory: Path, upstream: int) -> Running:
    process, port, key = start_proxy(str(directory), upstream)
    return Running(process, f"http://127.0.0.1:{port}/v1", key)


LITELLM_MODEL = """
  - model_name: {name}
    litellm_params: {{model: openai/{name}, api_base: "http://127.0.0.1:{upstream}/v1", api_key: sk-upstream}}"""


def _litellm(directory: Path, upstream: int) -> Running:
    bin_, port = install.pip("litellm"), free_port()
    config = directory / "litellm.yaml"
    models = "".join(LITELLM_MODEL.format(name=name, upstream=upstream) for name in MODELS)
    config.write_text(f"model_list:{models}\ngeneral_settings:\n  master_key: {MASTER_KEY}\n")
    command = [str(bin_ / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    return _started([*command, "--num_workers", "1"], directory, port, key=MASTER_KEY)


def _portkey(directory: Path, upstream: int) -> Running:
    script, port = install.npm_portkey(), free_port()
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1"}
    command = ["node", str(script), f"--port={port}", "--headless"]
    return _started(command, directory, port, key="sk-upstream", headers=headers)


def _vllm_router(directory: Path, upstream: int) -> Running:
    bin_, port = install.pip("vllm-router"), free_port()
    command = [str(bin_ / "vllm-router"), "--host", "127.0.0.1", "--port", str(port), "--policy", "round_robin"]
    command += ["--worker-urls", f"http://127.0.0.1:{upstream}", "--disable-retries", "--disable-circuit-breaker"]
    command += ["--prometheus-port", str(free_port()), "--log-level", "warning"]
    return _started(command, directory, port)


TENSORZERO = """
[gateway]
observability.enabled = false
disable_pseudonymous_usage_analytics = true
"""
TENSORZERO_MODEL = """
[models.{name}]
routing = ["main"]
[models.{name}.providers.main]
type = "openai"
model_name = "{name}"
api_base = "http://127.0.0.1:{upstream}/v1/"
api_key_location = "none"
"""
TENSORZERO_START = (
    "import sys, threading, tensorzero; gateway = tensorzero._start_http_gateway(config_file=sys.argv[1], "
    "clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False); "
    "print('base', gateway.base_url, flush=True); threading.Event().wait()"
)  # it takes a port of its own choice


def _tensorzero(directory: Path, upstream: int) -> Running:
    bin_, log = install.pip("tensorzero"), directory / "log"
    config = directory / "tensorzero.toml"
    models = "".join(TENSORZERO_MODEL.format(name=name, upstream=upstream) for name in MODELS)
    config.write_text(TENSORZERO + models)
    process = _begun([str(bin_ / "python"), "-c", TENSORZERO_START, str(config)], directory)
    wait_until(lambda: "base http" in log.read_text(), process, "TensorZero")
    base_url = log.read_text().partition("base ")[2].split()[0]
    return Running(process, base_url, model="tensorzero::model_name::{}")


def _begun(command: list[str], directory: Path) -> subprocess.Popen[bytes]:
    return start(command, directory / "log", cwd=directory, env={**os.environ, **QUIET})


def _started(command: list[str], directory: Path, port: int, **more: Any) -> Running:
    process = _begun(command, directory)
    wait_until(lambda: listening(port), process, Path(command[0]).name)
    return Running(process, f"http://127.0.0.1:{port}/v1", **more)


OURS = Gateway(
    "streamrouter",
    __version__,
    "Python",
    "everything: keys and caps, exact counts, leases, a durable ledger (synchronous=FULL), one log line a request",
    _streamrouter,
)
FLOOR = Gateway("nginx", "", "C", "relays bytes: no keys, no counting, no log; the floor", _nginx)
PEERS = (
    Gateway(
        "TensorZero", "2026.6.0", "Rust", "parses and rewrites; no keys, no limits, observability off", _tensorzero
    ),
    Gateway("vllm-router", "0.1.17", "Rust", "relays verbatim: no keys, no counting", _vllm_router),
    Gateway("Portkey", "1.15.2", "Node", "rewrites; no keys of its own, no metering", _portkey),
    Gateway("LiteLLM", "1.106.2", "Python", "parses and rewrites; a master key, no database, no budgets", _litellm),
)
