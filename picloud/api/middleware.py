"""Who is asking: the bearer token of every request to the control plane."""

from typing import Protocol

import falcon

from picloud.auth import Principal, bearer
from picloud.errors import NotFound, Unauthorized

GUARDED = "/api/"


class TokenFinder(Protocol):
    """What knows tokens."""

    def find(self, secret: str) -> Principal | None:
        """Whose it is; DatabaseUnavailable."""


class Authentication:
    """Sets `req.context.principal` for everything under /api/, or refuses: routes there cannot forget it."""

    def __init__(self, tokens: TokenFinder) -> None:
        self._tokens = tokens

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Unauthorized without a token that is known."""
        if not req.path.startswith(GUARDED):
            return
        if not req.path.isprintable():
            raise NotFound
        principal = self._tokens.find(bearer(req.auth))
        if principal is None:
            raise Unauthorized("the token is not known here: it was mistyped, replaced or revoked")
        req.context.principal = principal
