"""`/openapi.json`: the route table and what each endpoint declares, as one OpenAPI 3.1 document.

Owns: how a declaration reads in OpenAPI's words. Knows nothing of what an endpoint does: who wants the document to say
more, declares more. Built at the first request for it, once a process.
"""

import hashlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any

import falcon
import msgspec
from msgspec import Meta

from picloud import __version__
from picloud.api.openapi_answers import Responses
from picloud.api.openapi_schemas import Json, Schemas
from picloud.api.problems import TABLE
from picloud.auth import Scope
from picloud.messages import conditions
from picloud.messages.endpoint import Answer, Endpoint, declared, endpoint
from picloud.messages.reading import MEDIA_JSON, MERGE_PATCH
from picloud.messages.wrong import SCRIPT_PATTERN
from picloud.model import VARIABLE_NAME

Routes = Sequence[tuple[str, Any]]
"""Path template, and what declares it: a resource or its class."""
Operation = tuple[str, str, object, Endpoint]
"""Path template, method in lower case, what declares it, declaration."""

PATH_PARAMETERS: dict[str, Any] = {
    "script": Annotated[str, Meta(pattern=SCRIPT_PATTERN, description="the script's name")],
    "number": Annotated[int, Meta(ge=1, le=999_999_999, description="the version's number")],
    "route": Annotated[int, Meta(ge=1, le=999_999_999, description="the route's id")],
    "event_number": Annotated[int, Meta(ge=1, le=10**18 - 1, description="the event's number")],
    "subscription": Annotated[int, Meta(ge=1, le=999_999_999, description="the subscription's id")],
    "identifier": Annotated[str, Meta(extra_json_schema={"format": "uuid"}, description="the invocation's id")],
    "job": Annotated[str, Meta(extra_json_schema={"format": "uuid"}, description="the job's id")],
    "letter": Annotated[str, Meta(extra_json_schema={"format": "uuid"}, description="the job's id")],
    "key": Annotated[
        str,
        Meta(
            description="1 to 512 bytes of UTF-8, slashes too", extra_json_schema={"minLength": 1, "format": "kv-key"}
        ),
    ],
    "token": Annotated[int, Meta(ge=1, le=999_999_999, description="the token's number")],
    "secret": Annotated[str, Meta(pattern=f"^{VARIABLE_NAME.pattern}$", description="the secret's name")],
    "schedule": Annotated[str, Meta(pattern=SCRIPT_PATTERN, description="the schedule's name")],
    "name": Annotated[str, Meta(extra_json_schema={"enum": sorted(TABLE)}, description="the problem's name")],
}

_METHODS = ("get", "put", "post", "patch", "delete")
_ABOUT = """Upload a Lua script, get an HTTP endpoint.

Scripts answer any method at `/fn/NAME`, at every path below it, and at their routes. What they take and answer is
theirs to say, and no part of this document.

Times are RFC 3339 in UTC, sizes in bytes, durations in ms. Every `GET` answers `HEAD` too, and every path `OPTIONS`;
any other method is 405 `method-not-allowed` with `Allow`. Every error is a problem as RFC 9457 has it."""
_SECURITY = "A token of `picloud token add`, or the one in `PICLOUD_DATA/admin.token`. `admin` holds all other scopes."


