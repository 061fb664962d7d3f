"""Calling an upstream once: every way in which one does not answer as it should has its name and its remedy."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from streamrouter.cli.probing import probe, probe_all, skew_of
from streamrouter.config.load import load
from streamrouter.config.schema import UpstreamConfig
from tests.support.upstream import Script, ScriptedUpstream, Seen, streamed

KEY = "sk-live-0123456789abcdef"


def says(status: str, message: str = "no") -> Script:
    async def play(seen: Seen) -> None:
        await seen.json({"error": {"message": message}}, status)

    return play


async def page(seen: Seen) -> None:
    await seen.raw_body(b"<html>welcome</html>", "200 OK", "text/html")


async def late(seen: Seen) -> None:
    await seen.gone()


CASES: dict[str, tuple[Script, str, str]] = {
    "a stream": (streamed(["hello"]), "ok", ""),
    "wrong key": (says("401 Unauthorized", f"Incorrect API key: {KEY}"), "wrong_key", "api_key"),
    "forbidden": (says("403 Forbidden"), "wrong_key", "api_key"),
    "unpaid": (says("402 Payment Required"), "no_money", "top up"),
    "wrong path": (says("404 Not Found"), "not_found", "/v1"),
    "limited": (says("429 Too Many Requests"), "busy", "later"),
    "not taken": (says("400 Bad Request"), "refused", "words"),
    "broken": (says("503 Service Unavailable"), "failing", "status page"),
    "a web page": (page, "not_streaming", "base_url"),
    "silence": (late, "timeout", "does not answer"),
}


@pytest.mark.parametrize(("script", "kind", "remedy"), CASES.values(), ids=CASES)
async def test_what_an_upstream_comes_to(script: Script, kind: str, remedy: str) -> None:
    async with ScriptedUpstream(script) as upstream:
        found = await probe("up", UpstreamConfig(base_url=upstream.url, api_key=KEY), "m", 0.3)
    assert (found.kind, found.ok) == (kind, kind == "ok")
    assert remedy in found.remedy
    assert KEY not in repr(found)
    assert (found.ttft_ms is not None) is found.ok
    assert upstream.seen[0].headers["authorization"] == f"Bearer {KEY}"


async def test_nobody_listens_there() -> None:
    async with ScriptedUpstream() as upstream:
        url = upstream.url
    found = await probe("up", UpstreamConfig(base_url=url), "m")
    assert (found.kind, "the firewall" in found.remedy) == ("unreachable", True)
    assert (await probe("up", UpstreamConfig(base_url="http://no-such-host.invalid/v1"), "m")).kind == "unreachable"


async def test_every_upstream_of_a_configuration_and_its_own_name_of_a_model() -> None:
    async with ScriptedUpstream(streamed(["hello"])) as upstream:
        config = load(None, {"STREAMROUTER_UPSTREAM_URL": upstream.url}, {}).config
        (found,) = await probe_all(config)
    assert (found.upstream, found.model, found.kind) == ("main", "demo", "ok")
    (built_in,) = await probe_all(load(None, {}, {}).config)
    assert (built_in.kind, built_in.detail) == ("ok", "built in")


async def test_an_upstream_without_a_model_is_asked_for_its_list() -> None:
    async with ScriptedUpstream(page) as upstream:
        found = await probe("up", UpstreamConfig(base_url=upstream.url), None)
    assert (found.ok, found.ttft_ms) == (True, None)
    assert upstream.seen[0].head.startswith("GET /v1/models ")


def test_a_clock_is_compared_by_whole_seconds() -> None:
    now = time.time()
    skew = skew_of({"Date": formatdate(now + 3600, usegmt=True)}, now)
    assert skew is not None and 3599 < skew < 3601
    assert (skew_of({}, now), skew_of({"Date": "yesterday"}, now)) == (None, None)
