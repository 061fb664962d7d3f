"""The attempt loop over transports that are scripted, but whole implementations of the protocol."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamrouter.config.schema import Config, ModelConfig, TargetConfig, UpstreamConfig
from streamrouter.errors import Refusal, Upstreamed
from streamrouter.policy.catalog import Catalog, Target
from streamrouter.upstream.dispatch import ClientGone, Patience
from streamrouter.upstream.verdicts import unusable
from tests.upstream.scripted import HANG, UNREACHABLE, Answer, Desk, Step


def ambiguous() -> Upstreamed:
    return unusable("it is a test")


async def test_the_first_target_serves() -> None:
    answer = Answer()
    desk = Desk([answer], [])
    assert await desk.open() == "a"
    assert desk.transports["a"].bodies == [b"a/m-a"]
    assert desk.transports["a"].headers == {"x-request-id": "req_1"}
    assert (desk.accepted, desk.outcomes, desk.meter.sent) == ([answer], [("a", "ok")], True)
    assert not answer.closed


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (UNREACHABLE, "upstream_unreachable"),
        (Upstreamed("upstream_disconnected", "m", ambiguous=True), "upstream_disconnected"),
        (Answer(500, b"<html>"), "upstream_invalid_response"),
        (Answer(302, location="https://elsewhere.example/"), "upstream_invalid_response"),
        (Answer(401), "upstream_auth"),
        (Answer(429, retry_after="7"), "upstream_rate_limited"),
    ],
)
async def test_a_fault_falls_back(step: Answer | Upstreamed, code: str) -> None:
    desk = Desk([step], [Answer()])
    assert await desk.open() == "b"
    assert desk.outcomes == [("a", code), ("b", "ok")]
    assert desk.transports["b"].bodies == [b"b/m-b"]
    if isinstance(step, Answer):
        assert step.closed


async def test_an_answer_that_accept_refuses_falls_back() -> None:
    desk = Desk([Answer()], [Answer()])
    desk.refuse = [ambiguous()]
    assert await desk.open() == "b"
    assert desk.outcomes == [("a", "upstream_invalid_response"), ("b", "ok")]


async def test_the_clients_own_fault_does_not() -> None:
    bad = Answer(400, b'{"error":{"message":"temperature is too high","param":"temperature"}}')
    desk = Desk([bad], [Answer()])
    for _ in range(5):
        desk.transports["a"].script = [bad]
        said = await desk.fails()
        assert (said.code, said.message, said.param) == ("upstream_rejected", "temperature is too high", "temperature")
    assert desk.transports["b"].bodies == []
    assert not desk.meter.sent
    assert desk.upstreams["a"].breaker.state(desk.clock.now) == "closed"


async def test_a_plain_refusal_of_accept_ends_it() -> None:
    desk = Desk([Answer()], [Answer()])
    desk.refuse = [Refusal("upstream_invalid_response", "too large")]
    assert (await desk.fails()).message == "too large"
    assert desk.transports["b"].bodies == []
    assert desk.meter.sent


async def test_the_last_fault_is_told() -> None:
    desk = Desk([UNREACHABLE], [Answer(429, retry_after="7")])
    said = await desk.fails()
    assert (said.code, said.retry_after_s) == ("upstream_rate_limited", 7)
    assert (desk.meter.sent, desk.meter.upstream) == (False, "b")


async def test_no_upstream_is_configured() -> None:
    desk = Desk()
    assert (await desk.fails()).code == "upstream_not_configured"
    assert not desk.meter.sent
    desk.model = Catalog(Config(models={"m": ModelConfig(targets=[TargetConfig(upstream="gone")])})).models["m"]
    assert desk.model.targets == (Target("gone", "m"),)
    assert (await desk.fails()).code == "upstream_not_configured"


async def test_only_64_kib_of_a_refusal_are_read() -> None:
    answer = Answer(500, b"x" * 100_000)
    await Desk([answer]).fails()
    assert (answer.most, answer.closed) == (65536, True)


# -- the breaker ----------------------------------------------------------------------------------------------------


async def test_a_cooling_upstream_is_tried_last() -> None:
    desk = Desk([Answer(429, retry_after="30")], [Answer(), Answer(), UNREACHABLE])
    assert await desk.open() == "b"
    desk.transports["a"].script = [Answer(), Answer()]
    assert await desk.open() == "b"
    desk.transports["b"].script = [UNREACHABLE]
    assert await desk.open() == "a"  # last, but not never
    desk.transports["b"].script = [Answer()]
    assert await desk.open() == "a"  # and its success closed the breaker


async def test_three_faults_in_a_row_cool_and_time_heals() -> None:
    desk = Desk([UNREACHABLE] * 3, [Answer()] * 4, cooldown_s=10)
    for _ in range(3):
        await desk.open()
    desk.transports["a"].script = [Answer()]
    assert await desk.open() == "b"
    desk.clock.now += 10
    assert await desk.open() == "a"


# -- deadlines and clients that leave -------------------------------------------------------------------------------


@pytest.mark.parametrize(("stream", "config"), [(True, {"first_byte_s": 0.01}), (False, {"total_s": 0.01})])
async def test_no_answer_in_time_is_ambiguous(stream: bool, config: dict[str, Any]) -> None:
    desk = Desk([HANG], **config)
    said = await desk.fails(stream=stream)
    assert isinstance(said, Upstreamed)
    assert (said.code, said.ambiguous, said.message) == (
        "upstream_timeout",
        True,
        "The upstream gave no answer in 0.01 s.",
    )
    assert (desk.meter.sent, desk.outcomes) == (True, [("a", "upstream_timeout")])
    assert desk.meter.ending().source == "ambiguous"


async def test_each_attempt_has_its_own_time() -> None:
    desk = Desk([HANG], [Answer()], first_byte_s=0.05)
    assert await desk.open() == "b"


async def test_a_deadline_while_a_refusal_is_read_hangs_up() -> None:
    answer = Answer(500, hangs=True)
    desk = Desk([answer], first_byte_s=0.01)
    assert (await desk.fails()).code == "upstream_timeout"
    assert answer.closed


async def test_a_client_that_leaves_ends_the_attempt_and_all_others() -> None:
    desk = Desk([HANG], [Answer()])
    opening = asyncio.create_task(desk.open())
    await desk.transports["a"].asked.wait()
    desk.patience.hang_up()
    desk.patience.hang_up()
    with pytest.raises(ClientGone):
        await opening
    desk.patience.hang_up()
    assert desk.transports["b"].bodies == []
    assert (desk.outcomes, desk.meter.sent) == ([], True)
    assert desk.upstreams["a"].breaker.state(desk.clock.now) == "closed"


async def test_a_client_that_left_before_costs_nothing() -> None:
    desk = Desk([Answer()])
    desk.patience.hang_up()
    with pytest.raises(ClientGone):
        await desk.open()
    assert desk.transports["a"].bodies == []
    assert not desk.meter.sent


async def test_leaving_while_the_attempt_winds_up_is_no_fault() -> None:
    """The second call comes when the first has already expired the scope."""
    patience, winding_up, told = Patience(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            winding_up.set()
            await told.wait()

    attempt = asyncio.create_task(patience.attempt(0.01, work()))
    await winding_up.wait()
    patience.hang_up()
    told.set()
    with pytest.raises(ClientGone):
        await attempt


async def test_a_cancellation_is_a_cancellation() -> None:
    desk = Desk([HANG], [Answer()])
    opening = asyncio.create_task(desk.open())
    await desk.transports["a"].asked.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert desk.transports["b"].bodies == []
    assert desk.meter.sent


# -- what may have been billed --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "sent"),
    [
        (UNREACHABLE, Answer(500), False),
        (ambiguous(), UNREACHABLE, True),  # once ambiguous, always
        (ambiguous(), Answer(400), True),
        (UNREACHABLE, ambiguous(), True),
    ],
)
async def test_sent_is_taken_back_only_if_nothing_can_be_billed(
    first: Upstreamed, second: Answer | Upstreamed, sent: bool
) -> None:
    desk = Desk([first], [second])
    await desk.fails()
    assert desk.meter.sent is sent
    assert desk.meter.ending().released is not sent


@pytest.mark.parametrize(
    ("waives", "steps", "charged"),
    [
        ("", [ambiguous(), UNREACHABLE], 2),
        ("b", [ambiguous(), UNREACHABLE], 2),  # what b would waive is not b's
        ("a", [ambiguous(), UNREACHABLE], 0),
        ("a", [ambiguous(), ambiguous()], 2),
        ("b", [ambiguous(), ambiguous()], 2),
        ("ab", [ambiguous(), ambiguous()], 0),
        ("a", [UNREACHABLE, ambiguous()], 2),
        ("b", [UNREACHABLE, ambiguous()], 0),
    ],
)
async def test_who_waives_an_ambiguous_input(waives: str, steps: list[Step], charged: int) -> None:
    desk = Desk(*[[step] for step in steps])
    for name in waives:
        desk.upstreams[name].config = UpstreamConfig(base_url="demo:", charge_ambiguous_input=False)
    await desk.fails()
    assert desk.meter.ending().input_tokens == charged


async def test_close_closes_every_transport() -> None:
    desk = Desk([], [])
    for upstream in desk.upstreams.values():
        await upstream.close()
    assert [t.closed for t in desk.transports.values()] == [True, True]
