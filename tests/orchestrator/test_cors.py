"""What pages of other origins are told, by settings alone."""

import pytest

from picloud.model import Cors
from picloud.orchestrator.cors import Preflight, allow_origin, answer_preflight, preflight_of, vary_by_origin

PAGE = "https://page.example"
OTHER = "https://other.example"
VARY = {"vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}


def answer(cors: Cors, method: str = "GET", headers: tuple[str, ...] = (), origin: str = PAGE) -> dict[str, str]:
    """Without `access-control-` before each name."""
    told = answer_preflight(cors, Preflight(origin, method, headers))
    assert told.pop("vary") == VARY["vary"]
    return {name.removeprefix("access-control-"): value for name, value in told.items()}


def test_a_page_that_is_let_in_is_told_all_it_may() -> None:
    cors = Cors((PAGE,), ("x-a", "content-type"), ("PUT", "DELETE"), credentials=True, max_age=60)
    assert answer(cors, "PUT", ("x-a",)) == {
        "allow-origin": PAGE,
        "allow-credentials": "true",
        "allow-methods": "GET, HEAD, POST, PUT, DELETE",
        "allow-headers": "x-a, content-type",
        "max-age": "60",
    }


def test_no_credentials_and_no_headers_are_not_mentioned() -> None:
    assert answer(Cors((PAGE,))) == {"allow-origin": PAGE, "allow-methods": "GET, HEAD, POST", "max-age": "0"}


@pytest.mark.parametrize(
    ("method", "headers", "origin"),
    [
        ("PUT", (), PAGE),
        ("get", (), PAGE),  # methods are told apart by case
        ("GET", ("x-a", "x-b"), PAGE),
        ("GET", (), OTHER),
        ("GET", (), PAGE + ":8443"),
        ("GET", (), PAGE + "/"),
        ("GET", (), "http://page.example"),
        ("GET", (), "null"),
    ],
)
def test_what_is_not_allowed_gets_no_header_that_allows(method: str, headers: tuple[str, ...], origin: str) -> None:
    assert answer(Cors((PAGE,), ("x-a",)), method, headers, origin) == {}


def test_a_star_is_answered_with_what_was_asked_for() -> None:
    cors = Cors((PAGE,), ("*",), ("*",), credentials=True)
    told = answer(cors, "PATCH", ("x-a", "authorization"))
    assert (told["allow-methods"], told["allow-headers"]) == ("PATCH", "x-a, authorization")
    assert "allow-headers" not in answer(cors, "PATCH")


@pytest.mark.parametrize(("method", "headers"), [("A B", ()), ("GET", ("x y",)), ("GET", ("x\x7f",))])
def test_a_star_allows_nothing_that_is_no_token(method: str, headers: tuple[str, ...]) -> None:
    assert answer(Cors((PAGE,), ("*",), ("*",)), method, headers) == {}


def test_every_origin_is_a_star_and_never_with_credentials() -> None:
    cors = Cors(("*",), credentials=True)
    assert allow_origin(cors, PAGE) == allow_origin(cors, None) == {"access-control-allow-origin": "*"}


def test_an_origin_is_told_only_to_itself() -> None:
    cors = Cors((PAGE, "null"))
    assert allow_origin(cors, PAGE) == {"access-control-allow-origin": PAGE}
    assert allow_origin(cors, "null") == {"access-control-allow-origin": "null"}
    assert allow_origin(cors, OTHER) == allow_origin(cors, None) == allow_origin(Cors(), PAGE) == {}


@pytest.mark.parametrize(
    ("vary", "merged"),
    [(None, "Origin"), ("", "Origin"), ("Accept", "Accept, Origin"), ("origin,Accept", "origin, Accept"), ("*", "*")],
)
def test_vary_keeps_what_it_named(vary: str | None, merged: str) -> None:
    assert vary_by_origin(vary) == merged


def test_a_preflight_is_an_options_with_origin_and_method() -> None:
    environ = {
        "REQUEST_METHOD": "OPTIONS",
        "HTTP_ORIGIN": PAGE,
        "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT",
        "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "X-A, x-b,,",
    }
    assert preflight_of(environ) == Preflight(PAGE, "PUT", ("x-a", "x-b"))
    for missing in ("HTTP_ORIGIN", "HTTP_ACCESS_CONTROL_REQUEST_METHOD"):
        assert preflight_of({key: value for key, value in environ.items() if key != missing}) is None
    assert preflight_of({**environ, "REQUEST_METHOD": "GET"}) is None
