"""Leases (no token leaves that is not durably recorded) and the cut of an upstream that ignores its limit.

The block is 4 tokens, one character is one token: a lease of 4 grows when more than 2 are used.
"""

from __future__ import annotations

from typing import Any

from tests.relay.dialogue import Dialogue
from tests.relay.test_stream import cases

LEASES: dict[str, tuple[dict[str, Any], str]] = {
    "grows in time, and nothing waits": (
        {"lease": 4},
        """
        -- answered
        >> "a"
        == start
        >> "b"
        == extend 8
        -- lease 8
        ==
        >> "cde"
        << "a"# / "b" / "cde"
        ==
        >> "f"
        == extend 12
        """,
    ),
    "an event that does not fit waits, and all behind it": (
        {"lease": 4},
        """
        -- answered
        >> "abcdef" | "g" | "h"
        == start pause extend! 8
        <<
        >> "i"
        ==
        -- lease 8
        << "abcdef"# "g" "h"
        == extend 12 pause extend! 12 pause
        -- lease 12
        << "i"
        == resume
        """,
    ),
    "an event larger than a block asks for all of itself": (
        {"lease": 4},
        '-- answered\n>> "0123456789"\n== start pause extend! 10\n-- lease 10\n<< "0123456789"#\n== resume',
    ),
    "granted, but not enough": (
        {"lease": 4},
        """
        -- answered
        >> "abcdefgh"
        == start pause extend! 8
        -- lease 6
        <<
        == pause extend! 10
        -- lease 10
        << "abcdefgh"#
        == resume
        """,
    ),
    "never above what is reserved": (
        {"lease": 4, "r_output": 6},
        '-- answered\n>> "abcde"\n== start pause extend! 6\n-- lease 6\n<< "abcde"#\n== resume\n>> "f"\n<< "f"\n==',
    ),
    "refused": (
        {"lease": 4},
        """
        -- answered
        >> "ab"
        << "ab"#
        >> "cde"
        == start extend 8 pause extend! 8
        -- lease failed
        << error:ledger_unavailable end
        == settle end close
        $$ ledger_unavailable partial 7/5
        """,
    ),
    "refused, but not needed": (
        {"lease": 4},
        '-- answered\n>> "ab" | stop\n-- lease failed\n>> done\n<< "ab"# stop / done end',
    ),
    "never answered": (
        {"lease": 4, "idle_s": 10},
        """
        -- answered
        >> "abcde"
        -- wait 9
        <<
        -- wait 1
        << error:ledger_unavailable end
        -- lease 8
        <<
        == start pause extend! 8 settle end close
        """,
    ),
    "keep-alives go on meanwhile": (
        {"lease": 4},
        '-- answered\n>> "ab"\n>> "cde"\n-- wait 15\n<< "ab"# / ping\n-- lease 8\n<< "cde"',
    ),
    "the end of the body behind it": (
        {"lease": 4},
        """
        -- answered
        >> "abcde" | stop
        -- eof
        <<
        -- lease 8
        << "abcde"# stop / done end
        $$ finished local 7/5
        """,
    ),
    "an end half-way behind it": (
        {"lease": 4},
        '-- answered\n>> "abcde"\n-- eof\n-- lease 8\n<< "abcde"# / error:upstream_truncated end',
    ),
    "a reset behind it": (
        {"lease": 4},
        '-- answered\n>> "abcde"\n-- rst\n-- lease 8\n<< "abcde"# / error:upstream_disconnected end',
    ),
    "[DONE] behind it": (
        {"lease": 4, "usage": True},
        """
        -- answered
        >> "abcde" | stop | usage 7/5 | done
        -- lease 8
        << "abcde"# stop usage 7/5 done end
        == start pause extend! 8 settle end resume
        $$ finished upstream 7/5
        """,
    ),
    "a whole answer": (
        {"lease": 2},
        '-- answered json\n<<\n-- accepted\n-- lease 6\n<< "hey"# stop done end\n$$ finished upstream 7/3',
    ),
    "a stop while it waits": (
        {"lease": 4},
        '-- answered\n>> "abcde" | "f"\n-- stop\n<< error:server_shutdown end\n'
        "-- lease 9\n<<\n$$ server_shutdown partial 7/5",
    ),
    "the client leaves while it waits": (
        {"lease": 4},
        '-- answered\n>> "abcde"\n-- client gone\n-- lease 9\n<<\n== start pause extend! 8 settle close',
    ),
    "a client that can be written to again does not resume the upstream": (
        {"lease": 4},
        """
        -- answered
        >> "abcde"
        -- client blocked
        -- client writable
        == start pause extend! 8 pause pause
        -- client blocked
        -- lease 8
        << "abcde"#
        == pause pause
        -- client writable
        == resume
        """,
    ),
}

CUTS: dict[str, tuple[dict[str, Any], str]] = {
    "exactly the limit is fine": (
        {"r_output": 4},
        '-- answered\n>> "abcd" | length | done\n<< "abcd"# length done end\n$$ finished local 7/4',
    ),
    "an upstream that ignores its limit": (
        {"r_output": 4},
        """
        -- answered
        >> "abc"
        << "abc"#
        >> "de" | "f"
        << length done end
        == start settle end close
        $$ cut local 7/5
        """,
    ),
    "with usage asked for: what is charged": (
        {"r_output": 4, "usage": True},
        '-- answered\n>> "abc"\n>> "de"\n<< "abc"# / length usage 7/4 done end',
    ),
    "in an event that came with others": (
        {"r_output": 4},
        '-- answered\n>> "abc" | "de"\n<< "abc"# length done end',
    ),
    "in the first event": ({"r_output": 4}, '-- answered\n>> "abcde"\n<< length# done end\n-- accepted'),
    "two choices, one of which had finished": (
        {"r_output": 4, "n": 2},
        '-- answered\n>> "a" | 1:"b" | stop\n>> 1:"cde"\n<< "a"# 1:"b" stop / 1:length done end',
    ),
    "two choices": (
        {"r_output": 4, "n": 2, "usage": True},
        '-- answered\n>> "a" | 1:"b"\n>> 1:"cde"\n<< "a"# 1:"b" / length 1:length usage 7/4 done end',
    ),
    "a count of pieces above that of the text is no reason": (
        {"r_output": 4, "count": lambda text: -(-len(text) // 4)},
        '-- answered\n>> "a" | "b" | "c" | "d" | "e" | "f"\n'
        '>> stop | done\n<< "a"# "b" "c" "d" "e" "f" / stop done end',
    ),
    "an inexact tokenizer has slack": (
        {"r_output": 4, "exact": False},
        f'-- answered\n>> "abc"\n>> "{"x" * 65}"\n<< "abc"# / "{"x" * 65}"\n>> "y"\n<< length done end',
    ),
    "while an event waits for its lease": (
        {"r_output": 8, "lease": 4},
        '-- answered\n>> "abcde" | "fghi"\n-- lease 8\n'
        '<< "abcde"# length done end\n== start pause extend! 8 settle end close',
    ),
    "the client had left, policy drain": (
        {"r_output": 4, "on_disconnect": "drain"},
        '-- answered\n>> "abc"\n-- client gone\n>> "de"\n<< "abc"#\n'
        "== start resume settle close\n$$ client_left abort 7/5",
    ),
}


@cases(LEASES, CUTS)
async def test_a_dialogue(options: dict[str, Any], script: str) -> None:
    dialogue = Dialogue(**options)
    await dialogue.play(script)
    assert dialogue.settles == int(dialogue.relay.closed)
