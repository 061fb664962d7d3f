"""How a stream ends that does not go well: the upstream's faults, deadlines, the client's leaving, a stop."""

from __future__ import annotations

from typing import Any

import pytest

from tests.relay.dialogue import Dialogue
from tests.relay.test_stream import cases

UNUSABLE = "!! upstream_invalid_response"
DRAIN = {"on_disconnect": "drain"}

# Before the first event the attempt has failed: nothing has left, nothing is settled, another target may be tried.
ATTEMPTS = {
    "error": "!! upstream_disconnected",
    "error-429": "!! upstream_rate_limited",
    "bad": UNUSABLE,
    "bad-utf8": UNUSABLE,
    "huge": UNUSABLE,
    "done": UNUSABLE,
}

BODIES = {"html": UNUSABLE, "gzip": UNUSABLE, "json-rubbish": UNUSABLE, "json-error": "!! upstream_rate_limited"}


@pytest.mark.parametrize(("arrives", "fault"), ATTEMPTS.items(), ids=ATTEMPTS)
async def test_a_fault_before_the_first_event_fails_the_attempt(arrives: str, fault: str) -> None:
    dialogue = Dialogue(max_event_bytes=4000)
    dialogue.relay.attach(dialogue.sink)
    await dialogue.play(f"-- answered\n>> comment | {arrives}\n-- wait 0\n{fault}\n== close\n<<")


@pytest.mark.parametrize(("kind", "fault"), BODIES.items(), ids=BODIES)
async def test_a_body_that_is_no_stream_fails_the_attempt(kind: str, fault: str) -> None:
    await Dialogue().play(f"-- answered {kind}\n{fault}\n== close\n<<")


@pytest.mark.parametrize(("ends", "fault"), [("eof", UNUSABLE), ("rst", "!! upstream_disconnected")])
async def test_a_body_that_ends_before_the_first_event_fails_the_attempt(ends: str, fault: str) -> None:
    await Dialogue().play(f"-- answered\n>> half\n-- {ends}\n{fault}\n==\n<<")


@pytest.mark.parametrize("arrives", [each for each in ATTEMPTS if each != "huge"])
async def test_what_follows_a_fault_in_the_same_read_is_not_delivered(arrives: str) -> None:
    """Else the next attempt's events would follow those of this one."""
    fault = ATTEMPTS[arrives]
    await Dialogue(max_event_bytes=4000).play(
        f'-- answered\n>> {arrives} | "a" | stop\n>> "b"\n-- wait 0\n{fault}\n== close\n<<\n$$ cancelled ambiguous 10/0'
    )


async def test_a_whole_answer_that_is_too_large_fails_the_attempt() -> None:
    await Dialogue(max_answer_bytes=100).play(f"-- answered json\n{UNUSABLE}\n== close\n<<")


SECOND: dict[str, tuple[dict[str, Any], str]] = {
    "after an end": (
        {"lease": 2, "r_output": 100},
        """
        -- answered
        >> usage 7/9 | half
        -- eof
        !! upstream_invalid_response
        -- answered
        >> "abc"
        <<
        == start pause extend! 6
        -- lease 6
        << "abc"#
        >> stop | done
        << stop done end
        """,
    ),
    "after an error": (
        {},
        """
        -- answered
        >> error | half
        -- wait 0
        !! upstream_disconnected
        -- answered
        >> "a" | stop
        -- eof
        << "a"# stop / done end
        """,
    ),
    "usage of the failed attempt is not told": (
        {"usage": True},
        """
        -- answered
        >> usage 7/9
        -- rst
        !! upstream_disconnected
        -- answered
        >> "a" | stop | done
        << "a"# stop usage 7/1 done end
        """,
    ),
}

FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    name: (
        {"max_event_bytes": 4000, "usage": True},
        f'-- answered\n>> "a"\n{arrives}\n<< "a"# / error:{code} end\n'
        f"== start settle end{close}\n$$ {code} partial 7/1",
    )
    for name, arrives, code, close in [
        ("an error event", ">> error", "upstream_disconnected", " close"),
        ("an error event for the rate", ">> error-429", "upstream_rate_limited", " close"),
        ("bad JSON", ">> bad", "upstream_invalid_response", " close"),
        ("bad UTF-8", ">> bad-utf8", "upstream_invalid_response", " close"),
        ("an event that is too large", ">> huge", "upstream_invalid_response", " close"),
        ("a reset", "-- rst", "upstream_disconnected", ""),
        ("a reset in an event", ">> half\n-- rst", "upstream_disconnected", ""),
        ("an end half-way", "-- eof", "upstream_truncated", ""),
        ("an end half-way in an event", ">> half\n-- eof", "upstream_truncated", ""),
        ("a stop", "-- stop\n-- stop", "server_shutdown", " close"),
    ]
}
MORE_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "what came before a fault in the same read is delivered": (
        {},
        '-- answered\n>> "a" | "b" | error | "c"\n<< "a"# "b" error:upstream_disconnected end',
    ),
    "a reset after every finish_reason is still a fault": (
        {},
        '-- answered\n>> "a" | stop\n-- rst\n<< "a"# stop / error:upstream_disconnected end',
    ),
    "one of two choices did not finish": (
        {"n": 2},
        '-- answered\n>> "a" | 1:"b" | stop\n-- eof\n<< "a"# 1:"b" stop / error:upstream_truncated end',
    ),
}

SILENCE: dict[str, tuple[dict[str, Any], str]] = {
    "keep-alives between events": (
        {},
        """
        -- answered
        >> "a"
        -- wait 14
        << "a"#
        -- wait 1
        << ping
        -- wait 14
        >> comment
        <<
        -- wait 1
        << ping
        >> "b"
        -- wait 14
        << "b"
        """,
    ),
    "the status is committed by 15 s of silence after the upstream's": (
        {},
        """
        -- wait 10
        -- answered
        -- wait 14
        ==
        -- wait 1
        == start
        << ping#
        -- wait 15
        << ping#
        >> "a" | done
        << "a"# done end
        == settle end
        """,
    ),
    "the status is committed after 50 s in any case": (
        {},
        """
        -- wait 49
        ==
        -- wait 1
        == start
        << ping#
        -- wait 15
        << ping#
        """,
    ),
    "comments are life, but no event": (
        {"idle_s": 20},
        """
        -- answered
        >> "a"
        -- wait 15
        >> comment
        -- wait 15
        << "a"# / ping / ping
        -- wait 5
        << error:upstream_timeout end
        """,
    ),
    "an upstream that stalls": (
        {"idle_s": 10},
        '-- answered\n>> "a"\n-- wait 9\n<< "a"#\n-- wait 1\n<< error:upstream_timeout end\n== start settle end close',
    ),
    "a stream that goes on and on": (
        {"stream_total_s": 10},
        '-- answered\n>> "a"\n-- wait 9\n>> "b"\n-- wait 1\n<< "a"# / "b" / error:upstream_timeout end',
    ),
}

