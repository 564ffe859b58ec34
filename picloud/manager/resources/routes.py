"""`/api/v1/routes`: which paths lead to which script."""

from typing import Annotated

import falcon
import msgspec

from picloud.auth import Scope
from picloud.manager.routes import Routes
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.forms import form
from picloud.messages.reading import CURSOR, Paging, ScriptName, path_number
from picloud.messages.writing import Page, send_json, send_page
from picloud.model import Route
from picloud.patterns import ANY

_ID_MAX = 2**63 - 1


class RoutesQuery(Paging):
    """Which routes."""

    script: ScriptName | None = None
    after: Annotated[int, msgspec.Meta(ge=0, le=_ID_MAX, description=CURSOR)] = 0  # type: ignore[assignment]


class NewRoute(msgspec.Struct, forbid_unknown_fields=True):
    """A route to be."""

    path: Annotated[str, form("route-path", "literals, `{name}`, and as the last segment `{name*}`")]
    script: ScriptName
    method: Annotated[str, form("http-method", "`ANY`, or a method")] = ANY
    host: Annotated[str, form("host", "without port; null: every host")] | None = None


_ADDED = {201: Answer(Route, headers={"Location": Annotated[str, msgspec.Meta(description="the route's own path")]})}


class RoutesResource:
    """`/api/v1/routes`"""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    @endpoint(Scope.READ, query=RoutesQuery, answers={200: Page[Route]}, by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response, query: RoutesQuery) -> None:
        """List routes by id, of one script with `?script=`."""
        only = req.context.principal.scripts
        if query.script:
            req.context.principal.require(Scope.READ, query.script)
            only = {query.script}
        send_page(resp, self._routes.page(query.limit, query.after, only), query.limit, lambda it: it, lambda it: it.id)

    @endpoint(Scope.DEPLOY, body=NewRoute, answers=_ADDED, problems=("not-found", "conflict"), by_script=True)
    def on_post(self, req: falcon.Request, resp: falcon.Response, body: NewRoute) -> None:
        """Add a route: requests of this method, host and path run the script.

        `{name}` stands for one segment that is not empty, `{name*}` for all that is left, which may be nothing.
        The first segment is none of the platform's own, such as `api` and `fn`; `/` alone needs a host.
        `conflict`: one of this method, host and path is there, whatever its parameters are called.
        A token that is limited to scripts adds routes whose first segment is a word, and which meet no other script's.
        """
        req.context.principal.require(Scope.DEPLOY, body.script)
        route = self._routes.add(body.script, body.method, body.host, body.path, req.context.principal.scripts)
        resp.location = f"/api/v1/routes/{route.id}"
        send_json(resp, route, 201)


class RouteResource:
    """`/api/v1/routes/ID`"""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    @endpoint(Scope.READ, answers={200: Route}, problems=("not-found",), by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response, route: str) -> None:
        """One route."""
        send_json(resp, self._routes.get(path_number(route, "route"), req.context.principal.scripts))

    @endpoint(Scope.DEPLOY, answers={204: None}, problems=("not-found",), by_script=True)
    def on_delete(self, req: falcon.Request, resp: falcon.Response, route: str) -> None:
        """Drop a route: what it led to is not found there any more."""
        self._routes.delete(path_number(route, "route"), req.context.principal.scripts)
        resp.status = 204
