"""``/openapi.json``: OpenAPI 3.1 of the admin API, made from the table of routes and the Structs that they name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson
from starlette.types import Receive, Scope, Send

from streamrouter.errors import Refusal
from streamrouter.web.console.answers import books
from streamrouter.web.console.answers.server import LiveEvent
from streamrouter.web.console.route import SAFETY, Route
from streamrouter.web.replies import send_body

API_VERSION = "1"  # of these routes, not of the program: who is not signed in learns nothing of that
_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)\}")
_TITLE = "streamrouter admin API"
_ABOUT = "Times are ISO 8601 in UTC, amounts are decimal strings in USD; see docs/admin-api.md."


class ErrorDetail(books.Answer, frozen=True):
    """What went wrong: ``code`` is for programs, ``message`` for people, ``param`` the field at fault."""

    message: str
    type: str
    code: str
    param: str | None
    request_id: str


class Error(books.Answer, frozen=True):
    """Every answer that is not a success, in OpenAI's shape."""

    error: ErrorDetail


def document(routes: Sequence[Route], base: str) -> dict[str, Any]:
    """The whole document, as JSON values."""
    bodies = [route.body for route in routes if route.body is not None]
    kinds = list(dict.fromkeys([Error, *bodies, *(route.answer for route in routes if route.answer is not None)]))
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    refs: dict[Any, dict[str, Any]] = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": _TITLE, "version": API_VERSION, "description": _ABOUT},
        "servers": [{"url": base}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "An admin token (sra_…)."},
                "session": {"type": "apiKey", "in": "cookie", "name": "streamrouter_session"},
            },
        },
    }


def _operation(route: Route, refs: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    words = [word.strip("{}") for word in route.path.strip("/").split("/")]
    found: dict[str, Any] = {
        "operationId": "_".join([route.method.lower(), *words]).replace("-", "_"),
        "summary": route.summary,
        "tags": [words[0]],
        "description": f"Role: {route.role}.",
        "security": [] if route.role == "anyone" else [{"session": []}, {"token": []}],
        "responses": {
            str(route.status): _success(route, refs),
            "default": {"description": "Refused, or failed.", "content": {"application/json": {"schema": refs[Error]}}},
        },
    }
    parameters = [*_in_path(route), *_in_query(route), *([_IDEMPOTENCY_KEY] if route.once else [])]
    if parameters:
        found["parameters"] = parameters
    if route.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": refs[route.body]}}}
    return found


def _success(route: Route, refs: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    schema = refs.get(route.answer, {})
    if route.answer is LiveEvent:
        return {"description": "One event a second.", "content": {"text/event-stream": {"schema": schema}}}
    if route.status == 204:
        return {"description": "Done."}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if route.query is not None and "format" in route.query.__struct_fields__:
        content["text/csv"] = {"schema": {"type": "string"}}
    return {"description": "Done.", "content": content}


_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same one again does nothing and gives the earlier result.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def _in_path(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]


def _in_query(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    _, components = msgspec.json.schema_components([route.query], ref_template=_REF)
    schema = components[route.query.__name__]
    required = set(schema.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": kind}
        for name, kind in schema["properties"].items()
    ]


class OpenApi:
    """The document as an ASGI application, made when it is first asked for."""

    def __init__(self, routes: Sequence[Route], base: str) -> None:
        self._routes = routes
        self._base = base
        self._body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/openapi.json" or scope["method"] not in ("GET", "HEAD"):
            known = scope["path"] == "/openapi.json"
            code, allow = ("method_not_allowed", "GET, HEAD") if known else ("not_found", "")
            raise Refusal(code, "GET /openapi.json is what is here.", allow=allow)
        if not self._body:
            self._body = orjson.dumps(document(self._routes, self._base))
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-cache"), *SAFETY]
        await send_body(send, 200, self._body, headers)
