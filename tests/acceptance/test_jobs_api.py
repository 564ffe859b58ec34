"""Jobs and dead letters over the API.

A dispatcher may run whatever is due: what is to stay as it is here waits for an hour, or has ended.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import pytest

from picloud.auth import Scope, new_secret
from picloud.model import Request, new_id
from picloud.storage.pool import Pool
from picloud.storage.tokens import TokenTable
from tests.fixtures_postgres import execute
from tests.queued import REQUEST, dead, held, sent, tried
from tests.running import Answer, Running, eventually, running

HOUR_MS = 3_600_000
NOBODY = "00000000-0000-7000-8000-000000000000"
FIELDS = [
    "id", "script", "trigger", "state", "priority", "due_at", "key", "ordering_key", "attempts", "max_attempts",
    "crashes", "created_at", "ended_at", "invocation", "outcome", "error",
]  # fmt: skip


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("jobs")) as server:
        yield server


@pytest.fixture
def script(ours: Running, request: pytest.FixtureRequest) -> str:
    """One of each test's own."""
    name = str(request.node.name).split("[")[0].replace("_", "-")[-60:].strip("-")
    ours.deploy(name, "return 'done'")
    return name


def waiting(ours: Running, script: str, **more: Any) -> str:
    """A job that is due in an hour → its id."""
    return sent(ours.database_url, script, delay_ms=HOUR_MS, **more)


def items(ours: Running, path: str) -> list[Any]:
    found: list[Any] = ours.api("GET", path).json["items"]
    return found


def request_of(ours: Running, job: str) -> Request:
    ((raw,),) = execute(ours.database_url, "SELECT request FROM jobs WHERE id = %s", job)
    return msgspec.msgpack.decode(cast("bytes", raw), type=Request)


def as_somebody(ours: Running, scopes: list[Scope], scripts: list[str] | None = None) -> dict[str, str]:
    """Headers with a token of its own."""
    secret = new_secret()
    pool = Pool(ours.database_url, size=1, wait_ms=5_000)
    try:
        TokenTable(pool).add(secret[:20], secret, scopes, scripts=scripts)
    finally:
        pool.close()
    return {"authorization": f"Bearer {secret}"}


def test_a_job_has_the_promised_shape(ours: Running, script: str) -> None:
    it = waiting(ours, script, key="k", max_attempts=5, priority=7, ordering_key="o")
    (listed,) = items(ours, f"jobs?script={script}")
    assert list(listed) == FIELDS
    assert (listed["id"], listed["script"], listed["trigger"], listed["state"]) == (it, script, "job", "queued")
    assert (listed["priority"], listed["key"], listed["ordering_key"], listed["max_attempts"]) == (7, "k", "o", 5)
    due, created = (datetime.fromisoformat(listed[name]) for name in ("due_at", "created_at"))
    assert due > created
    assert listed["due_at"].endswith("Z")
    one = ours.api("GET", f"jobs/{it}").json
    assert one == {**listed, "result": None, "runs": []}
    assert ours.api("GET", f"jobs/{it.upper()}").json["id"] == it


def test_jobs_are_filtered_and_paged(ours: Running, script: str) -> None:
    made = [waiting(ours, script, key=f"k{number}") for number in range(3)]
    lost = dead(ours.database_url, script)
    newest = [lost, *reversed(made)]
    assert [it["id"] for it in items(ours, f"jobs?script={script}")] == newest
    first = ours.api("GET", f"jobs?script={script}&limit=2").json
    assert [it["id"] for it in first["items"]] == newest[:2]
    rest = ours.api("GET", f"jobs?script={script}&limit=2&after={first['next']}").json
    assert [it["id"] for it in rest["items"]] == newest[2:]
    assert [it["id"] for it in items(ours, f"jobs?script={script}&state=dead")] == [lost]
    assert [it["id"] for it in items(ours, f"jobs?script={script}&key=k1")] == [made[1]]
    assert [it["id"] for it in items(ours, f"dead-letters?script={script}")] == [lost]
    assert ours.api("GET", "jobs?state=lost").problem == "invalid-request"
    assert ours.api("GET", "jobs?status=dead").json["detail"].endswith("did you mean 'state'?")


