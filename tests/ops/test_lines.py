"""Lines into a descriptor that is never waited for, and to readers inside the process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamrouter.ops.lines import Lines, Tail


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            continue


def read(fd: int) -> bytes:
    os.set_blocking(fd, False)
    found = b""
    try:
        while piece := os.read(fd, 65536):
            found += piece
    except BlockingIOError:
        pass
    return found


def test_a_line_is_written_at_once(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    lines = Lines(writer)
    lines.put(b"one\n")
    lines.put(b"two\n")
    assert read(reader) == b"one\ntwo\n"


def test_a_reader_that_is_stuck_holds_nobody_up_and_gets_the_oldest_lines(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    lines = Lines(writer, most=100)
    sent = [b"%06d" % number + b"x" * 993 + b"\n" for number in range(300)]  # the pipe takes 64 of them
    for line in sent:
        lines.put(line)
    assert lines.dropped > 0
    kept = len(sent) - lines.dropped
    got = b""
    while piece := read(reader):
        got += piece
        lines.flush()
    assert got == b"".join(sent[:kept])
    lines.put(b"later\n")
    assert read(reader) == b"later\n"


def test_a_line_longer_than_a_pipe_takes_at_once_arrives_whole(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    lines = Lines(writer)
    long = b"y" * 100_000 + b"\n"
    lines.put(long)
    got = read(reader)
    while len(got) < len(long):
        lines.flush()
        got += read(reader)
    assert got == long


def test_a_reader_that_is_gone_is_counted(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    lines = Lines(writer)
    lines.put(b"one\n")
    lines.put(b"two\n")
    assert lines.dropped == 2


def test_a_descriptor_that_is_closed_is_counted() -> None:
    lines = Lines(987_654)
    lines.put(b"one\n")
    assert lines.dropped == 1


def test_it_moves_to_another_file(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT) for name in ("a", "b"))
    lines = Lines(first)
    lines.put(b"one\n")
    lines.move(second)
    lines.put(b"two\n")
    os.close(first)
    os.close(second)
    assert [(tmp_path / name).read_bytes() for name in ("a", "b")] == [b"one\n", b"two\n"]


async def test_a_tail_waits_and_takes_all_that_has_come() -> None:
    tail = Tail()
    assert tail.take() == []
    waiting = asyncio.create_task(tail.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    tail.put({"event": "one"})
    tail.put({"event": "two"})
    assert await waiting == [{"event": "one"}, {"event": "two"}]
    assert tail.take() == []
    tail.put({"event": "three"})
    assert await tail.wait() == [{"event": "three"}]


async def test_a_tail_that_nobody_reads_forgets_its_oldest_lines() -> None:
    tail = Tail(most=2)
    for number in range(5):
        tail.put({"n": number})
    assert tail.missed == 3
    assert [line["n"] for line in tail.take()] == [3, 4]
