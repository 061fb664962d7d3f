from __future__ import annotations

import sys

import psutil
import pytest

from streamrouter.ops.memory import trim


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
def test_free_memory_goes_back_though_a_block_above_it_is_in_use() -> None:
    process = psutil.Process()
    below = [bytes(100_000) for _ in range(1000)]
    above = bytes(100_000)
    grown = process.memory_info().rss
    del below
    trim()
    assert grown - process.memory_info().rss > 50_000_000
    assert len(above) == 100_000


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not trim()
