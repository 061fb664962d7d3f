"""The rows of docs/ledger.md "What is charged", and the arithmetic of leases and cuts."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from streamrouter.policy.encodings import load
from streamrouter.policy.endings import Source
from streamrouter.policy.meter import Meter
from streamrouter.policy.tokens import count_text
from streamrouter.wire.chunk import decode_chunk
from tests.support.upstream import usage

LOCAL, R_IN, R_OUT = 10, 12, 100
BLOCK = 256


def words(text: str) -> int:
    """A tokenizer that can be checked by eye."""
    return len(text.split())


def make(**more: Any) -> Meter:
    given_values = {"r_output": R_OUT, "n": 1, "lease": R_OUT, "exact": True, **more}
    meter = Meter(count=words, local_input=LOCAL, r_input=R_IN, **given_values)
    meter.sent = True
    return meter


def say(meter: Meter, text: str | None = None, *, index: int = 0, finish: str | None = None, **delta: Any) -> None:
    """One event, as the relay hands it on: its usage first."""
    told = delta.pop("usage", None)
    content = {} if text is None else {"content": text}
    choices = [{"index": index, "delta": {**content, **delta}, "finish_reason": finish}]
    chunk = decode_chunk(json.dumps({"choices": choices, "usage": told}).encode())
    if chunk.has_usage:
        meter.add_usage(chunk.usage)
    meter.add(chunk)


def tell(meter: Meter, told: Any) -> None:
    """A usage chunk, alone."""
    meter.add_usage(Raw(json.dumps(told).encode()))


def charged(meter: Meter) -> tuple[int, int, Source]:
    ending = meter.ending()
    assert not ending.released
    return ending.input_tokens, ending.output_tokens, ending.source


# -- what is charged -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([], (LOCAL, 3, "local")),
        ([usage(9, 5)], (9, 5, "upstream")),
        ([usage(0, 0)], (0, 0, "upstream")),
        ([usage(9, 126)], (9, 126, "upstream")),  # 1.1 * 100 + 16
        ([usage(9, 127)], (LOCAL, 3, "suspect")),
        ([usage(276, 5)], (276, 5, "upstream")),  # 2 * 10 + 256
        ([usage(277, 5)], (LOCAL, 3, "suspect")),
        ([usage(-1, 5)], (LOCAL, 3, "suspect")),
        ([usage(9, -5)], (LOCAL, 3, "suspect")),
        ([usage(9, 10**30)], (LOCAL, 3, "suspect")),
        ([usage(10**400, 5)], (LOCAL, 3, "suspect")),
        ([{"prompt_tokens": "9", "completion_tokens": 5}], (LOCAL, 3, "suspect")),
        ([{"prompt_tokens": 9, "completion_tokens": 5.0}], (LOCAL, 3, "suspect")),
        ([{"prompt_tokens": True, "completion_tokens": 5}], (LOCAL, 3, "suspect")),
        ([{"prompt_tokens": 9}], (LOCAL, 3, "suspect")),
        (["many"], (LOCAL, 3, "suspect")),
        ([usage(9, 1), usage(9, 2), usage(9, 4)], (9, 4, "upstream")),  # the last one, never the sum
        ([usage(9, 4), usage(9, -1)], (9, 4, "upstream")),
        ([usage(9, -1), usage(9, 4)], (9, 4, "upstream")),
    ],
)
def test_finished(told: list[Any], expected: tuple[int, int, Source]) -> None:
    meter = make()
    say(meter, "one two three", finish="stop")
    for each in told:
        tell(meter, each)
    meter.end("finished")
    assert charged(meter) == expected


def test_cached_and_reasoning_tokens_are_told_apart() -> None:
    meter = make()
    tell(meter, {**usage(9, 5, cached=4), "completion_tokens_details": {"reasoning_tokens": 2}})
    meter.end("finished")
    ending = meter.ending()
    assert (ending.cached_tokens, ending.reasoning_tokens, ending.whole_input, ending.whole_output) == (
        4,
        2,
        False,
        False,
    )


@pytest.mark.parametrize(
    ("reason", "source"), [("client_left", "abort"), ("upstream_truncated", "partial"), ("", "partial")]
)
def test_ended_half_way(reason: str, source: Source) -> None:
    meter = make()
    say(meter, "one two")
    say(meter, " three")
    meter.end(reason)
    assert charged(meter) == (LOCAL, 3, source)


def test_a_client_that_left_before_the_first_event_pays_the_prompt() -> None:
    meter = make()
    meter.end("client_left")
    assert charged(meter) == (LOCAL, 0, "abort")


def test_a_drained_stream_is_charged_what_the_upstream_says() -> None:
    meter = make()
    say(meter, "one two")
    meter.end("client_left")
    say(meter, " three", finish="stop")
    tell(meter, usage(9, 5))
    assert charged(meter) == (9, 5, "upstream")


@pytest.mark.parametrize("reason", ["upstream_timeout", "upstream_invalid_response", ""])
def test_sent_and_nothing_read_is_ambiguous(reason: str) -> None:
    meter = make()
    meter.end(reason)
    assert charged(meter) == (R_IN, 0, "ambiguous")
    assert meter.ending().whole_input
    meter.charge_ambiguous = False
    assert charged(meter) == (0, 0, "ambiguous")
    assert not meter.ending().whole_input


def test_what_was_never_sent_is_released() -> None:
    meter = make()
    meter.sent = False
    meter.upstream = "main"
    meter.end("upstream_unreachable")
    ending = meter.ending(duration_ms=7)
    assert (ending.released, ending.source, ending.reason) == (True, "none", "upstream_unreachable")
    assert (ending.input_tokens, ending.output_tokens, ending.duration_ms, ending.upstream) == (0, 0, 7, "main")


def test_an_answer_above_the_size_limit_is_charged_whole() -> None:
    meter = make()
    meter.whole_output = True
    meter.end("upstream_invalid_response")
    ending = meter.ending()
    assert (ending.source, ending.whole_input, ending.whole_output) == ("suspect", True, True)


def test_a_whole_answer_is_counted_by_its_text() -> None:
    meter = make()
    meter.add_text(0, "content", "one two")
    meter.add_text(1, "content", "three")
    meter.end("finished")
    assert charged(meter) == (LOCAL, 3, "local")


@pytest.mark.parametrize("told", [None, usage(9, 0), usage(9, 101)])
def test_a_cut_is_charged_what_was_read_whatever_the_upstream_says(told: dict[str, Any] | None) -> None:
    meter = make()
    say(meter, "w " * 101, usage=told)
    assert meter.over_limit()
    meter.end("cut")
    assert charged(meter) == (LOCAL, 101, "local")


@pytest.mark.parametrize(
    ("reason", "source"), [("client_left", "abort"), ("upstream_disconnected", "partial"), ("finished", "suspect")]
)
def test_a_usage_that_text_overtook_is_no_excuse(reason: str, source: Source) -> None:
    """Some upstreams open a stream with the prompt's usage and completion_tokens 1."""
    meter = make()
    tell(meter, usage(9, 1))
    say(meter, "one two three")
    meter.end(reason)
    assert charged(meter) == (LOCAL, 3, source)


