"""The metrics of a real server on a port of their own: everything that happened is there, and no key is."""

from __future__ import annotations

import socket
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.rig import PROVIDER_KEY, Rig, call, rig, until
from tests.support.upstream import streamed


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def scraped(rigged: Rig, port: int) -> tuple[str, dict[str, float]]:
    """The page, and its values summed by name over all labels."""
    async with rigged.client.get(f"http://127.0.0.1:{port}/metrics") as response:
        assert response.status == 200
        text = await response.text()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return text, found


async def test_what_happened_is_on_the_page(tmp_path: Path) -> None:
    port = free_port()
    async with rig(tmp_path, server=f"metrics_port = {port}") as rigged:
        rigged.upstream.script = streamed([" a", " b", " c"], pace_s=0.01)
        assert (await rigged.post(call(), headers={"x-client-request-id": "canary"})).status == 200
        assert (await rigged.post(call(model="none"))).status == 404
        await rigged.settled()
        seen: list[float] = []
        while len(seen) < 2:  # the loop's lag is measured four times a second
            text, page = await scraped(rigged, port)
            seen += [page["streamrouter_loop_lag_seconds_count"]] if page["streamrouter_loop_lag_seconds_count"] else []
            await rigged.post(call())
        assert page["streamrouter_ready"] == page["streamrouter_build_info"] == page["streamrouter_upstream_state"] == 1
        assert page["streamrouter_refusals_total"] == 1
        assert page["streamrouter_requests_total"] >= 1
        assert page["streamrouter_ttft_seconds_count"] == page["streamrouter_requests_total"]
        assert page["streamrouter_ledger_commit_seconds_count"] > 0
        assert page["streamrouter_cost_usd_total"] > 0
        assert (page["streamrouter_active_streams"], page["streamrouter_ledger_invariants"]) == (0, 0)
        assert page["process_resident_memory_bytes"] > 10_000_000
        for secret in (PROVIDER_KEY, rigged.server.key, "canary", "default"):
            assert secret not in text
            assert secret not in rigged.log() or secret in ("canary", "default")  # those two may be logged
        assert "Say hello" not in rigged.log()
        assert rigged.server.get("/metrics")[0] == 404
        assert rigged.server.get("/healthz")[0] == 200


async def test_a_log_level_of_the_command_line_goes_over_the_file(tmp_path: Path) -> None:
    async with rig(tmp_path, more='[log]\nlevel = "error"\n') as rigged:
        rigged.upstream.script = streamed([" a"])
        await rigged.post(call())
        await rigged.settled()
        assert rigged.server.requests() == []
        rigged.server.terminate()
        rigged.server.command = _with_level(rigged)  # type: ignore[method-assign]
        rigged.server.start()
        await rigged.post(call())
        await until(lambda: len(rigged.server.requests()) == 1, "the line of a request")


def _with_level(rigged: Rig):  # type: ignore[no-untyped-def]
    plain = rigged.server.command
    return lambda *words: [*plain(*words), *(["--log-level", "info"] if words[0] == "serve" else [])]
