"""The OpenAPI document tells all that is declared, in words that hang together."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from picloud.api import openapi
from picloud.api.openapi_answers import OF_HTTP
from picloud.api.openapi_schemas import Schemas
from picloud.api.problems import TABLE
from picloud.errors import PlatformError
from picloud.messages.endpoint import Endpoint
from picloud.server import refusals
from tests.declarations import ROUTES

DOCUMENT = openapi.document(ROUTES)
OPERATIONS = [(path, method, it) for path, methods in DOCUMENT["paths"].items() for method, it in methods.items()]
DECLARED = list(openapi.operations(ROUTES))

each_operation = pytest.mark.parametrize(
    ("path", "method", "operation"), OPERATIONS, ids=[f"{method} {path}" for path, method, _ in OPERATIONS]
)


def everything_in(part: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON document."""
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from everything_in(inner)


def test_every_responder_of_every_path_is_told() -> None:
    responders = {
        (path.replace(":path}", "}"), name.removeprefix("on_"))
        for path, resource in ROUTES
        for name, _ in inspect.getmembers(resource, callable)
        if name.startswith("on_") and name != "on_head"
    }
    assert {(path, method) for path, method, _ in OPERATIONS} == responders


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert sorted(set(names)) == sorted(names)


@each_operation
def test_an_operation_says_what_it_is(path: str, method: str, operation: dict[str, Any]) -> None:
    assert operation["summary"].endswith("."), "one sentence in the docstring's first line"
    assert operation["description"]
    assert operation["tags"]
    assert re.findall(r"{(\w+)}", path) == [it["name"] for it in operation["parameters"] if it["in"] == "path"]


@each_operation
def test_what_needs_a_token_says_so(path: str, method: str, operation: dict[str, Any]) -> None:
    is_guarded = path.startswith("/api/") or path == "/metrics"
    assert bool(operation["security"]) == (is_guarded and path != "/api/v1/hosts")
    assert {"401", "403"} <= operation["responses"].keys() or not operation["security"]


@each_operation
def test_a_parameter_says_what_it_is(path: str, method: str, operation: dict[str, Any]) -> None:
    assert [it["name"] for it in operation["parameters"] if not it.get("description")] == []


def test_every_schema_says_what_it_is() -> None:
    assert [name for name, schema in DOCUMENT["components"]["schemas"].items() if not schema.get("description")] == []


def test_every_reference_leads_somewhere_and_nothing_is_there_for_nobody() -> None:
    referred = {it["$ref"] for it in everything_in(DOCUMENT) if "$ref" in it}
    there = {
        f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in DOCUMENT["components"][kind]
    }
    assert referred == there


def test_a_declared_problem_is_one_of_the_table() -> None:
    assert {name for *_, told in DECLARED for name in told.problems} <= TABLE.keys()


def test_what_is_no_http_is_told_with_the_statuses_of_the_server() -> None:
    theirs = {status for _, status, _ in refusals._DETAILS if status != 500}
    assert set(OF_HTTP) == theirs


def test_two_types_cannot_be_shown_under_one_name() -> None:
    schemas = Schemas()
    schemas.of(msgspec.defstruct("Twin", [("a", int)]))
    with pytest.raises(PlatformError, match="Twin"):
        schemas.of(msgspec.defstruct("TwinShape", [("b", int)]))


def test_a_problem_that_is_none_of_the_table_is_noticed() -> None:
    with pytest.raises(ValueError, match="no-such-problem"):
        openapi.problems_of("/", "get", Endpoint(None, {}, problems=("no-such-problem",)))
