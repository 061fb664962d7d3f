from __future__ import annotations

import os
import pty
from pathlib import Path
from typing import Any

import orjson
import pytest

from streamrouter.config.schema import LogConfig
from streamrouter.ops.logs import Log, clean

NOON_NS = 1_780_000_000_123_000_000  # 2026-05-28T20:26:40.123Z


class _Clock:
    def now_ns(self) -> int:
        return NOON_NS

    def monotonic(self) -> float:
        return 0.0

    def boottime(self) -> float:
        return 0.0


def file_log(path: Path, **config: Any) -> Log:
    return Log.from_config(LogConfig(file=str(path), **config), _Clock(), {})


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_a_request_is_one_json_line(tmp_path: Path) -> None:
    log = file_log(tmp_path / "log")
    log.request({"id": "req_1", "status": 200, "ttft_ms": 12, "stream": True, "upstream": None, "gap": 1.5})
    assert lines(tmp_path / "log") == [
        {
            "time": "2026-05-28T20:26:40.123+00:00",
            "level": "info",
            "event": "request",
            "id": "req_1",
            "status": 200,
            "ttft_ms": 12,
            "stream": True,
            "gap": 1.5,
        }
    ]
    log.close()


def test_an_event_has_its_level_and_no_field_replaces_what_is_ours(tmp_path: Path) -> None:
    log = file_log(tmp_path / "log")
    log.event("warning", "reload_refused", why="a:1: b", time="never", number=2**80, items=["a\nb"])
    [line] = lines(tmp_path / "log")
    assert line["level"] == "warning"
    assert line["event"] == "reload_refused"
    assert line["time"].startswith("2026-05-28")
    assert line["number"] == str(2**80)
    assert line["items"] == "['a\\nb']"
    log.close()


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain ünïcode 🙂", "plain ünïcode 🙂"),
        ("two\r\nlines\x00", "twolines"),
        ("\x1b[31;1mred\x1b[0m \x1b]0;title\x07x", "red x"),
        ("\x9b31mc1", "31mc1"),
        ("abc\u202egnp.exe\u2066\u200f\u061c", "abcgnp.exe"),
        ("a\u2028b\u2029c\ufeffd", "abcd"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("100%s %(x)d {}", "100%s %(x)d {}"),
        ("x" * 256, "x" * 256),
        ("x" * 257, "x" * 255 + "…"),
        ("x" * 10_000_000, "x" * 255 + "…"),
        ("\n" * 2000 + "hidden", "…"),
    ],
)
def test_a_field_stays_in_its_line(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_every_line_is_one_line_and_parses(tmp_path: Path) -> None:
    log = file_log(tmp_path / "log")
    nasty = ["\n", "\x1b[2J", "\u202e", '"}', "\ud800", "%s%n", "\\", "\x85", "x" * 5000]
    for text in nasty:
        log.request({"client_request_id": text, "status": 200})
    log.close()
    assert len(lines(tmp_path / "log")) == len(nasty)
    assert all(len(line.get("client_request_id", "")) <= 256 for line in lines(tmp_path / "log"))


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["d", "i", "w", "e", "request", "request"]),
        ("info", ["i", "w", "e", "request", "request"]),
        ("warning", ["w", "e", "request"]),
        ("error", ["e", "request"]),
    ],
)
def test_lower_levels_are_left_out(tmp_path: Path, level: Any, written: list[str]) -> None:
    log = file_log(tmp_path / "log", level=level)
    log.event("debug", "d")
    log.event("info", "i")
    log.event("warning", "w")
    log.event("error", "e")
    log.request({"status": 200})
    log.request({"status": 500})
    log.close()
    assert [line["event"] for line in lines(tmp_path / "log")] == written


def test_reopen_follows_a_rotated_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = file_log(path)
    log.event("info", "one")
    path.rename(tmp_path / "log.1")
    log.event("info", "two")
    log.reopen()
    log.event("info", "three")
    log.close()
    assert [line["event"] for line in lines(tmp_path / "log.1")] == ["one", "two"]
    assert [line["event"] for line in lines(path)] == ["three"]
    assert path.stat().st_mode & 0o007 == 0


