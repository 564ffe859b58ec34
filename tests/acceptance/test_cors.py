"""What a browser is told about scripts that pages of other origins call."""

from collections.abc import Iterator

import pytest

from picloud.auth import Scope
from tests.running import Answer, Running

PAGE = "https://page.example"
SETTINGS = {"cors": {"origins": [PAGE], "headers": ["x-a"], "methods": ["PUT"], "credentials": True, "max_age": 60}}
SCRIPT = """
return function(request)
  if request.query.fail then error("failed") end
  return { headers = { vary = "Accept", ["access-control-allow-origin"] = "*", ["access-control-allow-methods"] = "*",
    ["access-control-expose-headers"] = "x-b", ["x-method"] = request.method }, body = "ran" }
end
"""


@pytest.fixture(scope="module")
def shared(picloud: Running) -> Iterator[Running]:
    """`/fn/shared` and `GET /shared/x` with CORS settings, `PUT /shared/x` without."""
    for name in ("shared", "own"):
        picloud.deploy(name, SCRIPT)
    picloud.set("shared", SETTINGS)
    for method, script in (("GET", "shared"), ("PUT", "own"), ("ANY", "shared")):
        path = "/shared/any" if method == "ANY" else "/shared/x"
        assert picloud.api("POST", "routes", {"method": method, "path": path, "script": script}).status == 201
    yield picloud
    for name in ("shared", "own"):
        picloud.api("DELETE", f"scripts/{name}")


def preflight(picloud: Running, path: str, method: str = "GET", headers: str = "", origin: str = PAGE) -> Answer:
    asked = {"origin": origin, "access-control-request-method": method}
    return picloud.call(
        "OPTIONS", path, headers=asked | ({"access-control-request-headers": headers} if headers else {})
    )


def allowing(answer: Answer) -> dict[str, str]:
    return {
        name.removeprefix("access-control-"): value
        for name, value in answer.headers
        if name.startswith("access-control-")
    }


ALLOWED = {
    "allow-origin": PAGE,
    "allow-credentials": "true",
    "allow-methods": "GET, HEAD, POST, PUT",
    "allow-headers": "x-a",
    "max-age": "60",
}
SEEN = {
    "allow-origin": PAGE,
    "allow-credentials": "true",
    "expose-headers": "x-b, picloud-invocation, server-timing, idempotent-replayed",
}


@pytest.mark.parametrize("path", ["/fn/shared", "/fn/shared/x", "/shared/x", "/shared/any"])
def test_a_preflight_is_answered_without_running_the_script(shared: Running, path: str) -> None:
    answer = preflight(shared, path, "GET", "X-A")
    assert (answer.status, answer.body, answer.header("picloud-invocation")) == (204, b"", None)
    assert allowing(answer) == ALLOWED
    assert answer.header("vary") == "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


@pytest.mark.parametrize(
    "asked", [{"method": "DELETE"}, {"headers": "x-a, x-b"}, {"origin": "https://other.example"}, {"origin": "null"}]
)
def test_what_is_not_allowed_is_answered_without_a_word_that_allows(shared: Running, asked: dict[str, str]) -> None:
    answer = preflight(shared, "/fn/shared", **asked)
    assert (answer.status, allowing(answer)) == (204, {})
    assert answer.header("vary")


def test_a_preflight_goes_by_the_route_of_the_method_that_it_asks_for(shared: Running) -> None:
    own = preflight(shared, "/shared/x", "PUT")
    assert (own.status, allowing(own), own.header("allow")) == (204, {}, "GET, HEAD, OPTIONS, PUT")
    unknown = preflight(shared, "/shared/x", "PATCH")
    assert (unknown.status, allowing(unknown), unknown.header("allow")) == (204, {}, "GET, HEAD, OPTIONS, PUT")
    assert preflight(shared, "/shared/none").problem == "not-found"


def test_a_script_without_settings_answers_for_itself(shared: Running) -> None:
    answer = preflight(shared, "/fn/own")
    assert (answer.status, answer.body, answer.header("x-method")) == (200, b"ran", "OPTIONS")
    assert allowing(answer) == {"allow-origin": "*", "allow-methods": "*", "expose-headers": "x-b"}
    assert answer.header("vary") == "Accept"


@pytest.mark.parametrize("path", ["/fn/shared", "/shared/x"])
def test_an_answer_may_be_seen_as_the_settings_say(shared: Running, path: str) -> None:
    answer = shared.call("GET", path, headers={"origin": PAGE})
    assert (answer.status, allowing(answer), answer.header("vary")) == (200, SEEN, "Accept, Origin")


@pytest.mark.parametrize("headers", [{}, {"origin": "https://other.example"}])
def test_other_origins_see_nothing_whatever_the_script_says(shared: Running, headers: dict[str, str]) -> None:
    answer = shared.call("GET", "/fn/shared", headers=headers)
    assert (answer.body, allowing(answer), answer.header("vary")) == (
        b"ran",
        {"expose-headers": "x-b"},
        "Accept, Origin",
    )


def test_an_options_that_is_no_preflight_runs_the_script(shared: Running) -> None:
    answer = shared.call("OPTIONS", "/fn/shared", headers={"origin": PAGE})
    assert (answer.status, answer.header("x-method"), allowing(answer)) == (200, "OPTIONS", SEEN)


def test_problems_may_be_seen_too(shared: Running) -> None:
    seen = {**SEEN, "expose-headers": "picloud-invocation, server-timing, idempotent-replayed"}
    failed = shared.call("GET", "/fn/shared?fail=1", headers={"origin": PAGE})
    assert (failed.problem, allowing(failed), failed.header("vary")) == ("script-error", seen, "Origin")
    large = shared.call("POST", "/fn/shared", b"x" * (1024 * 1024 + 1), {"origin": PAGE})
    assert (large.problem, allowing(large)) == ("body-too-large", seen)


def test_a_guarded_script_is_asked_without_a_token_and_its_refusal_may_be_seen(picloud: Running) -> None:
    picloud.deploy("vault", SCRIPT)
    picloud.set("vault", {"access": "token", "cors": {"origins": ["*"], "headers": ["*"], "methods": ["*"]}})
    asked = preflight(picloud, "/fn/vault", "PATCH", "authorization,x-z")
    assert allowing(asked) == {
        "allow-origin": "*", "allow-methods": "PATCH", "allow-headers": "authorization, x-z", "max-age": "0",
    }  # fmt: skip
    refused = picloud.call("GET", "/fn/vault", headers={"origin": PAGE})
    assert (refused.problem, refused.header("access-control-allow-origin")) == ("unauthorized", "*")
    token = {"origin": PAGE, "authorization": f"Bearer {picloud.new_token(Scope.READ)}"}
    forbidden = picloud.call("GET", "/fn/vault", headers=token)
    assert (forbidden.problem, forbidden.header("access-control-allow-origin")) == ("forbidden", "*")


def test_a_script_that_runs_too_often_says_so_to_the_page(picloud: Running) -> None:
    picloud.deploy("narrow", "return function() while true do end end")
    long = {"concurrency": 1, "wall_ms": 60_000, "cpu_ms": 60_000}
    picloud.set("narrow", {"cors": {"origins": [PAGE]}, "limits": long})
    with picloud.spinning("/fn/narrow", 1):
        refused = picloud.call("GET", "/fn/narrow")
    picloud.set("narrow", {"cors": {"origins": [PAGE]}, "limits": {"wall_ms": 300}})
    ended = picloud.call("GET", "/fn/narrow")
    assert [(it.status, it.header("vary")) for it in (refused, ended)] == [(429, "Origin"), (504, "Origin")]
