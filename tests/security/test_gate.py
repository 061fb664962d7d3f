"""What HTTP is let in, what strangers are told, whose names are believed (reliability.md S4, S9, S10, S19, S20)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import streamrouter
from tests.support.inside import ClientEnd, ScriptedTransport, inside
from tests.support.rig import PROVIDER_KEY, Rig, call

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def get(path: str, *headers: str, method: str = "GET", version: str = "HTTP/1.1", host: str = "Host: x") -> bytes:
    lines = [f"{method} {path} {version}", *([host] if host else []), *headers, "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")


# Requests without a key for something that needs one, and the statuses that are allowed.
TRICKS: dict[str, tuple[bytes, set[int]]] = {
    "plainly": (get("/v1/models"), {401}),
    "a host with a path": (get("/v1/models", host="Host: a/?x="), {401}),
    "a host that is a path": (get("/v1/models", host="Host: /healthz?"), {401}),
    "a host with a fragment": (get("/v1/models", host="Host: x/healthz#"), {401}),
    "two hosts": (get("/v1/models", "Host: y"), {400}),
    "no host": (get("/v1/models", host=""), {400}),
    "a target with a scheme": (get("http://x/healthz"), {400}),
    "a target with a scheme and a key's route": (get("http://x/v1/models"), {400}),
    "an authority": (get("x:80", method="CONNECT"), {400, 405}),
    "a star": (get("*", method="OPTIONS"), {400}),
    "two slashes": (get("//v1/models"), {400}),
    "two slashes and a host": (get("//x/v1/models"), {400}),
    "up and down": (get("/healthz/../v1/models"), {400}),
    "up, escaped": (get("/healthz/%2e%2e/v1/models"), {400}),
    "up, escaped with the slash": (get("/healthz%2f..%2fv1%2fmodels"), {400}),
    "a dot": (get("/./v1/models"), {400}),
    "escaped letters": (get("/v1/%6dodels"), {401}),
    "an escaped slash": (get("/v1%2fmodels"), {401, 404}),
    "a parameter": (get("/v1/models;x"), {401, 404}),
    "a parameter above": (get("/v1;x/models"), {404}),
    "a trailing slash": (get("/v1/models/"), {401, 404}),
    "capitals": (get("/V1/MODELS"), {404}),
    "a backslash": (get("/v1\\models"), {400}),
    "a NUL": (get("/v1/models%00"), {400}),
    "a line break": (get("/v1/models%0d%0aX: y"), {400}),
    "a query": (get("/v1/models?api_key=x&key=y"), {401}),
    "a long path": (get("/v1/" + "a" * 5000), {400}),
    "a fullwidth slash": (get("/v1/%ef%bc%8fmodels"), {401, 404}),
    "bad UTF-8": (get("/v1/%ff"), {400, 401, 404}),
    "lower case": (get("/v1/models", method="get"), {400, 405}),
    "TRACE": (get("/v1/models", method="TRACE"), {400, 405}),
    "a method of ours": (get("/v1/models", method="REVOKE"), {400, 405}),
    "HEAD": (get("/v1/models", method="HEAD"), {401, 405}),
    "method override": (get("/v1/models", "X-HTTP-Method-Override: POST"), {401}),
    "HTTP/9.9": (get("/v1/models", version="HTTP/9.9"), {400, 401, 505}),
    "HTTP/2 in clear": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 405, 505}),
    "an upgrade": (get("/healthz", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), {400}),
    "a WebSocket": (get("/v1/models", "Upgrade: websocket", "Sec-WebSocket-Version: 13"), {400, 401, 403}),
    "many headers": (get("/healthz", *[f"X-{i}: y" for i in range(120)]), {400}),
    "long headers": (get("/healthz", "X-Long: " + "y" * 20_000), {400, 431}),
    "longer headers": (get("/healthz", "X-Long: " + "y" * 100_000), {400, 431}),
    "a header line folded": (get("/v1/models", "X-A: b\r\n Authorization: Bearer x"), {400, 401}),
    "a NUL in a header": (get("/v1/models", "X-A: b\x00c"), {400, 401}),
    "a space before the colon": (get("/v1/models", "Authorization : Bearer x"), {400}),
    "two authorizations": (get("/v1/models", "Authorization: Bearer x", "Authorization: Bearer y"), {400}),
    "Basic": (get("/v1/models", "Authorization: Basic eDp5"), {401}),
    "a bearer of nothing": (get("/v1/models", "Authorization: Bearer "), {401}),
    "a long bearer": (get("/v1/models", "Authorization: Bearer " + "x" * 9000), {401}),
    "SQL in the bearer": (get("/v1/models", "Authorization: Bearer ' OR '1'='1"), {401}),
    "SQL in x-api-key": (get("/v1/models", "X-Api-Key: x' UNION SELECT hash FROM api_key --"), {401}),
    "bytes in the bearer": (get("/v1/models", "Authorization: Bearer \xff\xfe"), {401}),
    "a forwarded user": (get("/v1/models", "X-Forwarded-User: default", "X-Forwarded-For: 127.0.0.1"), {401}),
}


# -- S4: paths and headers that would get past the gate ---------------------------------------------------------------


@pytest.mark.parametrize("name", TRICKS)
async def test_no_trick_gets_past_the_gate(guarded: Rig, name: str) -> None:
    data, allowed = TRICKS[name]
    got = await guarded.raw(data, timeout_s=1.5)
    found = [int(status) for status in STATUS.findall(got)]
    assert len(found) == 1, got
    assert found[0] in allowed, got
    assert b'"object"' not in got
    assert guarded.server.get("/healthz")[0] == 200


async def test_a_key_is_right_only_where_it_is_meant(guarded: Rig) -> None:
    key = guarded.server.key
    for ours in (
        f"Authorization: Bearer {key}",
        f"authorization: bearer  {key}",
        f"X-API-Key: {key}",
        f"Api-Key: {key}",
    ):
        assert b" 200 " in (await guarded.raw(get("/v1/models", ours)))[:20]
    for other in (f"Authorization: {key}", f"Cookie: key={key}", f"Proxy-Authorization: Bearer {key}", f"X-Key: {key}"):
        assert b" 401 " in (await guarded.raw(get("/v1/models", other)))[:20]
    assert b" 401 " in (await guarded.raw(get(f"/v1/models?api_key={key}&access_token={key}")))[:20]
    for near in (key[:-1], key + "x", key.upper(), key[3:], key[:20]):
        assert b" 401 " in (await guarded.raw(get("/v1/models", f"Authorization: Bearer {near}")))[:20]


# -- S9: what strangers are told -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/nothing", "/v1/chat/completions", "/v1/models", "/", "/%00"])
async def test_strangers_learn_nothing(guarded: Rig, path: str) -> None:
    got = (await guarded.raw(get(path))).decode()
    telling = (
        *(streamrouter.__version__, "hypercorn", "python", "starlette", "h11", "Traceback", "server:", "x-powered"),
        *(
            PROVIDER_KEY,
            guarded.server.key,
            str(guarded.server.directory),
            guarded.upstream.url,
            "ledger.db",
            "up-model",
        ),
    )
    assert [word for word in telling if word.lower() in got.lower()] == []


async def test_a_bug_is_a_clean_500(tmp_path: Path) -> None:
    class Buggy(ScriptedTransport):
        async def send(self, body: bytes, headers: Any, *, stream: bool) -> Any:
            raise RuntimeError("/etc/secret at http://10.0.0.1")

    for stream in (True, False):
        async with inside(tmp_path, Buggy("", []), bugs=True) as app:
            client = ClientEnd(call(stream))
            await app.app.asgi(app.scope(), client.receive, client.send)
            error = json.loads(client.got)["error"]
            assert error.keys() == {"message", "type", "param", "code", "request_id"}
            assert (error["code"], error["type"]) == ("internal_error", "api_error")
            assert b"secret" not in client.got
            assert (await app.check())["state"] == "settled"
        (tmp_path / "ledger.db").rename(tmp_path / f"{stream}.db")


# -- S10: a key is shown once --------------------------------------------------------------------------------------


async def test_a_key_is_shown_once_and_stored_nowhere(guarded: Rig) -> None:
    key = guarded.user()
    assert (await guarded.post(call(), key)).status == 200
    shown = json.dumps([guarded.admin("user.list"), guarded.admin("key.list", user=guarded.last_user)])
    shown += json.dumps(guarded.usage(guarded.last_user)) + guarded.log() + guarded.server.get("/metrics")[1].decode()
    assert key not in shown
    assert key[-4:] in shown  # its display form
    for path in guarded.server.directory.iterdir():
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path


async def test_nothing_is_stored_by_those_in_between(guarded: Rig) -> None:
    for reply in [await guarded.post(call(True)), await guarded.post(call(False)), await guarded.post(b"{")]:
        assert "no-store" in reply.headers["cache-control"]
    async with guarded.client.get(guarded.server.url + "/models", headers=guarded.headers()) as response:
        assert "no-store" in response.headers["cache-control"]


# -- S19, S20: names that clients choose ---------------------------------------------------------------------------

IDS: dict[str, bool] = {
    "trace-1.2_3": True,
    "a" * 128: True,
    "a" * 129: False,
    "a" * 10_000: False,
    "a b": False,
    "grün": False,
    "x\ty": False,
    "a/b": False,
    "<script>": False,
    '{"a":1}': False,
    "%s%n": False,
    "\x1b[31mred": False,
}


@pytest.mark.parametrize("header", ["X-Request-Id", "X-Client-Request-Id", "Idempotency-Key"])
@pytest.mark.parametrize("value", IDS, ids=range(len(IDS)))
async def test_a_clients_id_is_never_ours(guarded: Rig, header: str, value: str) -> None:
    body = json.dumps(call(False)).encode()
    data = guarded.http(body, extra="Connection: close\r\n").replace(b"Host: x", b"Host: x\r\nX-Mark: y", 1)
    data = data.replace(b"X-Mark: y", f"{header}: {value}".encode())
    got = await guarded.raw(data)
    ids = re.findall(rb"\r\nx-request-id: ([^\r]*)\r\n", got)
    if STATUS.findall(got) == [b"400"]:  # not HTTP any more
        assert not IDS[value]
        return
    assert STATUS.findall(got) == [b"200"]
    assert re.fullmatch(rb"req_[0-9a-z]{26}", ids[0])
    echoed = re.findall(rb"\r\nx-client-request-id: ([^\r]*)\r\n", got)
    assert echoed == ([value.encode()] if IDS[value] and header != "Idempotency-Key" else [])
    assert guarded.seen[-1].headers["x-request-id"] == ids[0].decode()
    assert guarded.hold(ids[0].decode())["state"] == "settled"


async def test_two_ids_and_none_are_fine(guarded: Rig) -> None:
    reply = await guarded.post(call(), headers={"X-Request-Id": "one", "x-client-request-id": "two"})
    assert reply.headers["x-client-request-id"] == "two"


async def test_one_line_per_event_whatever_is_logged(guarded: Rig) -> None:
    hostile = ["\n{}", "\x1b[31m", "\u202e", "%s%n", "a" * 10_000, "\u2028", "\x00", "\r\n"]
    for text in hostile:
        await guarded.post(call(model=text))
        await guarded.post(call(messages=text, user=text))
        agent = "".join(c for c in text if c.isascii() and c.isprintable())
        await guarded.post(call(), headers={"User-Agent": agent})
    lines = guarded.log().split("\n")
    assert lines.pop() == ""
    for line in lines:
        fields = json.loads(line)
        assert {"time", "level", "event"} <= fields.keys()
        assert all(len(value) <= 256 for value in fields.values() if isinstance(value, str))
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e]", "".join(map(str, fields.values())))