class DocumentResource:
    """`/openapi.json`"""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    @endpoint(
        None,
        headers=conditions.IF_CHANGED,
        answers={
            200: Answer(Json, headers={"ETag": str, "Cache-Control": str}),
            304: Answer(headers={"ETag": str, "Cache-Control": str}),
        },
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """This document: the API as OpenAPI 3.1."""
        data, tag = self._encoded
        resp.set_header("etag", tag)
        resp.set_header("cache-control", "no-cache")  # keep it, and ask whether it is still good
        if conditions.is_known(req, tag):
            resp.status = 304
            return
        resp.content_type = "application/json"
        resp.data = data

    @cached_property
    def _encoded(self) -> tuple[bytes, str]:
        data = msgspec.json.encode(document(self._routes))
        return data, f'"{hashlib.sha256(data).hexdigest()[:16]}"'


def operations(routes: Routes) -> Iterator[Operation]:
    """Everything that is declared, in the order of the table."""
    for template, resource in routes:
        path = template.replace(":path}", "}")  # Falcon's word for one that takes slashes
        for method in _METHODS:
            if told := declared(resource, method):
                yield path, method, resource, told


def problems_of(path: str, method: str, told: Endpoint) -> list[str]:
    """The names of all problems that an endpoint may answer with, those included that follow from its declaration."""
    names = {"internal-error", "overloaded", *told.problems}
    if told.scope is not None:
        names |= {"unauthorized", "forbidden", "database-unavailable", "invalid-request"}
    if told.scope in (Scope.DEPLOY, Scope.ADMIN) and method != "get":
        names |= {"conflict", "outcome-unknown"}  # of a transaction that writes
    if told.query is not None:
        names.add("invalid-request")
    if told.body is not None or told.media:
        names |= {"body-too-large", "invalid-request"}
    if told.body is not None:
        names.add("unsupported-media-type")
    if "{" in path:
        names.add("not-found")
    return sorted(names, key=list(TABLE).index)


def document(routes: Routes) -> Json:
    """OpenAPI 3.1 of the routes."""
    told = list(operations(routes))
    schemas = Schemas()
    answers = Responses(schemas)
    paths: Json = {}
    for path, method, resource, declaration in told:
        paths.setdefault(path, {})[method] = _operation(path, method, resource, declaration, schemas, answers)
    return {
        "openapi": "3.1.0",
        "info": {"title": "PiCloud", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(_tag(path) for path, *_ in told)],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": answers.components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": _SECURITY}},
        },
    }


def _operation(path: str, method: str, resource: object, told: Endpoint, schemas: Schemas, answers: Responses) -> Json:
    summary, _, more = inspect.getdoc(getattr(resource, f"on_{method}")).partition("\n")  # type: ignore[union-attr]
    needs = f"Needs a token with the scope `{told.scope}`." if told.scope else "Needs no token."
    found: Json = {
        "operationId": f"{method}_{_snake(_name(resource).removesuffix('Resource'))}",
        "tags": [_tag(path)],
        "summary": summary,
        "description": "\n\n".join(filter(None, (more.strip(), needs))),
        "security": [{"token": [str(told.scope)]}] if told.scope else [],
        "parameters": [*_parameters(path, told, schemas)],
        "responses": answers.of(told, problems_of(path, method, told)),
    }
    if told.body is not None:
        types = [MEDIA_JSON, MERGE_PATCH] if method == "patch" else [MEDIA_JSON]
        found["requestBody"] = {"required": True, "content": _media(dict.fromkeys(types, told.body), schemas)}
    elif told.media:
        found["requestBody"] = {"required": told.body_required, "content": _media(told.media, schemas)}
    return found


def _parameters(path: str, told: Endpoint, schemas: Schemas) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", path):
        yield _parameter("path", name, schemas.of(PATH_PARAMETERS[name]), required=True)
    for field in msgspec.structs.fields(told.query) if told.query else ():
        schema = schemas.optional(field.type)
        if field.default not in (msgspec.NODEFAULT, None, "", msgspec.UNSET):
            schema["default"] = field.default
        yield _parameter("query", field.encode_name, schema, required=field.required)
    for name, kind in told.headers.items():
        yield _parameter("header", name, schemas.of(kind), required=False)


def _parameter(place: str, name: str, schema: Json, *, required: bool) -> Json:
    meaning = {"description": schema.pop("description")} if "description" in schema else {}
    return {"name": name, "in": place, "required": required, **meaning, "schema": schema}


def _media(bodies: Mapping[str, Any], schemas: Schemas) -> Json:
    return {name: {} if kind is None else {"schema": schemas.of(kind)} for name, kind in bodies.items()}


def _tag(path: str) -> str:
    """The noun that a path is about."""
    words = path.removeprefix("/api/v1/").split("/")
    return words[0] if path.startswith("/api/") else "server"


def _name(resource: object) -> str:
    return (resource if isinstance(resource, type) else type(resource)).__name__


def _snake(camel: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", camel).lower()
