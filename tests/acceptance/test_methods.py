"""Each path says which methods it takes: to who asks by OPTIONS, and to who sends another."""

import pytest

from tests.running import Answer, Running

OURS = [
    ("/", "GET, HEAD, OPTIONS, POST"),
    ("/healthz", "GET, HEAD, OPTIONS"),
    ("/problems/timeout", "GET, HEAD, OPTIONS"),
    ("/api/v1/scripts", "GET, HEAD, OPTIONS, POST"),
    ("/api/v1/scripts/none", "DELETE, GET, HEAD, OPTIONS, PUT"),
    ("/api/v1/scripts/none/settings", "GET, HEAD, OPTIONS, PATCH"),
]
SCRIPTS = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"


def ask(picloud: Running, method: str, path: str) -> Answer:
    return picloud.call(method, path, headers={"authorization": f"Bearer {picloud.token}"})


@pytest.mark.parametrize(("path", "allowed"), OURS)
def test_options_is_an_empty_answer_with_the_methods(picloud: Running, path: str, allowed: str) -> None:
    answer = ask(picloud, "OPTIONS", path)
    assert (answer.status, answer.body, answer.header("allow")) == (204, b"", allowed)


@pytest.mark.parametrize("method", ["PURGE", "BREW", "TRACE", "PROPFIND"])
@pytest.mark.parametrize(("path", "allowed"), OURS)
def test_a_method_that_is_not_taken_is_refused_with_those_that_are(
    picloud: Running, path: str, allowed: str, method: str
) -> None:
    answer = ask(picloud, method, path)
    assert (answer.status, answer.problem, answer.header("allow")) == (405, "method-not-allowed", allowed)
    assert answer.json["detail"] == f"{method} is not allowed here; these are: {allowed}"


def test_options_of_the_api_is_for_who_is_known(picloud: Running) -> None:
    assert picloud.call("OPTIONS", "/api/v1/scripts").problem == "unauthorized"
    assert picloud.call("BREW", "/api/v1/scripts").problem == "unauthorized"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_what_is_for_proxies_runs_no_script(picloud: Running, method: str) -> None:
    picloud.deploy("methods", "return 'ran'")
    picloud.api("POST", "routes", {"path": "/methods", "script": "methods"})
    for path in ("/fn/methods", "/fn/methods/below", "/methods"):
        answer = picloud.call(method, path)
        assert (answer.status, answer.problem, answer.header("allow")) == (405, "method-not-allowed", SCRIPTS)
    assert picloud.call("BREW", "/fn/methods").body == b"ran"
    assert picloud.api("DELETE", "scripts/methods").status == 204
