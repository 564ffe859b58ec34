"""`Prefer: respond-async`: a request is stored as a job before it is answered, and nothing runs on its way.

A dispatcher may take a job as soon as it is there: of what becomes of it, nothing is said here.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import msgspec
import pytest

from picloud.auth import Scope
from picloud.model import JOBS_QUEUED_MAX, Request, Trigger
from tests.acceptance.test_resilience import await_listeners, database_away
from tests.fixtures_postgres import execute
from tests.running import Answer, Running, running

LATER = {"prefer": "respond-async"}
RANDOM = "return function() return { status = 201, body = crypto.uuid4() } end"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("async")) as server:
        server.deploy("later", RANDOM)
        yield server


def ask(ours: Running, path: str, body: bytes | None = b"body", method: str = "POST", **headers: str) -> Answer:
    return ours.call(method, path, body, LATER | {name.replace("_", "-"): value for name, value in headers.items()})


def stored(ours: Running, job: str) -> tuple[str, str | None, Request]:
    """Script, key and request of a job."""
    ((script, key, request),) = execute(ours.database_url, "SELECT script, key, request FROM jobs WHERE id = %s", job)
    return str(script), cast("str | None", key), msgspec.msgpack.decode(cast("bytes", request), type=Request)


def count(ours: Running) -> Any:
    return execute(ours.database_url, "SELECT count(*) FROM jobs")[0][0]


def accepted(answer: Answer) -> str:
    """The job of a 202 that is whole → its id."""
    assert answer.status == 202, answer
    job = answer.json.get("job") or answer.json["id"]
    assert answer.header("location") == f"/api/v1/jobs/{job}"
    assert answer.header("preference-applied") == "respond-async"
    assert answer.header("content-type") == "application/json"
    assert answer.header("picloud-invocation") is None, "nothing ran"
    return str(job)


def test_a_public_endpoint_stores_the_request_as_the_script_would_see_it(ours: Running) -> None:
    body = "Grüße \0".encode() + b"\xff"
    answer = ask(ours, "/fn/later/a%20b/%C3%A9?q=1%2F2", body, "PUT", content_type="x/y", x_a="1", cookie="a=b")
    job = accepted(answer)
    assert answer.json == {"job": job, "status_url": f"/api/v1/jobs/{job}"}
    script, key, request = stored(ours, job)
    assert (script, key, request.trigger, request.id, request.idempotency_key) == ("later", None, Trigger.JOB, "", None)
    assert (request.method, request.path.encode("latin-1").decode(), request.query_string, request.body) == (
        "PUT", "/fn/later/a b/é", "q=1%2F2", body,
    )  # fmt: skip
    assert [(name, value.encode("latin-1").decode()) for name, value in request.params] == [("rest", "a b/é")]
    assert {"content-type": "x/y", "x-a": "1", "cookie": "a=b"}.items() <= dict(request.headers).items()
    assert (request.host, request.remote_addr) == (f"127.0.0.1:{ours.port}", "127.0.0.1")


def test_a_route_stores_one_with_its_parameters(ours: Running) -> None:
    assert ours.api("POST", "routes", {"path": "/to/{who}/later", "script": "later"}).status == 201
    script, _, request = stored(ours, accepted(ask(ours, "/to/you/later", None, "GET")))
    assert (script, request.method, request.params, request.body) == ("later", "GET", (("who", "you"),), b"")


def test_invoke_stores_one_and_shows_it(ours: Running) -> None:
    headers = {"authorization": f"Bearer {ours.token}", "content-type": "text/plain"}
    answer = ours.call("POST", "/api/v1/scripts/later/invoke", b"hello", headers | LATER)
    job = accepted(answer)
    _, _, request = stored(ours, job)
    assert (request.method, request.path, request.trigger, request.body) == ("POST", "/", Trigger.JOB, b"hello")
    assert request.headers == (("content-type", "text/plain"),), "no token of the platform is kept"
    shown = ours.api("GET", f"jobs/{job}").json
    assert {name: answer.json[name] for name in ("id", "script", "trigger", "key", "priority", "created_at")} == {
        name: shown[name] for name in ("id", "script", "trigger", "key", "priority", "created_at")
    }
    assert (answer.json["trigger"], answer.json["attempts"]) == ("job", 0)


def test_several_headers_and_preferences_are_one_list(ours: Running) -> None:
    head = "GET /fn/later HTTP/1.1\r\nHost: h\r\nConnection: close\r\nPrefer: wait=5\r\n"
    assert ours.raw(f'{head}PREFER: return="x, y", Respond-Async\r\n\r\n'.encode()).startswith(b"HTTP/1.1 202 ")
    assert ours.raw(f'{head}Prefer: x="respond-async"\r\n\r\n'.encode()).startswith(b"HTTP/1.1 201 ")


def test_head_has_no_body_and_stores_a_job_all_the_same(ours: Running) -> None:
    before = count(ours)
    answer = ask(ours, "/fn/later", None, "HEAD")
    assert (answer.status, answer.body, count(ours)) == (202, b"", before + 1)


@pytest.mark.parametrize(
    ("settings", "path", "headers", "status", "problem"),
    [
        ({}, "/fn/nobody", {}, 404, "not-found"),
        ({"access": "token"}, "/fn/later", {}, 401, "unauthorized"),
        ({"access": "token"}, "/fn/later", {"authorization": "Bearer pc_wrong"}, 401, "unauthorized"),
        ({"limits": {"request_bytes": 3}}, "/fn/later", {}, 413, "body-too-large"),
        (
            {"idempotency": True},
            "/fn/later",
            {"idempotency-key": "é".encode().decode("latin-1")},
            422,
            "invalid-request",
        ),
    ],
)
def test_what_keeps_a_script_from_running_keeps_a_job_from_being_stored(
    ours: Running, settings: Mapping[str, object], path: str, headers: Mapping[str, str], status: int, problem: str
) -> None:
    ours.set("later", settings)
    before = count(ours)
    answer = ours.call("POST", path, b"body", {**LATER, **headers})
    assert (answer.status, answer.problem, count(ours)) == (status, problem, before)


def test_a_token_opens_a_guarded_script_and_is_not_stored(ours: Running) -> None:
    ours.set("later", {"access": "token"})
    job = accepted(ask(ours, "/fn/later", authorization=f"Bearer {ours.new_token(Scope.INVOKE)}"))
    _, _, request = stored(ours, job)
    assert "authorization" not in dict(request.headers)
    ours.set("later", {})
    _, _, request = stored(ours, accepted(ask(ours, "/fn/later", authorization="Basic abc")))
    assert dict(request.headers)["authorization"] == "Basic abc", "that is the script's own business"


def test_a_page_of_another_origin_may_see_it_as_any_answer(ours: Running) -> None:
    ours.set("later", {"cors": {"origins": ["https://page.example"]}})
    answer = ask(ours, "/fn/later", origin="https://page.example")
    accepted(answer)
    assert answer.header("access-control-allow-origin") == "https://page.example"
    assert "Origin" in (answer.header("vary") or "")
    ours.set("later", {})


@pytest.fixture
def keyed(ours: Running) -> Iterator[str]:
    ours.deploy("keyed", RANDOM)
    ours.set("keyed", {"idempotency": True})
    yield "/fn/keyed"
    ours.api("DELETE", "scripts/keyed")


def test_who_sends_the_same_again_with_its_key_gets_the_same_job(ours: Running, keyed: str) -> None:
    first = ask(ours, keyed, idempotency_key="k 1", x_other="1")
    job = accepted(first)
    assert first.header("idempotent-replayed") is None
    again = ask(ours, keyed, idempotency_key="k 1", x_other="2")
    assert (accepted(again), again.header("idempotent-replayed")) == (job, "true")
    script, key, request = stored(ours, job)
    assert (script, key, dict(request.headers)["idempotency-key"]) == ("keyed", "request:k 1", "k 1")
    other = ask(ours, keyed, b"another body", idempotency_key="k 1")
    assert (other.status, other.problem) == (422, "invalid-request")
    assert "another request" in other.json["detail"]
    assert accepted(ask(ours, keyed, idempotency_key="k 2")) != job


def test_of_many_at_once_with_one_key_one_makes_the_job(ours: Running, keyed: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        jobs = set(threads.map(lambda _: accepted(ask(ours, keyed, idempotency_key="many")), range(8)))
    assert len(jobs) == 1


def test_invoke_takes_a_key_too(ours: Running, keyed: str) -> None:
    headers = LATER | {"authorization": f"Bearer {ours.token}", "idempotency-key": "by hand"}
    jobs = {accepted(ours.call("POST", "/api/v1/scripts/keyed/invoke", b"x", headers)) for _ in range(2)}
    assert [stored(ours, job)[1] for job in jobs] == ["request:by hand"]


def test_without_the_setting_a_key_is_the_script_s_own_business(ours: Running) -> None:
    jobs = [accepted(ask(ours, "/fn/later", idempotency_key="k")) for _ in range(2)]
    assert len(set(jobs)) == 2
    assert stored(ours, jobs[0])[1] is None


def test_a_dry_run_is_not_for_later(ours: Running) -> None:
    before = count(ours)
    headers = LATER | {"authorization": f"Bearer {ours.token}"}
    answer = ours.call("POST", "/api/v1/scripts/later/invoke?dry_run=true", b"x", headers)
    assert (answer.status, answer.problem) == (422, "invalid-request")
    assert answer.json["errors"][0]["field"] == "dry_run"
    assert count(ours) == before


def test_a_preflight_is_answered_as_always(ours: Running) -> None:
    before = count(ours)
    ours.set("later", {"cors": {"origins": ["*"], "headers": ["prefer"]}})
    asked = {"origin": "https://a.example", "access-control-request-method": "POST"}
    answer = ours.call("OPTIONS", "/fn/later", None, LATER | asked | {"access-control-request-headers": "prefer"})
    assert (answer.status, answer.header("access-control-allow-headers"), count(ours)) == (204, "prefer", before)
    ours.set("later", {})


def test_while_the_database_is_away_nothing_is_promised(ours: Running) -> None:
    await_listeners(ours)
    for _ in ours.by_each_worker():  # which then keeps the script
        assert ours.call("GET", "/fn/later").status == 201
    with database_away(ours):
        answer = ask(ours, "/fn/later")
        assert (answer.status, answer.problem, answer.header("retry-after")) == (503, "database-unavailable", "1")
        assert answer.header("location") is None
        assert ours.call("GET", "/fn/later").status == 201, "who waits is answered"
    accepted(ask(ours, "/fn/later"))


def test_a_queue_that_is_full_takes_no_more_from_requests_and_from_scripts(ours: Running) -> None:
    ours.deploy("full", "return 1")
    ours.deploy("filler", 'return tostring(pcall(jobs.send, "full")) .. " " .. select(2, pcall(jobs.send, "full"))')
    execute(
        ours.database_url,
        "INSERT INTO jobs (id, script, trigger, request, priority, due_at)"
        " SELECT gen_random_uuid(), 'full', 'job', '', 0, now() + interval '1 day' FROM generate_series(1, %s)",
        JOBS_QUEUED_MAX,
    )
    refused = ours.call("POST", "/fn/full", b"", {"prefer": "respond-async"})
    assert (refused.status, refused.problem, refused.header("retry-after")) == (503, "overloaded", "1")
    assert "10000 jobs of 'full' wait already" in refused.json["detail"]
    told = ours.call("GET", "/fn/filler").body.decode()
    assert told.startswith("false ")
    assert "10000 jobs of 'full' wait already" in told
    execute(ours.database_url, "DELETE FROM jobs WHERE script = 'full'")
    assert ours.call("POST", "/fn/full", b"", {"prefer": "respond-async"}).status == 202
