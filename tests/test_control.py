"""The control socket: exchanges over a real ledger, rubbish, strangers, stale files, long paths."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from streamrouter.admin.verbs import AdminError
from streamrouter.clock import SystemClock
from streamrouter.config.schema import Config, LedgerConfig
from streamrouter.control import ControlFault, ControlServer, NotServing, call, follow, peer_uid
from streamrouter.errors import LedgerError
from streamrouter.ledger.ledger import Ledger
from streamrouter.ops.logs import Log
from streamrouter.ops.meeting import socket_path

NOBODY = 65534
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path that other users may look into (pytest's own is neither)."""
    with tempfile.TemporaryDirectory(prefix="sr", dir="/tmp") as name:
        os.chmod(name, 0o755)
        yield Path(name)


async def open_ledger(path: str) -> Ledger:
    return await Ledger.open(
        path, config=LedgerConfig(durability="normal"), clock=SystemClock(), on_fatal=lambda why: None
    )


@pytest.fixture
async def path(folder: Path) -> AsyncIterator[str]:
    """The path of a ledger that is being served."""
    ledger_path = str(folder / "l.db")
    ledger = await open_ledger(ledger_path)
    server = ControlServer(
        socket_path(ledger_path), ledger, Config, lambda key_id: 2, request_timeout_s=1, verb_timeout_s=5
    )
    await server.start()
    yield ledger_path
    await server.close()
    await ledger.close()


async def told(path: str, verb: str, **args: Any) -> Any:
    return await asyncio.to_thread(call, path, verb, args)


async def exchange(path: str, data: bytes) -> Any:
    """What the server answers to these bytes and the end; None for nothing."""
    reader, writer = await asyncio.open_unix_connection(path + ".sock")
    try:
        writer.write(data)
        writer.write_eof()
        answer = await reader.read()
    except ConnectionError:
        return None
    finally:
        writer.close()
    return json.loads(answer) if answer else None


async def test_a_verb_there_and_back(path: str) -> None:
    made = await told(path, "user.create", user="bob", daily_input=5)
    assert (made["user"], made["daily_input"]) == ("bob", 5)
    key = await told(path, "key.create", user="bob")
    assert (await told(path, "key.revoke", id=key["id"], now=True))["streams_stopped"] == 2
    assert (await told(path, "status"))["pid"] == os.getpid()


async def test_a_refusal_there_and_back(path: str) -> None:
    with pytest.raises(AdminError, match="nobody") as raised:
        await told(path, "usage", user="nobody")
    assert raised.value.code == "not_found"


async def test_the_socket_is_private(path: str) -> None:
    assert stat.S_IMODE(os.stat(path + ".sock").st_mode) == 0o600


RUBBISH = [
    b"",
    b"\n",
    b"hello\n",
    b"\x00\xff\xfe\n",
    b"[]\n",
    b'"user.list"\n',
    b"{}\n",
    b'{"verb": 1}\n',
    b'{"verb": "user.list", "args": []}\n',
    b'{"verb": "user.list", "extra": 1}\n',
    b'{"verb": "user.list"',
    b"[" * 100_000 + b"\n",
    b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    b'{"verb": "' + b"x" * 2_000_000 + b'"}\n',
]


async def test_rubbish_is_refused_and_the_server_lives_on(path: str) -> None:
    for data in RUBBISH:
        answer = await exchange(path, data)
        assert answer is None or answer["error"]["code"] == "bad_request", data[:40]
    assert await told(path, "user.list") == []


async def test_a_caller_that_says_nothing_is_let_go(path: str) -> None:
    reader, writer = await asyncio.open_unix_connection(path + ".sock")
    answer = json.loads(await asyncio.wait_for(reader.read(), 2))
    writer.close()
    assert "no whole line" in answer["error"]["message"]