def test_a_usage_beside_the_last_text_covers_it() -> None:
    for reason in ("client_left", "finished"):
        meter = make()
        say(meter, "one two", usage=usage(9, 1))
        say(meter, " three", usage=usage(9, 2))  # their own tokenizer says less than ours: theirs counts
        say(meter, None, finish="stop")
        meter.end(reason)
        assert charged(meter) == (9, 2, "upstream")


def test_the_first_reason_stands_and_events_are_counted() -> None:
    meter = make()
    say(meter, "one")
    say(meter, None)
    meter.end("client_left")
    meter.end("upstream_truncated")
    ending = meter.ending(ttft_ms=3)
    assert (ending.reason, ending.events, ending.ttft_ms) == ("client_left", 2, 3)
    assert make().ending().reason == "cancelled"


# -- counting --------------------------------------------------------------------------------------------------------


def test_every_channel_of_every_choice_is_counted() -> None:
    meter = make(n=2)
    say(meter, "one two", index=1, reasoning_content="a b c")
    say(meter, " three", index=0, refusal="no", finish="stop")
    assert meter.finish_reasons.keys() == {0}
    say(
        meter,
        None,
        tool_calls=[{"index": 0, "function": {"name": "f", "arguments": ' {"a": 1}'}}],
        finish="tool_calls",
        index=1,
    )
    assert meter.finished
    assert meter.recount() == 2 + 3 + 1 + 1 + 3
    assert meter.finish_reasons == {0: "stop", 1: "tool_calls"}