CLIENT: dict[str, tuple[dict[str, Any], str]] = {
    "gone before the upstream answered": ({}, "-- client gone\n== hang-up\n<<\n$$ client_left abort 7/0"),
    "gone before the first event": ({}, "-- answered\n-- client gone\n== hang-up close\n<<\n$$ client_left abort 7/0"),
    "gone after the status was committed by silence": (
        {},
        "-- answered\n-- wait 15\n<< ping#\n-- client gone\n== start hang-up close\n<<",
    ),
    "gone in the middle": (
        {},
        '-- answered\n>> "a" | "b"\n-- client gone\n-- client gone\n== start settle close\n$$ client_left abort 7/2',
    ),
    "gone in the middle, policy drain": (
        DRAIN,
        """
        -- answered
        >> "a"
        -- client gone
        == start resume
        >> "b"
        << "a"#
        >> stop | usage 7/5 | done
        == settle close
        $$ client_left upstream 7/5
        """,
    ),
    "gone in the middle, policy drain, for too long": (
        {**DRAIN, "drain_s": 5},
        '-- answered\n>> "a"\n-- client gone\n== start resume\n-- wait 4\n==\n>> "b"\n-- wait 1\n'
        "== settle close\n$$ client_left abort 7/2",
    ),
    "gone in the middle, policy drain, one too many": (
        {**DRAIN, "drain_most": 0},
        '-- answered\n>> "a"\n-- client gone\n== start settle close\n$$ client_left abort 7/1',
    ),
    "gone while it was blocked, policy drain": (
        DRAIN,
        '-- answered\n>> "a"\n-- client blocked\n-- client gone\n== start pause resume\n>> done\n== settle close',
    ),
    "gone after the end": (
        {},
        '-- answered\n>> "a" | done\n-- client gone\n== start settle end\n$$ finished local 7/1',
    ),
    "gone between the finish_reason and [DONE]": (
        {},
        '-- answered\n>> "a" | stop | usage 7/5\n-- client gone\n== start settle close\n$$ client_left upstream 7/5',
    ),
    "blocked: the upstream waits, and its silence is ours": (
        {"idle_s": 20},
        """
        -- answered
        >> "a"
        -- client blocked
        == start pause
        -- wait 60
        << "a"#
        -- client writable
        == resume
        -- wait 19
        << ping
        -- wait 1
        << error:upstream_timeout end
        """,
    ),
    "blocked before there is an upstream": (
        {},
        '-- client blocked\n-- client writable\n==\n-- answered\n>> "a"\n<< "a"#',
    ),
}

STOPS: dict[str, tuple[dict[str, Any], str]] = {
    "before the upstream answered": ({}, "-- stop\n== hang-up\n<<"),
    "before the first event": ({}, "-- answered\n-- stop\n== hang-up close\n<<\n-- stop\n== hang-up"),
    "after the end": ({}, '-- answered\n>> "a" | done\n-- stop\n<< "a"# done end'),
}


@cases(SECOND, FAULTS, MORE_FAULTS, SILENCE, CLIENT, STOPS)
async def test_a_dialogue(options: dict[str, Any], script: str) -> None:
    dialogue = Dialogue(**options)
    await dialogue.play(script)
    assert dialogue.settles == int(dialogue.relay.closed)


async def test_a_stop_before_the_first_event_is_told_to_whoever_waits() -> None:
    dialogue = Dialogue()
    await dialogue.play("-- answered\n-- stop")
    assert dialogue.relay.stopped is not None
    assert dialogue.relay.stopped.code == "server_shutdown"
    assert not dialogue.relay.committed


async def test_release_hangs_up_on_an_upstream_that_is_not_done_and_stops_the_clock() -> None:
    dialogue = Dialogue()
    await dialogue.play("-- answered\n-- release\n== close\n-- release\n==")
    assert dialogue.relay.done.done()
    assert not dialogue.relay.tick(dialogue.now)


@pytest.mark.parametrize(
    ("script", "more"),
    [
        ('-- answered\n>> "a"', True),
        ('-- answered\n>> "a" | done', True),  # the upstream may still close its body
        ('-- answered\n>> "a" | done\n-- eof', False),
        ('-- answered\n>> "a"\n-- rst', False),
        ('-- answered\n>> "a" | done\n-- release\n-- wait 1', False),
    ],
)
async def test_the_clock_looks_as_long_as_there_is_something_to_look_at(script: str, more: bool) -> None:
    dialogue = Dialogue()
    await dialogue.play(script)
    assert dialogue.relay.tick(dialogue.now) is more


async def test_the_first_event_has_its_time() -> None:
    dialogue = Dialogue()
    await dialogue.play('-- answered\n-- wait 2\n>> "a"\n-- wait 3\n>> "b"')
    assert dialogue.relay.first_event_at == 102.0