async def test_many_silent_callers_do_not_pile_up(path: str) -> None:
    callers = [await asyncio.open_unix_connection(path + ".sock") for _ in range(100)]
    answers = [json.loads(await reader.read())["error"]["code"] for reader, _ in callers]
    for _, writer in callers:
        writer.close()
    assert sorted(set(answers)) == ["bad_request", "overloaded"]
    assert await told(path, "user.list") == []


async def test_a_caller_that_leaves_has_its_verb_done(path: str) -> None:
    _, writer = await asyncio.open_unix_connection(path + ".sock")
    writer.write(b'{"verb": "user.create", "args": {"user": "bob"}}\n')
    await writer.drain()
    writer.close()
    deadline = time.monotonic() + 5
    while not await told(path, "user.list"):
        assert time.monotonic() < deadline


async def test_close_removes_the_socket_and_leaves_a_successors_alone(folder: Path) -> None:
    ledger = await open_ledger(str(folder / "l.db"))
    control = socket_path(ledger_path := str(folder / "l.db"))
    first, second = ControlServer(control, ledger, Config), ControlServer(control, ledger, Config)
    await first.start()
    await second.start()  # replaces the first one's socket, as it would a stale one
    await first.close()
    assert await told(ledger_path, "user.list") == []
    await second.close()
    await second.close()
    assert not os.path.exists(control)
    with pytest.raises(NotServing):
        call(ledger_path, "user.list", {})
    await ledger.close()


async def test_a_dead_servers_socket_is_replaced(folder: Path) -> None:
    ledger_path = str(folder / "l.db")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(ledger_path + ".sock")
    with pytest.raises(NotServing):
        call(ledger_path, "user.list", {})
    ledger = await open_ledger(ledger_path)
    server = ControlServer(socket_path(ledger_path), ledger, Config)
    await server.start()
    assert await told(ledger_path, "user.list") == []
    await server.close()
    await ledger.close()


async def test_a_fault_of_ours_is_logged_and_the_caller_is_told_where_to_look(folder: Path) -> None:
    def broken() -> Config:
        raise RuntimeError("boom")

    ledger = await open_ledger(ledger_path := str(folder / "l.db"))
    server = ControlServer(socket_path(ledger_path), ledger, broken)
    logged: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: logged.append(context["exception"]))
    await server.start()
    with pytest.raises(ControlFault, match="its log says why"):
        await told(ledger_path, "user.list")
    await server.close()
    await ledger.close()
    gc.collect()  # before Python 3.12 the loop tells of it then
    assert [str(error) for error in logged] == ["boom"]


async def test_a_file_in_the_way_is_named_and_kept(folder: Path) -> None:
    (folder / "l.db.sock").write_text("precious")
    ledger = await open_ledger(str(folder / "l.db"))
    with pytest.raises(LedgerError, match="in the way"):
        await ControlServer(socket_path(str(folder / "l.db")), ledger, Config).start()
    assert (folder / "l.db.sock").read_text() == "precious"
    await ledger.close()


