"""A configuration that changes under live streams: none breaks, new requests see the new one, a bad one is refused."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.support.rig import Reply, Rig, call, rig, until
from tests.support.upstream import DONE, Seen, delta, event, usage

STREAMS = 20
WORDS = 6
NEW_MODEL = '[models.new]\nupstream_model = "up-model"\nexact = true\n'


class Stepped:
    """Says one word whenever ``step`` is called, to everybody; the last one with usage. Who asks alone gets it all."""

    def __init__(self) -> None:
        self.live: list[Seen] = []
        self.together = True

    async def __call__(self, seen: Seen) -> None:
        await seen.head_sse()
        if self.together:
            self.live.append(seen)
            await seen.gone(20)
        else:
            await seen.chunk(delta(" word", finish="stop") + self.end(1))
            await seen.end()

    @staticmethod
    def end(words: int) -> bytes:
        return event({"choices": [], "usage": usage(10, words)}) + DONE

    async def step(self, last: bool = False) -> None:
        for seen in self.live:
            await seen.chunk(delta(" word", finish="stop" if last else None) + (self.end(WORDS) if last else b""))
            if last:
                await seen.end()


def written(rigged: Rig, *changes: tuple[str, str], more: str = "") -> None:
    """Put the file with ``changes`` in the place of the one that is there."""
    path = rigged.server.config
    assert path is not None
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text + more)


async def hang_up(rigged: Rig, event_name: str) -> dict[str, Any]:
    """SIGHUP, and the line of the log that says what came of it."""

    def lines() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in rigged.log().splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] in ("reloaded", "reload_refused")]

    before = len(lines())
    os.kill(rigged.server.pid, signal.SIGHUP)
    await until(lambda: len(lines()) > before, "a reload")
    line = lines()[before]
    assert line["event"] == event_name
    return line


async def alone(rigged: Rig, model: str = "test") -> tuple[Reply, int]:
    """One short stream beside the others, and what it cost in nano-USD."""
    reply = await rigged.post(call(model=model, max_tokens=5))
    await until(lambda: rigged.hold(reply.headers["x-request-id"])["state"] != "open", "a settlement")
    return reply, rigged.hold(reply.headers["x-request-id"])["cost"]


async def more_of_everything(rigged: Rig) -> None:
    """A price, a model, a cap, and an upstream that is not as it was."""
    written(
        rigged,
        ('input = "0.40", output = "1.60"', 'input = "0.80", output = "3.20"'),
        ("idle_s = 20", "idle_s = 21"),
        more=NEW_MODEL + "[defaults]\ndaily_output = 123\n",
    )
    pending = rigged.server.cli("check")["running"]
    assert (pending["restart"], pending["faults"]) == ([], [])
    line = await hang_up(rigged, "reloaded")
    assert line["changed"] == ", ".join(pending["changed"])
    assert set(pending["changed"]) == {
        "defaults.daily_output",
        "upstreams.main.idle_s",
        "models.test.price.input",
        "models.test.price.output",
        "models.new",
    }
    assert (await alone(rigged))[1] == 10 * 800 + 3200
    assert (await alone(rigged, "new"))[0].status == 200
    rigged.user()
    assert rigged.usage(rigged.last_user)["output"]["cap"] == 123


async def bad(rigged: Rig, old: str, new: str, fault: str) -> None:
    """A file that cannot be used changes nothing, and is explained."""
    path = rigged.server.config
    assert path is not None
    good = path.read_text()
    written(rigged, (old, new))
    line = await hang_up(rigged, "reload_refused")
    assert fault in line["fault"]
    assert rigged.admin("config.pending")["faults"] == [line["fault"]]
    assert (await alone(rigged))[1] == 10 * 800 + 3200
    path.write_text(good)


async def without_its_upstream(rigged: Rig) -> None:
    """The upstream that all streams use is gone, and a model."""
    written(rigged, ("[upstreams.main]", "[upstreams.second]"), (NEW_MODEL, ""))
    await hang_up(rigged, "reloaded")
    reply, cost = await alone(rigged)
    assert (reply.headers["x-streamrouter-upstream"], cost) == ("second", 10 * 800 + 3200)
    assert (await rigged.post(call(model="new"))).error["code"] == "model_not_found"


async def partly(rigged: Rig) -> None:
    """What cannot change is said, the rest of that file counts."""
    written(rigged, ("watch_config = false", "watch_config = false\nidle_timeout_s = 9"), ('"0.80"', '"0.90"'))
    await hang_up(rigged, "reloaded")
    await until(lambda: '"keys":"server.idle_timeout_s"' in rigged.log(), "what needs a restart")
    assert (await alone(rigged))[1] == 10 * 900 + 3200


async def test_twenty_streams_across_five_reloads(tmp_path: Path) -> None:
    async with rig(tmp_path, server="watch_config = false", upstream="idle_s = 20") as rigged:
        script = rigged.upstream.script = Stepped()
        tasks = [asyncio.create_task(rigged.post(call(max_tokens=50))) for _ in range(STREAMS)]
        await until(lambda: len(script.live) == STREAMS, "all streams at the upstream")
        script.together = False
        assert (await alone(rigged))[1] == 10 * 400 + 1600
        for reloaded in (
            more_of_everything(rigged),
            bad(rigged, "[models.test]", "[models.test", "streamrouter.toml:13: not TOML"),
            without_its_upstream(rigged),
            bad(rigged, "watch_config", "watch_confg", "server.watch_confg: unknown key; did you mean watch_config?"),
            partly(rigged),
        ):
            await reloaded
            await script.step()
        await script.step(last=True)
        for reply in await asyncio.gather(*tasks):
            assert (reply.status, reply.events[-1], reply.content) == (200, "[DONE]", " word" * WORDS)
            assert reply.headers["x-streamrouter-upstream"] == "main"
            assert rigged.hold(reply.headers["x-request-id"])["cost"] == 10 * 400 + WORDS * 1600
        assert {hold["end_reason"] for hold in await rigged.settled()} == {"finished"}
        assert rigged.admin("ledger.check")["ok"]
        await until(lambda: rigged.upstream.open_connections <= 2, "the old upstreams' connections closed")
