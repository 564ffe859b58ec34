"""Who does not say who may ask answers nobody; and bodies are read in turn."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import falcon
import falcon.testing
import pytest

from picloud.api.middleware import Authentication, BodiesInTurn, open_paths
from picloud.auth import Principal, Scope
from picloud.errors import Overloaded, PlatformError, Unauthorized
from picloud.messages.endpoint import endpoint
from picloud.messages.reading import READING


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


def turn(middleware: BodiesInTurn) -> Callable[[], AbstractContextManager[None]]:
    """What the reading of one request's body asks."""
    req = falcon.Request(falcon.testing.create_environ(method="POST"))
    middleware.process_request(req, falcon.Response())
    found: Callable[[], AbstractContextManager[None]] = req.env[READING]
    return found


def test_so_many_bodies_are_read_at_once_and_the_next_when_one_is_through() -> None:
    middleware = BodiesInTurn(2)
    one, two, three = (turn(middleware) for _ in range(3))
    with one():
        with two(), pytest.raises(Overloaded, match="too many bodies"), three():
            pytest.fail("there was no turn left")
        with three():
            pass


class Open:
    """Lets anyone read, and nobody write."""

    @endpoint(None, answers={})
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Is for everybody."""

    @endpoint(Scope.ADMIN, answers={})
    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Wants a token."""


def test_below_api_a_path_that_anyone_may_read_is_open_and_no_other_is() -> None:
    opened = open_paths([("/api/v1/open", Open()), ("/api/v1/closed", Resource())])
    gate = Authentication(Nobody(), opened)
    for path in ("/api/v1/closed", "/api/v1/open/", "/api/v1/openly", "/api/v1/other", "/api/"):
        with pytest.raises(Unauthorized):
            gate.process_request(falcon.Request(falcon.testing.create_environ(path)), falcon.Response())
    req = falcon.Request(falcon.testing.create_environ("/api/v1/open", method="PUT"))
    gate.process_request(req, falcon.Response())
    with pytest.raises(Unauthorized):
        gate.process_resource(req, falcon.Response(), Open(), {})