async def test_a_path_too_long_for_a_socket(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    deep = folder / ("d" * 90)
    deep.mkdir()
    ledger_path = str(deep / "ledger.db")
    control = socket_path(ledger_path)
    assert control.startswith(str(folder / f"streamrouter-{os.getuid()}"))
    assert len(control) < 100
    assert stat.S_IMODE(os.stat(os.path.dirname(control)).st_mode) == 0o700
    ledger = await open_ledger(ledger_path)
    server = ControlServer(control, ledger, Config)
    await server.start()
    assert await told(ledger_path, "user.list") == []
    monkeypatch.chdir(deep)
    assert await told("ledger.db", "user.list") == []
    await server.close()
    await ledger.close()


def test_a_runtime_directory_that_others_can_enter_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    (folder / f"streamrouter-{os.getuid()}").mkdir(mode=0o755)
    with pytest.raises(LedgerError, match="mode 0700"):
        socket_path("/" + "x" * 120)


def test_the_same_exchange_on_uvloop(folder: Path) -> None:
    async def there_and_back() -> Any:
        ledger = await open_ledger(str(folder / "l.db"))
        server = ControlServer(socket_path(str(folder / "l.db")), ledger, Config)
        await server.start()
        try:
            return await told(str(folder / "l.db"), "user.list")
        finally:
            await server.close()
            await ledger.close()

    assert uvloop.run(there_and_back()) == []


def test_the_other_end_of_a_socket_is_known() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert peer_uid(ours.fileno()) in (os.getuid(), None)


AS_NOBODY = f"import os, socket; os.setgid({NOBODY}); os.setuid({NOBODY}); s = socket.socket(socket.AF_UNIX)\n"


@as_root
async def test_another_user_is_refused_even_where_the_mode_would_let_them_in(path: str) -> None:
    os.chmod(path + ".sock", 0o666)
    ask = f"{AS_NOBODY}s.connect({path + '.sock'!r}); print(s.recv(9999))"  # it is told before it has asked
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", ask], capture_output=True, text=True)
    assert '"code":"forbidden"' in done.stdout


@as_root
def test_a_socket_that_another_user_holds_is_told_nothing(folder: Path) -> None:
    os.chmod(folder, 0o777)
    pose = f"{AS_NOBODY}s.bind({str(folder / 'l.db.sock')!r}); s.listen()\n"
    pose += "print('up', flush=True); print(s.accept()[0].recv(9))"
    with subprocess.Popen([sys.executable, "-c", pose], stdout=subprocess.PIPE, text=True) as poser:
        assert poser.stdout is not None
        assert poser.stdout.readline() == "up\n"
        with pytest.raises(ControlFault, match="another user"):
            call(str(folder / "l.db"), "user.list", {})
        assert poser.stdout.read() == "b''\n"


def test_an_answer_that_is_none_is_a_fault(folder: Path) -> None:
    reply = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n"
    reply += "print('up', flush=True)\n"
    for number, answer in enumerate((b"", b"{}\n", b"[]\n", b'{"error": 1}\n', b"\xff\n")):
        path = str(folder / f"l{number}.db")
        code = f"{reply}c = s.accept()[0]; c.recv(9999); c.sendall({answer!r}); c.close()"
        with subprocess.Popen(
            [sys.executable, "-c", code, path + ".sock"], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            with pytest.raises(ControlFault, match="without a usable answer"):
                call(path, "user.list", {})


async def test_tail_follows_the_log_until_the_server_stops(folder: Path) -> None:
    ledger_path = str(folder / "l.db")
    ledger = await open_ledger(ledger_path)
    log = Log(SystemClock(), fd=os.open(os.devnull, os.O_WRONLY))
    server = ControlServer(socket_path(ledger_path), ledger, Config, log=log)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(server.path)
    writer.write(b'{"verb": "tail"}\n')
    assert await reader.readline() == b'{"ok":{"following":true}}\n'
    log.request({"id": "req_1", "user": "bob"})
    log.event("debug", "noticed")
    lines = [json.loads(await reader.readline()) for _ in range(2)]
    assert [(line["event"], line.get("user")) for line in lines] == [("request", "bob"), ("noticed", None)]
    gone = await asyncio.open_unix_connection(server.path)
    gone[1].write(b'{"verb": "tail"}\n')
    await gone[0].readline()
    gone[1].close()  # a follower that leaves takes nothing with it
    log.event("info", "still here")
    assert json.loads(await reader.readline())["event"] == "still here"
    async with asyncio.timeout(2):
        await server.close()
        assert await reader.read() == b""
    writer.close()
    os.close(log._lines.fd)
    await ledger.close()


async def test_tail_where_there_is_no_log_says_so(path: str) -> None:
    with pytest.raises(AdminError, match="no log"):
        await asyncio.to_thread(lambda: next(follow(path), None))
    with pytest.raises(NotServing):
        next(follow(path + "x"), None)
