"""The frame by itself: what a route is given, what leaves, and in which order things are refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from streamrouter.admin.desk import AdminError
from streamrouter.errors import Refusal
from streamrouter.web.console.decoding import MOST_BODY_BYTES
from streamrouter.web.console.frame import AdminApi
from streamrouter.web.console.route import Body, Context, Reply, Route, Site
from streamrouter.web.replies import send_json
from tests.support.asgi import Answer, Rig, ask, running
from tests.support.console import token

JSON = ("content-type", "application/json")


class Word(Body, frozen=True):
    word: str = ""


async def told(context: Context) -> Any:
    return {"path": context.path, "word": context.body.word, "ref": context.ref, "client": context.client}


async def asked(context: Context) -> Any:
    return {"path": context.path, "word": context.query.word}


async def sheet(context: Context) -> Reply:
    return Reply(content=b"a,b\n", media_type="text/csv", headers=[(b"x-more", b"1")])


async def accepted(context: Context) -> Reply:
    return Reply(value={}, status=202)


async def nothing(context: Context) -> None:
    return None


async def streamed(context: Context) -> Reply:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send_json(send, {"own": True}, status=206)

    return Reply(app=app)


async def breaks(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("a secret of ours")


async def fails(context: Context) -> Any:
    match context.path["how"]:
        case "refusal":
            raise Refusal("last_admin", "No.", param="role")
        case "bug":
            raise RuntimeError("a secret of ours")
        case "odd":
            return {"a": object()}
        case "late":
            return Reply(app=breaks)
        case code:
            raise AdminError(code, "No.")


ROUTES = (
    Route("GET", "/things/{id}", "anyone", asked, "A.", query=Word),
    Route("POST", "/things/{id}", "anyone", told, "B.", body=Word, status=201),
    Route("GET", "/things/all", "anyone", sheet, "C."),
    Route("POST", "/things/{id}/deep/{more}", "anyone", told, "D.", body=Word),
    Route("POST", "/accepted", "anyone", accepted, "E.", body=Word),
    Route("DELETE", "/things/{id}", "anyone", nothing, "F.", status=204),
    Route("GET", "/stream", "anyone", streamed, "G."),
    Route("GET", "/fails/{how}", "anyone", fails, "H."),
    Route("POST", "/guarded", "admin", nothing, "I.", body=Word),
)


class Api:
    def __init__(self, rig: Rig, site: Site) -> None:
        self.rig = rig
        self._api = AdminApi(site, ROUTES)

    async def __call__(self, method: str, path: str, *headers: tuple[str, str], **more: Any) -> Answer:
        return await ask(self._api, method, f"/admin/api{path}", headers, **more)


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running(tmp_path) as rig:
        yield Api(rig, rig.app.site)


async def test_a_route_gets_its_path_body_and_query(api: Api) -> None:
    made = await api("POST", "/things/a b", JSON, ("idempotency-key", "r-1"), body=b'{"word":"w"}', client="192.0.2.1")
    assert (made.status, made.json) == (
        201,
        {"path": {"id": "a b"}, "word": "w", "ref": "r-1", "client": "192.0.2.1"},
    )
    assert (await api("GET", "/things/x", query="word=w")).json == {"path": {"id": "x"}, "word": "w"}
    deep = await api("POST", "/things/x/deep/y", JSON)
    assert (deep.status, deep.json["path"]) == (200, {"id": "x", "more": "y"})


async def test_what_leaves(api: Api) -> None:
    csv = await api("GET", "/things/all")  # a segment written out wins
    assert (csv.body, csv.headers["content-type"], csv.headers["x-more"]) == (b"a,b\n", "text/csv", "1")
    assert (await api("POST", "/accepted", JSON)).status == 202
    gone = await api("DELETE", "/things/x")
    assert (gone.status, gone.body) == (204, b"")
    own = await api("GET", "/stream")
    assert (own.status, own.json) == (206, {"own": True})
    for answer in (csv, gone):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/things", 404), ("GET", "/things/", 404), ("PUT", "/things/x", 405), ("HEAD", "/things/x", 405)],
)
async def test_what_is_not_there(api: Api, method: str, path: str, status: int) -> None:
    assert (await api(method, path)).status == status


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("refusal", 409, "last_admin"),
        ("not_found", 404, "not_found"),
        ("unknown_verb", 404, "not_found"),
        ("invalid_arguments", 400, "invalid_value"),
        ("invalid_value", 400, "invalid_value"),
        ("ledger_unavailable", 503, "ledger_unavailable"),
        ("overloaded", 503, "overloaded"),
        ("ledger_wrong", 500, "internal_error"),
        ("bug", 500, "internal_error"),
        ("odd", 500, "internal_error"),
    ],
)
async def test_what_goes_wrong_becomes_http(api: Api, how: str, status: int, code: str) -> None:
    answer = await api("GET", f"/fails/{how}")
    assert (answer.status, answer.code) == (status, code)
    assert answer.json["error"]["request_id"] == answer.headers["x-request-id"]
    assert b"secret" not in answer.body
    assert any(line["event"] == "internal_error" for line in api.rig.lines()) is (how in ("bug", "odd"))


async def test_what_breaks_after_it_has_begun_is_told_and_not_answered_twice(api: Api) -> None:
    answer = await api("GET", "/fails/late")
    assert (answer.status, answer.body) == (200, b"")
    assert api.rig.lines()[-1]["event"] == "internal_error"


async def test_bodies_are_json_bounded_and_nowhere_else(api: Api) -> None:
    big = json.dumps({"word": "x" * MOST_BODY_BYTES}).encode()
    assert (await api("POST", "/accepted", JSON, body=big)).code == "request_too_large"
    for kind in ((), (("content-type", "text/plain"),), (("content-type", "application/x-www-form-urlencoded"),)):
        assert (await api("POST", "/accepted", *kind, body=b"{}")).code == "unsupported_media_type"
    squeezed = await api("POST", "/accepted", JSON, ("content-encoding", "gzip"), body=b"{}")
    assert squeezed.code == "unsupported_media_type"
    for method, path in (("GET", "/things/x"), ("DELETE", "/things/x")):
        for header in (("content-length", "2"), ("transfer-encoding", "chunked")):
            assert (await api(method, path, header, body=b"{}")).status == 400


async def test_nothing_is_read_of_a_body_before_its_sender_may_send_it(api: Api) -> None:
    refused = await api("POST", "/guarded", body=b"not JSON at all", leaves=True)
    assert (refused.status, refused.code) == (401, "not_signed_in")


async def test_a_client_that_leaves_is_answered_nothing(api: Api) -> None:
    assert (await api("POST", "/accepted", JSON, body=b"{", leaves=True)).status == 0
    assert api.rig.lines()[-1]["event"] == "client_left"


@pytest.mark.parametrize("key", ["", "a\tb", "x" * 256, "ä"])
async def test_what_is_no_idempotency_key(api: Api, key: str) -> None:
    refused = await api("POST", "/accepted", JSON, ("idempotency-key", key), body=b"{}")
    assert (refused.status, refused.json["error"]["param"]) == (400, "Idempotency-Key")


async def test_two_idempotency_keys_are_none(api: Api) -> None:
    twice = (("idempotency-key", "a"), ("idempotency-key", "b"))
    assert (await api("POST", "/accepted", JSON, *twice, body=b"{}")).status == 400


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "Basic YTpi", "Bearer " + "x" * 300, "bearer sra_no", "\xff"])
async def test_what_is_no_admin_token(api: Api, value: str) -> None:
    answer = await api("GET", "/things/x", ("authorization", value))
    assert (answer.status, answer.code) == (401, "not_signed_in")


async def test_an_admin_token_is_not_asked_where_it_comes_from(api: Api) -> None:
    """No browser sends one by itself."""
    headers = (await token(api.rig), JSON, ("origin", "https://elsewhere.example"), ("sec-fetch-site", "cross-site"))
    assert (await api("POST", "/guarded", *headers)).status == 204
