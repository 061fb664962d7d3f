"""When the meter counts: as late as it can, and the same as if it had counted every event."""

from __future__ import annotations

import pytest

from tests.policy.test_meter import BLOCK, LOCAL, charged, make, say, tell, words
from tests.support.upstream import usage


def test_text_far_from_every_limit_is_not_counted_at_all() -> None:
    asked: list[str] = []

    def count(text: str) -> int:
        asked.append(text)
        return words(text)

    meter = make(r_output=1000, lease=512)
    meter._count = count
    for _ in range(100):
        say(meter, "wo ")
        assert meter.covered() and not meter.over_limit() and not meter.wanted_lease(BLOCK)
    assert asked == []
    for _ in range(28):  # 384 bytes: more than half of the block could be used
        say(meter, "wo ")
        assert not meter.wanted_lease(BLOCK)
    assert asked == ["wo " * 128] and meter.counted == 128
    say(meter, "finally", reasoning="x y z")
    assert meter.counted == 132 and asked[1:] == ["finally", "x y z"]
    assert meter.recount() == 131 + 1  # its letters end in a blank, so nothing is glued together


@pytest.mark.parametrize(("text", "room"), [("w" * 100, True), ("w " * 100, True), ("w " * 101, False)])
def test_room_is_what_lease_and_limit_leave(text: str, room: bool) -> None:
    said = (0, "content", text, 3)
    assert make(r_output=100, lease=100).take(*said) is room
    assert make(r_output=1000, lease=100, exact=False).take(*said) is room
    meter = make(r_output=1000, lease=200)
    say(meter, "w " * 100)
    assert meter.take(*said) is room
    assert meter.events == 1 + 3 * room and meter.recount() == 100 + room * len(text.split())  # or nothing was counted


def test_plain_events_count_like_any_other() -> None:
    plain, each = make(lease=50), make(lease=50)
    for words_ in (["a ", "b ", "c"], [""], ["é ", "日本 "]):
        assert plain.take(0, "content", "".join(words_), len(words_))
        for word in words_:
            say(each, word)
    assert (plain.events, plain.counted, plain.recount()) == (each.events, each.counted, each.recount())
    for meter in (plain, each):
        tell(meter, usage(LOCAL, 1))
    assert plain.take(0, "content", "and more", 1)
    say(each, "and more")
    assert charged(plain) == charged(each) == (LOCAL, 6, "partial")
