"""Scripts that ask for a token, over /fn and by route."""

import pytest

from picloud.auth import Scope, digest, new_secret
from tests.fixtures_postgres import execute
from tests.running import Answer, Running

SEES = "return function(request) return { body = { seen = request.headers.authorization or false } } end"


@pytest.fixture(scope="module", params=["/fn/guarded", "/guarded/x"])
def guarded(picloud: Running, request: pytest.FixtureRequest) -> str:
    """Where a script that asks for a token answers."""
    picloud.deploy("guarded", SEES)
    picloud.set("guarded", {"access": "token"})
    answer = picloud.api("POST", "routes", {"path": "/guarded/{x}", "script": "guarded"})
    assert answer.status in (201, 409)
    return str(request.param)


def ask(picloud: Running, path: str, secret: str, method: str = "GET") -> Answer:
    return picloud.call(method, path, headers={"authorization": f"Bearer {secret}"})


def limited(picloud: Running, scripts: list[str] | None, seconds: int) -> str:
    """A token with the scope `invoke`, for these scripts, for so long."""
    secret = new_secret()
    execute(
        picloud.database_url,
        """INSERT INTO tokens (name, secret_hash, scopes, scripts, expires_at)
           VALUES (%s, %s, '{invoke}', %s, now() + make_interval(secs => %s))""",
        secret[:12], digest(secret), scripts, seconds,
    )  # fmt: skip
    return secret


@pytest.mark.parametrize("scope", [Scope.INVOKE, Scope.ADMIN])
def test_a_token_of_the_scope_passes_and_is_never_seen_by_the_script(
    picloud: Running, guarded: str, scope: Scope
) -> None:
    answer = ask(picloud, guarded, picloud.new_token(scope))
    assert (answer.status, answer.json) == (200, {"seen": False})


@pytest.mark.parametrize("authorization", ["", "Basic eDp5", "Bearer pc_unknown", "Bearer"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD"])
def test_without_a_token_that_is_known_nothing_runs(
    picloud: Running, guarded: str, authorization: str, method: str
) -> None:
    answer = picloud.call(method, guarded, headers={"authorization": authorization} if authorization else {})
    assert (answer.status, answer.header("www-authenticate")) == (401, "Bearer")
    assert answer.header("picloud-invocation") is None
    if method != "HEAD":
        assert answer.problem == "unauthorized"


@pytest.mark.parametrize("scope", [Scope.READ, Scope.DEPLOY])
def test_a_token_of_another_scope_is_forbidden(picloud: Running, guarded: str, scope: Scope) -> None:
    assert ask(picloud, guarded, picloud.new_token(scope)).problem == "forbidden"


def test_a_token_is_good_for_the_scripts_that_it_names(picloud: Running, guarded: str) -> None:
    assert ask(picloud, guarded, limited(picloud, ["guarded", "x"], 60)).status == 200
    assert ask(picloud, guarded, limited(picloud, ["other"], 60)).problem == "forbidden"


def test_a_token_is_good_until_it_expires(picloud: Running, guarded: str) -> None:
    assert ask(picloud, guarded, limited(picloud, None, 60)).status == 200
    assert ask(picloud, guarded, limited(picloud, None, -1)).problem == "unauthorized"


def test_the_header_of_a_public_script_is_its_own_business(picloud: Running) -> None:
    picloud.deploy("open", SEES)
    for authorization in ("Basic eDp5", "Bearer pc_unknown"):
        answer = picloud.call("GET", "/fn/open", headers={"authorization": authorization})
        assert answer.json == {"seen": authorization}


def test_a_token_of_the_platform_is_no_scripts_to_learn(picloud: Running) -> None:
    picloud.deploy("nosy", SEES)
    for authorization in (f"Bearer {picloud.token}", f"bearer  {picloud.token}", f"Basic x, Bearer {picloud.token}"):
        answer = picloud.call("GET", "/fn/nosy", headers={"authorization": authorization})
        assert (answer.status, answer.json) == (200, {"seen": False})


def test_a_script_cannot_set_the_session_of_the_page_at_the_root(picloud: Running) -> None:
    picloud.deploy("forger", 'return { status = 204, headers = { ["set-cookie"] = { "picloud_session=x", "a=b" } } }')
    answer = picloud.call("GET", "/fn/forger")
    assert [value for name, value in answer.headers if name == "set-cookie"] == ["a=b"]


def test_a_service_worker_may_stand_before_its_own_script_only(picloud: Running) -> None:
    picloud.deploy("worker", "return 'x'")
    picloud.api("POST", "routes", {"path": "/worker.js", "script": "worker"})
    asking = {"service-worker": "script"}
    for path, status in {"/fn/worker": 403, "/worker.js": 403, "/fn/worker/sw.js": 200}.items():
        assert picloud.call("GET", path, headers=asking).status == status
        assert picloud.call("GET", path).status == 200


def test_invoke_asks_for_its_scope_whatever_the_access(picloud: Running, guarded: str) -> None:
    path = "/api/v1/scripts/guarded/invoke"
    assert ask(picloud, path, picloud.new_token(Scope.INVOKE), "POST").json == {"seen": False}
    assert ask(picloud, path, picloud.new_token(Scope.READ), "POST").problem == "forbidden"
