"""Who is asking: the bearer token of every request to the control plane."""

from typing import Protocol

import falcon

from picloud.auth import Principal, bearer
from picloud.errors import NotFound, PlatformError, Unauthorized
from picloud.messages.endpoint import declared

GUARDED = "/api/"


class TokenFinder(Protocol):
    """What knows tokens."""

    def find(self, secret: str) -> Principal | None:
        """Whose it is; DatabaseUnavailable."""


class Authentication:
    """Sets `req.context.principal` for everything under /api/; what does not declare who may ask answers nobody."""

    def __init__(self, tokens: TokenFinder) -> None:
        self._tokens = tokens

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """NotFound for a path that is none; Unauthorized under /api/ without a token that is known."""
        if req.path.startswith("//"):  # Falcon's router would look past the slashes
            raise NotFound
        if not req.path.startswith(GUARDED):
            return
        if not req.path.isprintable():
            raise NotFound
        principal = self._tokens.find(bearer(req.auth))
        if principal is None or principal.expired():
            raise Unauthorized("the token is not known here: it was mistyped, replaced or revoked, or has expired")
        req.context.principal = principal

    def process_resource(self, req: falcon.Request, _resp: falcon.Response, resource: object, _params: object) -> None:
        """Deny by default: whatever way a request came to a resource."""
        if not hasattr(resource, f"on_{req.method.lower()}"):  # 405, or OPTIONS: Falcon's own answer
            return
        told = declared(resource, req.method)
        if told is None:
            raise PlatformError(f"{type(resource).__name__} does not declare who may ask")
        if told.scope is not None and not hasattr(req.context, "principal"):
            raise Unauthorized
