"""What an endpoint declares of itself: who may ask, what it takes, what it answers.

One declaration is enforced before the responder runs, and is what the OpenAPI document and the documentation say.
A responder without one cannot be reached: `picloud.api.middleware` denies by default.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import falcon

from picloud.auth import Principal, Scope
from picloud.errors import Forbidden
from picloud.messages.reading import Query, read_json, read_query

Responder = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, where the type of its JSON does not say it all."""

    json: Any = None  # type of its JSON; None: it has none
    or_any: bool = False  # whether it may be any other JSON, too
    media: tuple[str, ...] = ()  # content types beside JSON
    headers: Mapping[str, Any] = field(default_factory=dict)  # that it always has: name → type, with its meaning
    meaning: str = ""  # beside what the status says


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The declaration of one method of one path."""

    scope: Scope | None  # None: anyone may ask
    answers: Mapping[int | Literal["default"], Any]  # status → type of its JSON, an Answer, None for no body
    problems: tuple[str, ...] = ()  # names, beside those that follow from what else is declared here
    query: type[Query] | None = None  # given to the responder as `query`
    body: Any = None  # type of a JSON body, given to the responder as `body`; any other content type is 415
    media: Mapping[str, Any] = field(
        default_factory=dict
    )  # bodies it reads itself: content type → type, None for bytes
    body_required: bool = True  # whether there must be one, if it takes one
    headers: Mapping[str, Any] = field(default_factory=dict)  # request headers that it heeds: name → type
    by_script: bool = False  # it looks itself at which scripts the token is limited to


def endpoint(scope: Scope | None, **declared: Any) -> Callable[[Responder], Responder]:
    """Declare a responder's Endpoint: its scope and its script are required, its query and body read, in this order.

    A path's `{script}` is one that the token must be good for; a token that is limited to scripts opens no endpoint
    without one, unless it says ``by_script``. An endpoint with a scope refuses a query that it does not declare.
    """
    told = Endpoint(scope, **declared)

    def declare(responder: Responder) -> Responder:
        @functools.wraps(responder)
        def guarded(self: Any, req: falcon.Request, resp: falcon.Response, **params: Any) -> None:
            if told.scope is not None:
                _admit(told, told.scope, req.context.principal, params.get("script"))
            if told.query is not None:
                params["query"] = read_query(req, told.query)
            elif told.scope is not None:
                read_query(req, Query)
            if told.body is not None:
                params["body"] = read_json(req, told.body)
            responder(self, req, resp, **params)

        guarded.endpoint = told  # type: ignore[attr-defined] # read by `declared`
        return guarded

    return declare


def declared(resource: object, method: str) -> Endpoint | None:
    """What a resource declares for an HTTP method."""
    found: Endpoint | None = getattr(getattr(resource, f"on_{method.lower()}", None), "endpoint", None)
    return found


def _admit(told: Endpoint, scope: Scope, principal: Principal, script: str | None) -> None:
    principal.require(scope, script)
    if script is None and principal.scripts is not None and not told.by_script:
        raise Forbidden("this token is limited to scripts, and this is about more than a script")
