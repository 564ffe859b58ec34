"""Who does not say who may ask answers nobody."""

import falcon
import falcon.testing
import pytest

from picloud.api.middleware import Authentication
from picloud.auth import Principal, Scope
from picloud.errors import PlatformError, Unauthorized
from picloud.messages.endpoint import endpoint


class Nobody:
    """Knows no token."""

    def find(self, secret: str) -> Principal | None:
        return None


class Resource:
    """One responder of each kind."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Forgot to say who may ask."""

    @endpoint(Scope.READ, answers={})
    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Wants a token."""

    @endpoint(None, answers={})
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Is for everybody."""


def enter(method: str) -> None:
    """A request that reached the resource by a path that nobody guards."""
    req = falcon.Request(falcon.testing.create_environ(method=method))
    Authentication(Nobody()).process_resource(req, falcon.Response(), Resource(), {})


def test_a_responder_without_a_declaration_is_out_of_reach() -> None:
    with pytest.raises(PlatformError, match="Resource does not declare who may ask"):
        enter("GET")


def test_what_wants_a_token_is_not_reached_without_one_whatever_the_path() -> None:
    with pytest.raises(Unauthorized):
        enter("PUT")


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "DELETE"])
def test_what_is_for_everybody_or_is_nothing_is_let_through(method: str) -> None:
    enter(method)
