"""What libraries log becomes lines of ours: one each, and nothing of an exception but its kind and place."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from streamrouter.clock import SystemClock
from streamrouter.ops.foreign import Foreign
from streamrouter.ops.logs import Log


class Heard:
    def __init__(self, path: Path, logger: logging.Logger) -> None:
        self._path = path
        self.logger = logger

    async def lines(self) -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        return [json.loads(line) for line in self._path.read_text().splitlines()]


@pytest_asyncio.fixture
async def heard(tmp_path: Path) -> AsyncIterator[Heard]:
    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    logger = logging.Logger("some.library")
    logger.addHandler(Foreign(Log(SystemClock(), fd=fd), asyncio.get_running_loop()))
    yield Heard(tmp_path / "log", logger)
    os.close(fd)


async def test_warnings_and_errors_become_lines(heard: Heard) -> None:
    heard.logger.info("never mind")
    heard.logger.warning("look at %s", "this")
    heard.logger.critical("fire")
    found = await heard.lines()
    assert [(line["level"], line["event"], line["logger"], line["detail"]) for line in found] == [
        ("warning", "logged", "some.library", "look at this"),
        ("error", "logged", "some.library", "fire"),
    ]


async def test_of_an_exception_only_kind_and_place_are_told(heard: Heard) -> None:
    try:
        raise ValueError("a prompt")
    except ValueError:
        heard.logger.exception("it failed\nfuture: <a prompt>")
    [line] = await heard.lines()
    assert (line["detail"], line["kind"]) == ("it failed", "ValueError")
    assert "test_foreign.py:" in line["at"]
    assert "prompt" not in json.dumps(line)


async def test_another_thread_may_log(heard: Heard) -> None:
    await asyncio.to_thread(heard.logger.warning, "from a thread")
    assert [line["detail"] for line in await heard.lines()] == ["from a thread"]


def test_it_logs_when_the_loop_is_over(tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    Foreign(Log(SystemClock(), fd=fd), loop).handle(
        logging.LogRecord("late", logging.WARNING, "", 0, "good-bye", None, None)
    )
    os.close(fd)
    assert json.loads((tmp_path / "log").read_text())["detail"] == "good-bye"
