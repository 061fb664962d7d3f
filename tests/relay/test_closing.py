"""The last events of a stream, by what the meter knows. (The dialogues show when they leave.)"""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from streamrouter.policy.meter import Meter
from streamrouter.relay.closing import closing
from streamrouter.wire.chunk import decode_chunk
from streamrouter.wire.splice import Splicer
from tests.relay.dialogue import arriving, leaving


def meter(*, n: int = 1, r_output: int = 10, text: str = "abc", finished: int = 1) -> Meter:
    made = Meter(count=len, local_input=7, r_input=10, r_output=r_output, n=n, lease=r_output, exact=True)
    for index in range(n):
        made.add(decode_chunk(json.dumps({"choices": [{"index": index, "delta": {"content": text}}]}).encode()))
    for index in range(finished):
        made.finish_reasons[index] = "stop"
    return made


@pytest.mark.parametrize(
    ("reason", "options", "told", "asked", "leaves"),
    [
        ("finished", {}, None, False, "done"),
        ("finished", {}, "usage 7/5", False, "done"),
        ("finished", {}, None, True, "usage 7/3 done"),
        ("finished", {}, "usage 7/5", True, "usage 7/5 done"),
        ("finished", {}, "usage 7/-5", True, "usage 7/3 done"),
        ("cut", {"finished": 0}, None, False, "length done"),
        ("cut", {"n": 2}, None, False, "1:length done"),
        ("cut", {"n": 2, "finished": 2}, None, False, "done"),
        ("cut", {"r_output": 2, "finished": 0}, None, True, "length usage 7/2 done"),
        ("cut", {"r_output": 2, "finished": 0}, "usage 7/1", True, "length usage 7/2 done"),
    ],
)
def test_the_last_events(reason: str, options: dict[str, Any], told: str | None, asked: bool, leaves: str) -> None:
    counted, splicer = meter(**options), Splicer("public", "req_1")
    event = arriving(told)[6:].strip() if told else None
    if event is not None:
        counted.add_usage(Raw(json.dumps(json.loads(event)["usage"]).encode()))
    counted.end(reason)
    assert leaving(b"".join(closing(counted, splicer, event, include_usage=asked))).replace("#", "") == leaves
