"""The document is valid OpenAPI 3.1, and says of every route what is true of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from streamrouter.web.console.frame import BASE
from streamrouter.web.console.openapi import OpenApi, document
from streamrouter.web.console.table import ROUTES
from tests.support.admin_api import AdminApi, admin_api
from tests.support.asgi import ask

DOCUMENT = document(ROUTES, BASE)
OPERATIONS = [(route, DOCUMENT["paths"][route.path][route.method.lower()]) for route in ROUTES]


def test_it_is_valid() -> None:
    validate(DOCUMENT)


def test_it_holds_every_route_and_nothing_else() -> None:
    told = {(path, method.upper()) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert told == {(route.path, route.method) for route in ROUTES}
    ids = [operation["operationId"] for _, operation in OPERATIONS]
    assert len(set(ids)) == len(ids)


def test_what_an_operation_says() -> None:
    for route, operation in OPERATIONS:
        assert operation["summary"] == route.summary
        assert (operation["security"] == []) == (route.role == "anyone")
        assert ("requestBody" in operation) == (route.body is not None)
        names = {parameter["name"] for parameter in operation.get("parameters", ())}
        query = set() if route.query is None else set(route.query.__struct_fields__)
        path = {step[1:-1] for step in route.path.split("/") if step.startswith("{")}
        assert names == query | path | ({"Idempotency-Key"} if route.once else set())
        assert str(route.status) in operation["responses"]


def test_every_answer_is_described() -> None:
    bare = [f"{route.method} {route.path}" for route in ROUTES if route.answer is None and route.status != 204]
    assert bare == []


def test_bodies_refuse_what_they_do_not_know() -> None:
    for route, operation in OPERATIONS:
        if route.body is not None:
            ref = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            schema = DOCUMENT["components"]["schemas"][ref.rpartition("/")[2]]
            assert schema["additionalProperties"] is False


@pytest.fixture
def schema_of() -> Any:
    def schema(method: str, path: str) -> jsonschema.Draft202012Validator:
        success = DOCUMENT["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
        return jsonschema.Draft202012Validator({**success, "components": DOCUMENT["components"]})

    return schema


async def test_real_answers_are_as_described(tmp_path: Path, schema_of: Any) -> None:
    async with admin_api(tmp_path) as api:
        [request_id] = await api.spend()
        await api.post("/users/team-a/topups", {"amount": "1"}, status=201)
        values = {"{id}": request_id, "{user}": "team-a"}
        for route in ROUTES:
            if route.method == "GET" and route.path != "/live" and route.answer is not None:
                path = route.path
                for name, value in values.items():
                    path = path.replace(name, value)
                who = "member" if route.path.startswith("/me") else "admin"
                schema_of("get", route.path).validate(await api.get(path, who=who))
        await _refusals_are_as_described(api)


async def _refusals_are_as_described(api: AdminApi) -> None:
    error = {"$ref": "#/components/schemas/Error", "components": DOCUMENT["components"]}
    for path in ("/users/nobody", "/nowhere", "/requests?"):
        answer = await api.call("GET", path, who="nobody")
        jsonschema.Draft202012Validator(error).validate(answer.json)


async def test_it_is_served_to_everybody_and_only_there(tmp_path: Path) -> None:
    async with admin_api(tmp_path) as api:
        answer = await ask(api.rig.app.asgi, "GET", "/openapi.json")
        assert (answer.status, answer.json) == (200, DOCUMENT)
        for method, path, status in (("POST", "/openapi.json", 405), ("GET", "/openapi.json/x", 404)):
            refused = await ask(api.rig.app.asgi, method, path)
            assert refused.status == status
            assert refused.headers["x-request-id"] == refused.json["error"]["request_id"] != ""
    assert (await ask(OpenApi((), BASE), "GET", "/openapi.json")).json["paths"] == {}
