"""Who is asking: the bearer token of every request to the control plane."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import falcon

from picloud.auth import TokenFinder, authenticate
from picloud.errors import NotFound, PlatformError, Unauthorized
from picloud.messages.endpoint import declared
from picloud.messages.reading import READING

GUARDED = "/api/"


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


class BodiesInTurn:
    """Lets so many bodies be read at once, whoever reads them: `read_body` asks ``reading``."""

    def __init__(self, reading: Callable[[], AbstractContextManager[None]]) -> None:
        self._reading = reading

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Leave it where it is looked for."""
        req.env[READING] = self._reading


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


class Authentication:
    """Sets `req.context.principal` for everything under /api/; what does not declare who may ask answers nobody."""

    def __init__(self, tokens: TokenFinder) -> None:
        self._tokens = tokens

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """NotFound for a path that is none; Unauthorized under /api/ without a token that is known."""
        if not req.path.startswith(GUARDED):
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
