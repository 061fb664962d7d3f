"""The examples of WLRouter's document, run as they are printed; only the host is ours (and the key's value).

They are its promise "use the OpenAI SDK by changing the base URL and model ID": curl, JavaScript, Python, and the
streaming curl, against a surface with the document's key prefix and its prepaid balance.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.wire import content, events
from tests.support.server import Server

HOST = "https://api.wlrouter.com"

CURL = """\
curl https://api.wlrouter.com/v1/chat/completions \\
  -H "Authorization: Bearer $WLROUTER_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "gpt-4.1-mini",
    "stream": false,
    "messages": [
      { "role": "user", "content": "Write a one sentence product summary." }
    ]
  }'
"""

JAVASCRIPT = """\
import OpenAI from "openai";

const client = new OpenAI({
  apiKey: process.env.WLROUTER_API_KEY,
  baseURL: "https://api.wlrouter.com/v1"
});

const response = await client.chat.completions.create({
  model: "gpt-4.1-mini",
  stream: false,
  messages: [{ role: "user", content: "Write a one sentence product summary." }]
});

console.log(response.choices[0]?.message?.content);
"""

# The document leaves out the first line.
PYTHON = """\
import os
from openai import OpenAI

client = OpenAI(
    api_key=os.environ["WLROUTER_API_KEY"],
    base_url="https://api.wlrouter.com/v1",
)

response = client.chat.completions.create(
    model="gpt-4.1-mini",
    stream=False,
    messages=[{"role": "user", "content": "Write a one sentence product summary."}],
)

print(response.choices[0].message.content)
"""

STREAMING_CURL = """\
curl https://api.wlrouter.com/v1/chat/completions \\
  -H "Authorization: Bearer $WLROUTER_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "gpt-4.1-mini",
    "stream": true,
    "messages": [
      { "role": "user", "content": "Give me three launch checklist items." }
    ]
  }'
"""

CONFIG = """
[upstreams.demo]
base_url = "demo:"
demo_ttft_ms = 1
demo_pace_ms = 1

[models."gpt-4.1-mini"]
price = { input = "0.40", output = "1.60", cache_read = "0.10" }

[[surface]]
name = "wlrouter"
key_prefix = "wlrouter_"
auth = ["bearer"]
billing = "prepaid"
topup_minimum = "10"
topup_fee_percent = "5"
"""


@pytest.fixture(scope="module")
def wlrouter(start: Callable[..., Server]) -> Server:
    server = start(config=CONFIG)
    assert server.key.startswith("wlrouter_")
    return server


@pytest.fixture
def paid(wlrouter: Server) -> Server:
    """The account has 10 USD (once: the reference is the same every time)."""
    wlrouter.cli("topup", "default", "10", "--ref", "first")
    return wlrouter


def run(server: Server, command: list[str], source: str, *, folder: Path | None = None, key: str = "") -> str:
    """What the example writes. Its text is the last argument."""
    text = source.replace(HOST, server.root)
    assert text != source
    env = {**os.environ, "WLROUTER_API_KEY": key or server.key}
    done = subprocess.run([*command, text], env=env, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def spent(server: Server) -> int:
    """Output tokens charged so far."""
    return int(server.usage()["output"]["used"])


def test_curl(paid: Server) -> None:
    before = spent(paid)
    answer = json.loads(run(paid, ["sh", "-c"], CURL))
    assert (answer["object"], answer["model"]) == ("chat.completion", "gpt-4.1-mini")
    assert len(answer["choices"][0]["message"]["content"]) > 20
    assert answer["request_id"].startswith("req_")
    assert spent(paid) - before == answer["usage"]["completion_tokens"]


def test_javascript(paid: Server, node_modules: Path) -> None:
    node = shutil.which("node")
    assert node is not None
    before = spent(paid)
    said = run(paid, [node, "--input-type=module", "-e"], JAVASCRIPT, folder=node_modules)
    assert len(said) > 20
    assert "undefined" not in said
    assert spent(paid) > before


def test_python(paid: Server) -> None:
    before = spent(paid)
    assert len(run(paid, [sys.executable, "-c"], PYTHON)) > 20
    assert spent(paid) > before


def test_the_streaming_curl(paid: Server) -> None:
    before = spent(paid)
    got = events(run(paid, ["sh", "-c"], STREAMING_CURL))
    assert got[-1] == "[DONE]"
    assert len(got) > 10
    assert len(content(got)) > 20
    assert got[0]["request_id"].startswith("req_")
    assert spent(paid) > before


def test_a_balance_that_is_too_low_is_an_openai_error(wlrouter: Server) -> None:
    wlrouter.cli("user", "create", "poor")
    key = wlrouter.cli("key", "create", "poor")["key"]
    error = json.loads(run(wlrouter, ["sh", "-c"], CURL, key=key))["error"]
    assert (error["code"], error["type"]) == ("insufficient_balance", "insufficient_quota")
    assert error["request_id"].startswith("req_")


def test_the_minimum_and_the_fee_of_a_top_up(wlrouter: Server) -> None:
    wlrouter.cli("user", "create", "payer")
    done = subprocess.run(
        wlrouter.command("topup", "payer", "9.99"), capture_output=True, text=True, env=wlrouter.env, timeout=30
    )
    assert done.returncode != 0
    assert "10" in done.stderr
    wlrouter.cli("topup", "payer", "10")
    assert wlrouter.usage("payer")["balance_usd"] == "10.00"  # the fee is on top