def test_a_job_that_ended_shows_its_answer_and_its_runs(ours: Running, script: str) -> None:
    answer = {
        "state": "done",
        "status": 201,
        "headers": '[["x-a", "1"], ["x-a", "2"]]',
        "body": b"\xff",
        "outcome": "ok",
    }
    it = sent(ours.database_url, script, changed=answer)
    runs = [tried(ours.database_url, it, "timeout"), tried(ours.database_url, it, "ok")]
    shown = ours.api("GET", f"jobs/{it}").json
    assert shown["result"] == {
        "status": 201,
        "headers": {"x-a": ["1", "2"]},
        "body": "/w==",
        "base64": True,
        "cut": False,
    }
    assert [(run["invocation"], run["outcome"]) for run in shown["runs"]] == list(
        zip(runs, ("timeout", "ok"), strict=True)
    )
    cut = ours.api("GET", f"jobs/{sent(ours.database_url, script, changed=answer | {'body': None})}").json
    assert (cut["result"]["body"], cut["result"]["cut"]) == ("", True)


def test_a_job_is_cancelled_once_and_not_while_it_runs(ours: Running, script: str) -> None:
    it = waiting(ours, script)
    tried(ours.database_url, it)
    with held(ours.database_url, it):
        assert ours.api("GET", f"jobs/{it}").json["state"] == "running"
        refused = ours.api("DELETE", f"jobs/{it}")
        assert (refused.status, refused.problem) == (409, "conflict")
        assert "it is running" in refused.json["detail"]
    execute(ours.database_url, "UPDATE job_attempts SET outcome = 'timeout' WHERE job = %s", it)
    done = ours.api("DELETE", f"jobs/{it}")
    assert (done.status, done.body) == (204, b"")
    shown = ours.api("GET", f"jobs/{it}").json
    assert (shown["state"], shown["ended_at"] is not None) == ("cancelled", True)
    assert "it is cancelled" in ours.api("DELETE", f"jobs/{it}").json["detail"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("path", [f"jobs/{NOBODY}", "jobs/x", f"dead-letters/{NOBODY}", "dead-letters/x%00"])
def test_what_is_not_there_is_not_found(ours: Running, method: str, path: str) -> None:
    assert ours.api(method, path).problem == "not-found"


def test_the_queue_is_counted(ours: Running, script: str) -> None:
    for _ in range(2):
        waiting(ours, script)
    dead(ours.database_url, script)
    shown = ours.api("GET", "queue").json
    (own,) = [it for it in shown.pop("scripts") if it["script"] == script]
    assert own == {
        "queued": 2, "running": 0, "done": 0, "dead": 1, "cancelled": 0, "due": 0, "oldest_ms": 0.0, "script": script,
    }  # fmt: skip
    assert shown["queued"] >= 2
    assert set(own) == {*shown, "script"}
    limited = ours.call("GET", "/api/v1/queue", headers=as_somebody(ours, [Scope.READ], [script])).json
    assert limited.pop("scripts") == [own]
    assert {**limited, "script": script} == own


def test_a_limited_token_sees_and_touches_its_scripts_jobs_alone(ours: Running, script: str) -> None:
    ours.deploy("not-theirs", "return 1")
    own, other = waiting(ours, script), waiting(ours, "not-theirs")
    lost, kept = dead(ours.database_url, script), dead(ours.database_url, "not-theirs")
    headers = as_somebody(ours, [Scope.READ, Scope.INVOKE], [script])

    def ask(method: str, path: str) -> Answer:
        return ours.call(method, f"/api/v1/{path}", headers=headers)

    assert {it["id"] for it in ask("GET", "jobs").json["items"]} == {own, lost}
    assert [it["id"] for it in ask("GET", "dead-letters").json["items"]] == [lost]
    assert ask("GET", "jobs?script=not-theirs").problem == "forbidden"
    for method, path in (("GET", f"jobs/{other}"), ("DELETE", f"jobs/{other}"), ("GET", f"dead-letters/{kept}"),
                         ("DELETE", f"dead-letters/{kept}"), ("POST", f"dead-letters/{kept}/retry")):  # fmt: skip
        assert ask(method, path).problem == "not-found"
    assert ask("DELETE", "dead-letters").json == {"purged": 1}
    assert ask("DELETE", "dead-letters?script=not-theirs").problem == "forbidden"
    assert ask("DELETE", f"jobs/{own}").status == 204
    assert ours.api("GET", f"dead-letters/{kept}").status == 200


def asked(body: bytes = b"", **more: Any) -> Request:
    """What a job sees that came of HTTP."""
    headers = (
        ("authorization", "Basic abc"),
        ("content-type", "text/plain"),
        ("content-length", str(len(body))),
        ("x-a", "1"),
    )
    return replace(
        REQUEST,
        **{"method": "PUT", "path": "/fn/x/\xc3\xa9", "query_string": "q=1", "headers": headers, "body": body} | more,
    )


def test_a_dead_letter_shows_its_request_its_runs_and_its_last_log(ours: Running, script: str) -> None:
    ours.deploy(script, "log.info('before') error('it broke')")
    failed = ours.api("POST", f"scripts/{script}/invoke?recorded=true", b"").header("picloud-invocation")
    it = dead(ours.database_url, script, asked(b"\xff"))
    execute(ours.database_url, "UPDATE jobs SET invocation = %s WHERE id = %s", failed, it)
    shown = ours.api("GET", f"dead-letters/{it}").json
    assert list(shown) == [*FIELDS, "request", "runs", "logs"]
    assert (shown["state"], shown["outcome"], shown["error"]) == ("dead", "script-error", "main.lua:1: no")
    assert [line["message"].splitlines()[0] for line in shown["logs"]] == [
        "before",
        "script-error: main.lua:1: it broke",
    ]
    request = shown["request"]
    assert (request["method"], request["path"], request["query"]) == ("PUT", "/fn/x/é", "q=1")
    assert (base64.b64decode(request["body"]), request["base64"], request["body_bytes"]) == (b"\xff", True, 1)
    assert (request["headers"]["authorization"], request["headers"]["x-a"], request["masked"]) == ("***", "1", True)


def test_what_its_script_is_granted_is_masked_in_it(ours: Running, script: str) -> None:
    assert ours.api("PUT", "secrets/LETTER", {"value": "opensesame"}).status == 201
    ours.set(script, {"secrets": ["LETTER"]})
    it = dead(ours.database_url, script, asked(b'{"key": "opensesame"}', path="/opensesame"))
    request = ours.api("GET", f"dead-letters/{it}").json["request"]
    assert (request["path"], json.loads(request["body"])) == ("/***", {"key": "***"})
    assert request_of(ours, it).body == b'{"key": "opensesame"}', "the script will see it as it was"


def test_of_a_script_that_is_gone_there_is_no_request_to_be_seen(ours: Running, script: str) -> None:
    it = dead(ours.database_url, script, asked(b"secret"))
    ours.api("DELETE", f"scripts/{script}")
    answer = ours.api("GET", f"dead-letters/{it}")
    assert (answer.status, answer.json["request"]) == (200, None)
    assert b"secret" not in answer.body


def test_a_job_that_is_not_dead_is_no_dead_letter(ours: Running, script: str) -> None:
    it = waiting(ours, script)
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/retry")):
        answer = ours.api(method, f"dead-letters/{it}{path}")
        assert answer.problem == "not-found"
        assert "that job is queued" in answer.json["detail"]
    assert ours.api("GET", f"jobs/{it}").json["state"] == "queued"


def test_a_dead_letter_is_queued_again_as_it_was(ours: Running, script: str) -> None:
    it = dead(ours.database_url, script, asked(b"body"))
    answer = ours.api("POST", f"dead-letters/{it}/retry")
    assert (answer.status, answer.header("location")) == (202, f"/api/v1/jobs/{it}")
    assert list(answer.json) == FIELDS
    assert (answer.json["id"], answer.json["state"], answer.json["attempts"], answer.json["crashes"]) == (
        it,
        "queued",
        0,
        0,
    )
    assert answer.json["ended_at"] is None
    assert request_of(ours, it) == asked(b"body")
    assert ours.api("POST", f"dead-letters/{it}/retry").problem in ("not-found", "conflict")


@pytest.mark.parametrize("payload", [{"n": [1, None, "é"]}, "text", 7, None, False])
def test_a_dead_letter_is_queued_again_with_another_payload(ours: Running, script: str, payload: object) -> None:
    it = dead(ours.database_url, script, asked(b"body"))
    assert ours.api("POST", f"dead-letters/{it}/retry", {"payload": payload}).status == 202
    request = request_of(ours, it)
    assert json.loads(request.body) == payload
    headers = (("authorization", "Basic abc"), ("x-a", "1"), ("content-type", "application/json"))
    assert request == asked(request.body, headers=headers)


@pytest.mark.parametrize(
    ("body", "content_type", "problem"),
    [
        (b'{"payloud": 1}', "application/json", "invalid-request"),
        (b"{", "application/json", "invalid-request"),
        (b"[]", "application/json", "invalid-request"),
        (b"x", "text/plain", "unsupported-media-type"),
        (b'{"payload": "' + b"x" * 1024 * 1024 + b'"}', "application/json", "body-too-large"),
    ],
)
def test_a_retry_that_is_asked_wrongly_changes_nothing(
    ours: Running, script: str, body: bytes, content_type: str, problem: str
) -> None:
    it = dead(ours.database_url, script)
    assert ours.api("POST", f"dead-letters/{it}/retry", body, content_type).problem == problem
    assert ours.api("GET", f"jobs/{it}").json["state"] == "dead"


def test_a_dead_letter_that_somebody_else_is_at_is_a_conflict(ours: Running, script: str) -> None:
    it = dead(ours.database_url, script)
    with held(ours.database_url, it):
        for method, path in (("POST", "/retry"), ("DELETE", "")):
            assert ours.api(method, f"dead-letters/{it}{path}").problem == "conflict"
        assert ours.api("DELETE", f"dead-letters?script={script}").json == {"purged": 0}
    assert ours.api("DELETE", f"dead-letters/{it}").status == 204
    assert ours.api("GET", f"jobs/{it}").problem == "not-found"


def test_dead_letters_are_purged_by_script_or_all(ours: Running, script: str) -> None:
    ours.deploy("purged-too", "return 1")
    for name in (script, script, "purged-too"):
        dead(ours.database_url, name)
    stays = waiting(ours, script)
    assert ours.api("DELETE", f"dead-letters?script={script}").json == {"purged": 2}
    assert items(ours, "dead-letters?script=purged-too") != []
    assert ours.api("DELETE", "dead-letters").json["purged"] >= 1
    assert items(ours, "dead-letters") == []
    assert [it["id"] for it in items(ours, f"jobs?script={script}")] == [stays]


def test_a_server_cleans_up_what_has_ended_with_its_first_record(ours: Running, script: str) -> None:
    old = sent(ours.database_url, script, changed={"state": "done", "ended_at": datetime(2020, 1, 1, tzinfo=UTC)})
    ancient = "016f5e66-e800-7000-8000-" + new_id()[-12:]
    execute(ours.database_url, "UPDATE jobs SET id = %s WHERE id = %s", ancient, old)
    ours.kill_server()
    ours.api("POST", f"scripts/{script}/invoke?recorded=true", b"")
    eventually(lambda: ours.api("GET", f"jobs/{ancient}").status, lambda status: status == 404)


def ended(ours: Running, job: str) -> Any:
    """A job, once it has."""
    found = eventually(lambda: ours.api("GET", f"jobs/{job}").json, lambda it: it["ended_at"] is not None)
    assert found["runs"][-1]["invocation"] == found["invocation"]
    return found


def test_what_was_asked_for_later_is_done_and_its_answer_is_there(ours: Running, script: str) -> None:
    source = "return { status = 201, headers = { ['x-a'] = request.trigger }, body = request.method .. request.body }"
    ours.deploy(script, source)
    job = ours.call("PUT", f"/fn/{script}", b" it", {"prefer": "respond-async"}).json["job"]
    found = ended(ours, job)
    assert (found["state"], found["outcome"], found["attempts"], found["error"]) == ("done", "ok", 0, "")
    assert (found["result"]["status"], found["result"]["headers"]["x-a"], found["result"]["body"]) == (
        201,
        "job",
        "PUT it",
    )
    record = eventually(lambda: ours.api("GET", f"invocations/{found['invocation']}"), lambda it: it.status == 200)
    assert (record.json["trigger"], record.json["status"]) == ("job", 201)


def test_what_fails_is_a_dead_letter_until_it_is_mended(ours: Running, script: str) -> None:
    ours.deploy(script, "local n = request:json().n log.info('asked for', n) return { body = 1 // n }")
    ours.set(script, {"retry": {"max_attempts": 2, "backoff_ms": 1}})
    headers = {"prefer": "respond-async", "authorization": f"Bearer {ours.token}"}
    job = ours.call("POST", f"/api/v1/scripts/{script}/invoke", b'{"n": 0}', headers).json["id"]
    found = ended(ours, job)
    assert (found["state"], found["outcome"], found["attempts"]) == ("dead", "script-error", 2)
    assert [run["outcome"] for run in found["runs"]] == ["script-error"] * 2
    letter = eventually(lambda: ours.api("GET", f"dead-letters/{job}").json, lambda it: bool(it["logs"]))
    assert (letter["request"]["body"], letter["logs"][0]["invocation"]) == ('{"n": 0}', found["invocation"])
    assert "asked for" in letter["logs"][0]["message"]
    assert ours.api("POST", f"dead-letters/{job}/retry", {"payload": {"n": 1}}).status == 202
    found = ended(ours, job)
    assert (found["state"], found["result"]["body"], found["attempts"], len(found["runs"])) == ("done", "1", 0, 3)
