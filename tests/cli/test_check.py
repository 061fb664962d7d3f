"""``streamrouter check``: the plan without secrets, or the faults with their lines."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from streamrouter.cli.check import plan_of
from streamrouter.config.load import load
from tests.cli.conftest import Command
from tests.support.upstream import ScriptedUpstream, streamed

SECRETS = """\
[server]
host = "::1"
port = 9
[upstreams.ours]
base_url = "https://llm.example/v1"
api_key = "sk-upstream-secret"
headers = { "x-team" = "header-secret" }
[models.m]
upstream_model = "big-m"
price = { input = "0.15", output = "0.60" }
"""


def test_the_plan_says_what_would_be_done(command: Command) -> None:
    plan = command.json("check")
    assert (plan["ok"], plan["source"], plan["listen"]) == (True, command.config, "http://127.0.0.1:8000")
    assert plan["ledger"] == {"path": command.ledger, "exists": False}
    assert [surface["routes"][0] for surface in plan["surfaces"]] == [
        "POST /v1/chat/completions",
        "POST /wl/v1/chat/completions",
    ]
    assert plan["models"][1]["targets"] == ["demo/demo/large"]
    shown = command.text("check")
    assert "(will be created)" in shown
    assert "The configuration is good." in shown
    assert not Path(command.ledger).exists()


def test_the_plan_holds_no_secret(command: Command) -> None:
    Path(command.config).write_text(SECRETS)
    shown = command.text("check") + command.text("check", "--json")
    assert not [secret for secret in ("upstream-secret", "header-secret") if secret in shown]
    plan = plan_of(load(command.config, {}, {}))
    assert plan["listen"] == "http://[::1]:9"
    assert plan["models"][0]["targets"] == ["ours/big-m"]
    assert (plan["models"][0]["usd_per_million_input"], plan["models"][0]["usd_per_million_output"]) == ("0.15", "0.60")


def test_faults_have_their_lines_and_exit_code_1(command: Command) -> None:
    Path(command.config).write_text("[server]\nprot = 1\n[ledger]\ndurability = 'none'\n")
    code, error = command.error("check")
    assert (code, error["code"], len(error["faults"])) == (1, "config_invalid", 2)
    assert error["faults"][0].startswith(f"{command.config}:2: server.prot: unknown key; did you mean port?")
    assert "Traceback" not in command.run("check").output


def test_a_file_that_is_not_there(command: Command) -> None:
    Path(command.config).unlink()
    assert "cannot be read" in json.loads(command.run("check", "--json").stderr)["error"]["message"]


async def test_probe_asks_every_upstream(command: Command) -> None:
    async with ScriptedUpstream(streamed(["hello"])) as good:
        Path(command.config).write_text(
            f'[upstreams.good]\nbase_url = "{good.url}"\napi_key = "sk-0123456789"\n'
            '[upstreams.gone]\nbase_url = "http://127.0.0.1:9/v1"\n'
            '[models.m]\ntargets = [{ upstream = "good" }, { upstream = "gone" }]\n'
        )
        result = await asyncio.to_thread(command.run, "check", "--probe", "--json")
        plan = json.loads(result.stdout)
        assert (result.exit_code, plan["ok"]) == (1, False)
        assert [(probe["upstream"], probe["kind"]) for probe in plan["probes"]] == [
            ("good", "ok"),
            ("gone", "unreachable"),
        ]
        assert isinstance(plan["probes"][0]["ttft_ms"], int)
        shown = await asyncio.to_thread(command.run, "check", "--probe")
    assert shown.exit_code == 1
    assert "unreachable" in shown.stdout and "firewall" in shown.stderr
    assert "sk-0123456789" not in shown.output
    assert "The configuration is good" not in shown.stdout


def test_probe_of_the_demo_is_well(command: Command) -> None:
    assert "built in" in command.text("check", "--probe")