def test_no_text_is_free_until_it_is_counted_as_a_whole() -> None:
    meter = make()
    say(meter, " ")
    assert meter.counted == 1
    say(meter, " ")
    assert (meter.counted, meter.recount()) == (2, 0)


def test_choices_and_channels_are_not_glued_together() -> None:
    meter = make(n=2)
    for index in (0, 1):
        say(meter, "on", index=index)
        say(meter, "e", index=index, reasoning="x")
    assert meter.recount() == 4  # "one" twice, "x" twice


@given(text=st.text(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=20), exact=st.booleans())
def test_the_recount_of_any_split_is_the_count_of_the_whole(text: str, cuts: list[int], exact: bool) -> None:
    meter = make(exact=exact)
    ends = [*sorted(cuts), len(text)]
    for start, end in zip([0, *ends], ends, strict=False):
        say(meter, text[start:end])
    assert meter.recount() == words(text)
    assert meter.recount() == meter.counted == words(text)


@pytest.fixture(scope="module")
def o200k() -> tiktoken.Encoding:
    return load("o200k_base")


@pytest.mark.parametrize("size", [1, 2, 3, 8, 40])
def test_the_sum_over_events_is_no_less_than_the_recount(o200k: tiktoken.Encoding, size: int) -> None:
    text = 'Příliš žluťoučký kůň: 12345 tokens, 😀 and {"json": [1, 2]}\n\n    def f(x): return x\n' * 5
    meter = Meter(
        count=lambda t: count_text(o200k, t), local_input=1, r_input=1, r_output=9999, n=1, lease=0, exact=True
    )
    for start in range(0, len(text), size):
        say(meter, text[start : start + size])
    summed = meter.counted
    assert summed >= meter.recount() == count_text(o200k, text)


# -- leases and cuts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counted", "lease", "wanted"),
    [
        (0, 256, 0),
        (127, 256, 0),
        (128, 256, 512),  # half of the block is used
        (256, 256, 512),
        (512, 256, 512),
        (700, 256, 700),  # one event is larger than a block
        (1100, 256, 1000),  # never above the reservation
        (900, 900, 1000),  # the rest is less than a block
        (999, 1000, 0),  # all is leased
        (5000, 1000, 0),
    ],
)
def test_the_lease_to_ask_for(counted: int, lease: int, wanted: int) -> None:
    meter = make(r_output=1000, lease=lease)
    say(meter, "w " * counted)
    assert meter.wanted_lease(BLOCK) == wanted


def test_a_reservation_below_a_block_is_leased_at_once() -> None:
    assert make(r_output=100, lease=100).wanted_lease(BLOCK) == 0


@pytest.mark.parametrize(
    ("r_output", "exact", "slack"), [(100, True, 0), (100, False, 64), (256, False, 64), (1000, False, 250)]
)
def test_the_slack_of_an_estimate(r_output: int, exact: bool, slack: int) -> None:
    meter = make(r_output=r_output, lease=r_output, exact=exact)
    assert meter.slack == slack
    say(meter, "w " * (r_output + slack))
    assert meter.covered()
    assert not meter.over_limit()
    say(meter, "w")
    assert not meter.covered()
    assert meter.over_limit()


def test_only_a_lease_that_cannot_grow_has_slack() -> None:
    meter = make(r_output=1000, lease=256, exact=False)
    say(meter, "w " * 257)
    assert not meter.covered()
    meter.lease = 512
    assert meter.covered()


def test_small_deltas_are_no_reason_to_cut() -> None:
    meter = make(r_output=3)
    for letter in "one two three":
        say(meter, letter)
        assert meter.counted  # looked at after every event
    assert meter.counted > 3
    assert not meter.over_limit()
    assert meter.covered()


def test_within_the_slack_nothing_is_counted_again() -> None:
    """A recount per event would be quadratic: the whole text, some milliseconds, for every event of the last fifth."""
    counted: list[int] = []

    def count(text: str) -> int:
        counted.append(len(text))
        return words(text)

    meter = Meter(count=count, local_input=1, r_input=1, r_output=100, n=1, lease=100, exact=False)
    for _ in range(164):
        say(meter, " w")
        assert meter.covered()
    assert sum(counted) <= 2 * 164  # every letter once
