"""Who is asking: the bearer token of every request to the control plane."""

import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import falcon
from falcon.routing import CompiledRouter

from picloud.api.tables import Role, Table
from picloud.auth import TokenFinder, authenticate
from picloud.errors import NotFound, Overloaded, PlatformError, Unauthorized
from picloud.messages.endpoint import declared
from picloud.messages.reading import READING

GUARDED, _METRICS = "/api/", "/metrics"


class RawPaths(Protocol):
    """What goes by the path as it was sent."""

    def claims_root(self, req: falcon.Request) -> bool:
        """Whether `/` is a script's on the host that is asked."""

    def route(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer by the scripts' routes; NotFound."""


class ScriptsFirst:
    """Asks the scripts' routes before Falcon's router: for `/`, and where that would look past slashes."""

    def __init__(self, paths: RawPaths) -> None:
        self._paths = paths

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Complete the answer, if it is theirs to give."""
        if req.path.startswith("//") or (req.path == "/" and self._paths.claims_root(req)):
            self._paths.route(req, resp)
            resp.complete = True


class Elsewhere:
    """Answers for the paths of another service: 404 that says which one, whoever asks and by whatever method."""

    def __init__(self, this: Role, other: Role, theirs: Table[Any]) -> None:
        self._this, self._other = this, other
        self._paths = CompiledRouter()
        for row in theirs:
            self._paths.add_route(row.path, self)

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """NotFound."""
        if self._paths.find(req.path):
            raise self._not_found(req)

    def sink(self, req: falcon.Request, resp: falcon.Response, **_: object) -> None:  # noqa: ARG002 - as Falcon calls it
        """NotFound: of paths that are nobody else's, which the other service looks up among the scripts' routes."""
        raise NotFound if req.path.startswith(GUARDED) else self._not_found(req)

    def _not_found(self, req: falcon.Request) -> NotFound:
        return NotFound(f"{req.path} is {self._other}'s to answer, and this is {self._this}")


class BodiesInTurn:
    """Lets so many bodies be read at once, however slowly they are sent: `read_body` asks for its turn."""

    def __init__(self, at_once: int) -> None:
        self._turns = threading.Semaphore(at_once)

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Leave the turn where it is looked for."""
        req.env[READING] = self._turn

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Overloaded at once if there is none."""
        if not self._turns.acquire(blocking=False):
            raise Overloaded("too many bodies are being sent at once; try again in a moment")
        try:
            yield
        finally:
            self._turns.release()


class Methods:
    """Answers the methods that a resource does not have: OPTIONS with those that it has, any other with a refusal.

    Falcon's own answers would be 200 without OPTIONS in Allow, and 400 for a method that it has never heard of.
    """

    def process_resource(self, req: falcon.Request, resp: falcon.Response, resource: object, _params: object) -> None:
        """204 with Allow; HTTPMethodNotAllowed."""
        own = [name for name in falcon.COMBINED_METHODS if hasattr(resource, f"on_{name.lower()}")]
        if req.method in own:
            return
        allowed = sorted({*own, "OPTIONS"})
        if req.method != "OPTIONS":
            raise falcon.HTTPMethodNotAllowed(allowed)
        resp.status = 204
        resp.set_header("allow", ", ".join(allowed))
        resp.complete = True


def open_paths(routes: Iterable[tuple[str, object]]) -> frozenset[str]:
    """Of a route table: the paths whose GET anyone may ask, by its own declaration."""
    told = {path: declared(resource, "GET") for path, resource in routes}
    return frozenset(path for path, it in told.items() if it is not None and it.scope is None)


class Authentication:
    """Sets `req.context.principal` for /metrics and everything under /api/.

    What does not declare who may ask answers nobody.
    """

    def __init__(self, tokens: TokenFinder, open_paths: Collection[str] = ()) -> None:
        self._tokens = tokens
        self._open_paths = open_paths  # that declare that anyone may ask

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """NotFound for a path that is none; Unauthorized without a token that is known."""
        if req.path != _METRICS and (not req.path.startswith(GUARDED) or req.path in self._open_paths):
            return
        if not req.path.isprintable():
            raise NotFound
        req.context.principal = authenticate(req.auth, self._tokens.find)

    def process_resource(self, req: falcon.Request, _resp: falcon.Response, resource: object, _params: object) -> None:
        """Deny by default: whatever way a request came to a resource."""
        if not hasattr(resource, f"on_{req.method.lower()}"):  # `Methods` answers
            return
        told = declared(resource, req.method)
        if told is None:
            raise PlatformError(f"{type(resource).__name__} does not declare who may ask")
        if told.scope is not None and not hasattr(req.context, "principal"):
            raise Unauthorized