def test_reopen_without_a_folder_goes_on_with_the_old_file(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log = file_log(folder / "log")
    (folder / "log").rename(tmp_path / "moved")
    folder.rmdir()
    with pytest.raises(OSError, match="No such file"):
        log.reopen()
    log.event("info", "still")
    log.close()
    assert [line["event"] for line in lines(tmp_path / "moved")] == ["still"]


def test_a_log_that_nobody_reads_fails_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = Log(_Clock(), fd=writer)
    log.request({"status": 200})
    assert log.dropped == 1
    log.reopen()
    log.close()
    os.close(writer)


def on_terminal(environ: dict[str, str], **config: Any) -> str:
    reader, terminal = pty.openpty()
    try:
        log = Log.from_config(LogConfig(file=os.ttyname(terminal), **config), _Clock(), environ)
        log.request({"id": "req_1", "status": 200, "model": "demo", "upstream": "main", "end": "finished"})
        log.request({"id": "req_2", "status": 429, "code": "rate_limit_exceeded"})
        log.event("error", "ledger_failed", why="disk full")
        log.request({"id": "req_3"})
        log.close()
        shown = b""
        while shown.count(b"\n") < 4:  # a terminal hands out what it has, not what was written
            shown += os.read(reader, 65536)
        return shown.decode()
    finally:
        os.close(reader)
        os.close(terminal)


def test_a_terminal_gets_one_coloured_line_per_request() -> None:
    first, second, third, fourth = on_terminal({}).splitlines()
    assert "\x1b[32m200 demo main finished\x1b[0m" in first
    assert "req_1" in first
    assert "\x1b[33m429\x1b[0m" in second
    assert "\x1b[31merror ledger_failed\x1b[0m" in third
    assert "request" in fourth


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_colour(environ: dict[str, str]) -> None:
    shown = on_terminal(environ)
    assert "\x1b" not in shown
    assert shown.splitlines()[0] == "20:26:40 200 demo main finished  req_1"


def test_the_format_can_be_forced(tmp_path: Path) -> None:
    log = file_log(tmp_path / "log", format="text")
    log.event("info", "started", port=8000)
    log.close()
    assert (tmp_path / "log").read_text() == "20:26:40 info started  port=8000\n"
    assert orjson.loads(on_terminal({}, format="json").splitlines()[0])["status"] == 200


def test_without_a_file_it_is_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    log = Log.from_config(LogConfig(), _Clock(), {})
    log.event("info", "started")
    log.close()
    captured = capfd.readouterr()
    assert captured.out == ""
    assert orjson.loads(captured.err)["event"] == "started"


async def test_a_subscriber_gets_every_line_as_it_is_logged_and_those_below_the_level(tmp_path: Path) -> None:
    log = file_log(tmp_path / "log", level="error")
    tail, other = log.subscribe(), log.subscribe(most=1)
    log.request({"id": "req_1", "status": 200, "model": "a\nb"})
    log.event("debug", "detail", n=1)
    found = await tail.wait()
    assert [line["event"] for line in found] == ["request", "detail"]
    assert (found[0]["model"], found[0]["time"]) == ("ab", "2026-05-28T20:26:40.123+00:00")
    assert lines(tmp_path / "log") == []
    assert ([line["event"] for line in other.take()], other.missed) == (["detail"], 1)
    log.unsubscribe(tail)
    log.unsubscribe(tail)
    log.event("error", "later")
    assert tail.take() == []
    assert [line["event"] for line in lines(tmp_path / "log")] == ["later"]
    log.close()


def test_the_level_can_change(tmp_path: Path) -> None:
    log = file_log(tmp_path / "log")
    log.level("error")
    log.event("info", "one")
    log.level("debug")
    log.event("debug", "two")
    log.close()
    assert [line["event"] for line in lines(tmp_path / "log")] == ["two"]


def test_what_waits_is_written_when_the_reader_takes_it() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    log = Log(_Clock(), fd=writer)
    for _ in range(500):
        log.request({"id": "x" * 256, "status": 200})
    got = os.read(reader, 1 << 20)
    assert got.count(b"\n") < 500
    log.flush()
    while got.count(b"\n") < 500:
        got += os.read(reader, 1 << 20)
        log.flush()
    assert (log.dropped, len(got.splitlines())) == (0, 500)
    for fd in (reader, writer):
        os.close(fd)
