"""What a client gets of a stream that goes well, and of one that is only odd. The language: ``dialogue.py``."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.relay.dialogue import Dialogue, arriving

ASKED = {"usage": True}

PLAIN: dict[str, tuple[dict[str, Any], str]] = {
    "a stream": (
        {},
        """
        -- answered
        ==
        >> role
        << role#
        == start
        >> "a"
        << "a"
        >> stop | usage 7/1 | done
        << stop done end
        == settle end
        $$ finished upstream 7/1
        -- eof
        -- accepted
        -- release
        ==
        """,
    ),
    "what comes in one read leaves in one write": (
        {},
        """
        -- answered
        >> role | "a" | "b" | "c"
        << role# "a" "b" "c"
        >> "d" | stop
        << "d" stop
        """,
    ),
    "all in one read is one write": (
        {},
        """
        -- answered
        >> role | "a" | stop | done
        << role# "a" stop done end
        == start settle end
        $$ finished local 7/1
        """,
    ),
    "what is no event is not forwarded": (
        {},
        """
        -- answered
        >> comment | no-choices | comment
        ==
        <<
        >> "a"
        << "a"#
        >> comment | no-choices | comment
        <<
        """,
    ),
    "choices that take turns": (
        {"n": 2},
        """
        -- answered
        >> "a" | 1:"b" | "c" | stop
        << "a"# 1:"b" "c" stop
        -- wait 6
        <<
        >> 1:stop
        << 1:stop
        -- wait 6
        << done end
        $$ finished local 7/3
        """,
    ),
    "an error that is null": (
        {},
        """
        -- answered
        >> null-error
        << "a"#
        """,
    ),
    "a body without a type is taken for a stream": (
        {},
        """
        -- answered untyped
        >> "a"
        << "a"#
        """,
    ),
    "nothing leaves after [DONE]": (
        {},
        """
        -- answered
        >> "a" | done | "b" | error
        << "a"# done end
        >> "c" | usage 7/9
        -- rst
        -- stop
        -- client gone
        -- wait 9999
        <<
        $$ finished local 7/1
        == start settle end
        """,
    ),
}

USAGE: dict[str, tuple[dict[str, Any], str]] = {
    "withheld": ({}, '-- answered\n>> "a" | stop | usage 7/5 | done\n<< "a"# stop done end\n$$ finished upstream 7/5'),
    "asked for": (
        ASKED,
        '-- answered\n>> "a" | stop | usage 7/5 | done\n<< "a"# stop usage 7/5 done end\n$$ finished upstream 7/5',
    ),
    "in an event with choices": (
        ASKED,
        '-- answered\n>> "a" | "b" usage 7/5 | stop | done\n<< "a"# "b" stop usage 7/5 done end',
    ),
    "in an event with choices, not asked for": ({}, '-- answered\n>> "a" usage 7/5 | done\n<< "a"# done end'),
    "in every event, growing": (
        ASKED,
        '-- answered\n>> "a" usage 7/1 | "b" usage 7/2 | stop | done\n<< "a"# "b" stop usage 7/2 done end',
    ),
    "twice: the last counts": (
        ASKED,
        '-- answered\n>> "a" | usage 7/1 | stop | usage 7/5 | done\n<< "a"# stop usage 7/5 done end',
    ),
    "missing": (
        ASKED,
        '-- answered\n>> "a" | "bc" | stop | done\n<< "a"# "bc" stop usage 7/3 done end\n$$ finished local 7/3',
    ),
    "without choices at all": (
        ASKED,
        '-- answered\n>> "a" | stop | no-choices-usage | done\n<< "a"# stop usage 7/3 done end',
    ),
    "negative": (
        ASKED,
        '-- answered\n>> "a" | stop | usage 7/-5 | done\n<< "a"# stop usage 7/1 done end\n$$ finished suspect 7/1',
    ),
    "huge": (ASKED, '-- answered\n>> "a" | usage 7/4000 | done\n<< "a"# usage 7/1 done end\n$$ finished suspect 7/1'),
    "a string": (ASKED, '-- answered\n>> "a" | usage "many" | done\n<< "a"# usage 7/1 done end'),
    "sane, then insane": (
        ASKED,
        '-- answered\n>> "a" | usage 7/5 | usage 7/-1 | done\n<< "a"# usage 7/5 done end\n$$ finished upstream 7/5',
    ),
    "insane, then sane": (
        ASKED,
        '-- answered\n>> "a" | usage 7/-1 | usage 7/5 | done\n<< "a"# usage 7/5 done end\n$$ finished upstream 7/5',
    ),
    "null": ({}, '-- answered\n>> "a" usage null | stop | done\n<< "a"# stop done end\n$$ finished local 7/1'),
}

ENDINGS: dict[str, tuple[dict[str, Any], str]] = {
    "[DONE] that never comes": (
        ASKED,
        """
        -- answered
        >> "a" | stop
        << "a"# stop
        -- wait 4.9
        <<
        -- wait 0.1
        << usage 7/1 done end
        $$ finished local 7/1
        """,
    ),
    "only usage comes after the finish_reason": (
        ASKED,
        """
        -- answered
        >> "a" | stop
        >> usage 7/5
        -- wait 5
        << "a"# stop / usage 7/5 done end
        """,
    ),
    "the end of the body instead of [DONE]": (
        {},
        """
        -- answered
        >> "a" | stop
        -- eof
        << "a"# stop / done end
        $$ finished local 7/1
        """,
    ),
    "a [DONE] without its blank line": (
        {},
        """
        -- answered
        >> "a" | done-cut
        << "a"#
        -- eof
        << done end
        """,
    ),
    "a slow client is not why usage is missed": (
        ASKED,
        """
        -- answered
        >> "a" | stop
        -- client blocked
        -- wait 60
        << "a"# stop
        -- client writable
        -- wait 4
        >> usage 7/5 | done
        << ping / usage 7/5 done end
        $$ finished upstream 7/5
        """,
    ),
    "a finished upstream may close its body before it is hung up on": (
        {},
        """
        -- answered
        >> "a" | done
        == start settle end
        -- release
        -- wait 0.9
        ==
        -- wait 0.1
        == close
        -- wait 1
        ==
        """,
    ),
    "a whole answer where a stream was asked for": (
        ASKED,
        """
        -- answered json
        << "hey"# stop usage 7/3 done end
        == start settle end
        -- accepted
        $$ finished upstream 7/3
        """,
    ),
}


def cases(*tables: dict[str, tuple[dict[str, Any], str]]) -> pytest.MarkDecorator:
    rows = [pytest.param(*row, id=name) for table in tables for name, row in table.items()]
    return pytest.mark.parametrize(("options", "script"), rows)


@cases(PLAIN, USAGE, ENDINGS)
async def test_a_dialogue(options: dict[str, Any], script: str) -> None:
    dialogue = Dialogue(**options)
    await dialogue.play(script)
    assert dialogue.settles == int(dialogue.relay.closed)


async def test_an_emoji_in_two_events_is_relayed_as_it_came_and_counted_as_one() -> None:
    dialogue = Dialogue(count=lambda text: len(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")))
    await dialogue.play("-- answered\n>> high\n>> low")
    dialogue.feed(b"".join(map(arriving, ('"a"', "high", "low", '"b"', "stop", "done"))))
    halves = re.findall(rb"\\u\w{4}", dialogue.sink.all)
    assert halves == [rb"\ud83d", rb"\ude00"] * 2
    await dialogue.play("$$ finished local 7/4")


SPELLINGS = ("role", '"héllo"', '"😀"', "comment", "no-choices", "usage 7/5", '"x" usage 7/9', "null-error")
LASTS = ("stop", "done", "error", "bad", "bad-utf8", "half")


@settings(deadline=None, max_examples=150)
@given(
    spelled=st.lists(st.sampled_from(SPELLINGS), max_size=6),
    lasts=st.lists(st.sampled_from(LASTS), max_size=3),
    cuts=st.lists(st.integers(min_value=0, max_value=2000), max_size=8),
    breaks=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    usage=st.booleans(),
    lease=st.sampled_from([1, 3, 1000]),
)
def test_where_the_upstream_is_cut_does_not_matter(
    spelled: list[str], lasts: list[str], cuts: list[int], breaks: bytes, usage: bool, lease: int
) -> None:
    data = b"".join(map(arriving, [*spelled, *lasts])).replace(b"\n", breaks)
    edges = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]

    async def client_gets(reads: list[bytes]) -> tuple[bytes, object]:
        dialogue = Dialogue(usage=usage, lease=lease, r_output=12, max_event_bytes=4000)
        await dialogue.play("-- answered")
        for read in reads:
            dialogue.feed(read)
            while urgent := [call for call in dialogue.calls if call.startswith("extend!")]:
                dialogue.calls.clear()
                dialogue.hold.lease = int(urgent[0].split()[1])
                dialogue.relay.leased(dialogue.hold)
        await dialogue.play("-- eof")
        assert dialogue.accepting is not None
        await asyncio.wait([dialogue.accepting])
        return dialogue.sink.all, (dialogue.accepting.exception() is None, dialogue.meter.ending())

    whole, ending = asyncio.run(client_gets([data] if data else []))
    again, ending_again = asyncio.run(client_gets(pieces))
    assert again == whole
    assert ending_again == ending
