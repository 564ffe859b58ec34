"""The answers of an endpoint in OpenAPI's words: its own, and the problems that may come instead."""

from collections import defaultdict
from collections.abc import Iterable
from http import HTTPStatus
from typing import Annotated, Any

from msgspec import Meta

from picloud.api.openapi_schemas import Json, Schemas
from picloud.api.problems import MEDIA_TYPE, TABLE, ProblemShape, of_status
from picloud.messages.endpoint import Answer, Endpoint

OF_HTTP = (400, 408, 414, 417, 431, 501, 505)
"""Statuses of what is no HTTP that is taken here: no endpoint is asked."""

DEFAULT = "default"
"""Instead of a status: the answer may be of any."""

_PROBLEM_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": Annotated[str, Meta(description="`Bearer`")]},
    405: {"Allow": Annotated[str, Meta(description="the methods that the path takes")]},
    429: {"Retry-After": Annotated[int, Meta(description="s to wait", ge=0)]},
    503: {"Retry-After": Annotated[int, Meta(description="s to wait", ge=0)]},
}


def answers_of(told: Endpoint) -> dict[str, Answer]:
    """What an endpoint answers: status, or DEFAULT → answer."""
    return {
        str(status): answer if isinstance(answer, Answer) else Answer(answer) for status, answer in told.answers.items()
    }


class Responses:
    """The Responses of one document; those that are nothing but problems are told once, in `components`."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self.components: Json = {}

    def of(self, told: Endpoint, problems: Iterable[str]) -> Json:
        """Status → Response, for everything that may come."""
        own = {status: _answer(status, answer, self._schemas) for status, answer in answers_of(told).items()}
        found = dict(own)
        for status, names in _by_status(problems).items():
            either = own.get(str(status), own.get(DEFAULT))
            found[str(status)] = self._problems(status, names, either)
        return dict(sorted(found.items()))

    def _problems(self, status: int, names: list[str], either: Json | None) -> Json:
        problem = _problem(status, names, self._schemas)
        if either is not None:
            return _merged(problem, either)
        key = ".".join([str(status), *names])
        self.components[key] = problem
        return {"$ref": f"#/components/responses/{key}"}


def _by_status(problems: Iterable[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for name in problems:
        found[TABLE[name].status].append(name)
    for status in OF_HTTP:
        found[status].append(of_status(status).name)
    return found


def _answer(status: str, answer: Answer, schemas: Schemas) -> Json:
    meaning = answer.meaning or HTTPStatus(int(status)).phrase
    content: Json = {} if answer.json is None else {"application/json": {"schema": _schema(answer, schemas)}}
    return _response(meaning, content | {name: {} for name in answer.media}, answer.headers, schemas)


def _schema(answer: Answer, schemas: Schemas) -> Json:
    return {"anyOf": [schemas.of(answer.json), {}]} if answer.or_any else schemas.of(answer.json)


def _problem(status: int, names: list[str], schemas: Schemas) -> Json:
    meaning = " ".join(f"`{name}`: {TABLE[name].when}" for name in names)
    exactly = {"type": {"enum": [f"/problems/{name}" for name in names]}, "status": {"const": status}}
    schema = {**schemas.of(ProblemShape), "properties": exactly}
    return _response(meaning, {MEDIA_TYPE: {"schema": schema}}, _PROBLEM_HEADERS.get(status, {}), schemas)


def _response(meaning: str, content: Json, headers: Any, schemas: Schemas) -> Json:
    told = {name: _header(schemas.of(kind)) for name, kind in headers.items()}
    return {"description": meaning, **({"headers": told} if told else {}), **({"content": content} if content else {})}


def _header(schema: Json) -> Json:
    meaning = {"description": schema.pop("description")} if "description" in schema else {}
    return {**meaning, "required": True, "schema": schema}


def _merged(problem: Json, own: Json | None) -> Json:
    """One status for a problem and for an answer of the endpoint's own; a header is sure if both have it."""
    if own is None:
        return problem
    headers = {**own.get("headers", {}), **problem.get("headers", {})}
    sure = own.get("headers", {}).keys() & problem.get("headers", {}).keys()
    return {
        "description": f"{own['description']}. Or {problem['description']}",
        "headers": {name: {**header, "required": name in sure} for name, header in headers.items()},
        "content": own.get("content", {}) | problem["content"],
    }
