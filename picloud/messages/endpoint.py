"""What an endpoint declares of itself: who may ask, what it takes, what it answers.

One declaration is enforced before the responder runs, and is what the OpenAPI document and the documentation say.
A responder without one cannot be reached: `picloud.api.middleware` denies by default.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import falcon

from picloud.auth import Principal, Scope
from picloud.errors import Forbidden
from picloud.messages.reading import Query, read_json, read_query

Responder = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The declaration of one method of one path."""

    scope: Scope
    answers: Mapping[int, Any]  # status → type of its JSON; None: no body
    problems: tuple[str, ...] = ()  # names, beside those that every endpoint may answer with
    query: type[Query] | None = None  # given to the responder as `query`
    body: Any = None  # type of a JSON body, given to the responder as `body`
    media: tuple[str, ...] = ()  # content types of a body that the responder reads itself
    headers: Mapping[str, str] | None = None  # request headers that it heeds: name → meaning
    by_script: bool = False  # it looks itself at which scripts the token is limited to


def endpoint(scope: Scope, **declared: Any) -> Callable[[Responder], Responder]:
    """Declare a responder's Endpoint: its scope and its script are required, its query and body read, in this order.

    A path's `{script}` is one that the token must be good for; a token that is limited to scripts opens no endpoint
    without one, unless it says ``by_script``.
    """
    told = Endpoint(scope, **declared)

    def declare(responder: Responder) -> Responder:
        @functools.wraps(responder)
        def guarded(self: Any, req: falcon.Request, resp: falcon.Response, **params: Any) -> None:
            _admit(told, req.context.principal, params.get("script"))
            if told.query is not None:
                params["query"] = read_query(req, told.query)
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


def _admit(told: Endpoint, principal: Principal, script: str | None) -> None:
    principal.require(told.scope, script)
    if script is None and principal.scripts is not None and not told.by_script:
        raise Forbidden("this token is limited to scripts, and this is about more than a script")
