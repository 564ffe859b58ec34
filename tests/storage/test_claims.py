"""Claims of jobs: one holds a job at a time, and it is left as its run says, or as it was."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime

import psycopg2
import pytest

from picloud.errors import DatabaseUnavailable
from picloud.model import Invocation, JobEnd, JobState, NewJob, Outcome, Request, Response, Trigger, Value, new_id
from picloud.storage import claims as claims_module
from picloud.storage.claims import Claim, Claims
from picloud.storage.jobs import send, through
from picloud.storage.pool import Pool
from picloud.storage.unit_of_work import UnitsOfWork
from tests.fixtures_postgres import execute

PATIENCE_S = 60.0
MOST_MS = 60_000
REQUEST = Request("", "POST", "/", "", (), b"7", trigger=Trigger.JOB)
Send = Callable[..., str]


@pytest.fixture
def claims(database: str) -> Iterator[Claims]:
    with (
        closing(UnitsOfWork(database, size=1, wait_ms=100)) as units,
        closing(Claims(units, database, size=4, node="here")) as ours,
    ):
        yield ours


@pytest.fixture
def send_one(database: str) -> Iterator[Send]:
    """Stores a job of the script 's' → its id."""
    with closing(Pool(database, size=1, wait_ms=1000)) as pool:

        def put(script: str = "s", **fields: object) -> str:
            with pool.transaction() as cursor:
                return send(through(cursor), NewJob(script, REQUEST, **fields)).id  # type: ignore[arg-type]

        yield put


def claimed(claims: Claims, *busy: str) -> Claim:
    claim = claims.claim(busy)
    assert claim
    return claim


def free(claims: Claims, *busy: str) -> str:
    """Which job would be claimed next."""
    with closing(claimed(claims, *busy)) as claim:
        return claim.job.id


def fail(claim: Claim, *, delay_ms: int = 0, state: JobState = JobState.QUEUED) -> None:
    claim.started(new_id(), MOST_MS)
    claim.leave(JobEnd(state, Outcome.SCRIPT_ERROR, "why", delay_ms, counts=True))
    claim.close()


def invocation() -> Invocation:
    return Invocation(new_id(), "s", 1, Trigger.JOB, Outcome.OK, 200, datetime.now(UTC), 0.0, 0.0, 0.0, 0)


def finish(claim: Claim, key: str = "k") -> Invocation:
    """Run it to its end, with a write."""
    record = invocation()
    claim.started(record.id, MOST_MS)
    work = claim.begin(time.monotonic() + PATIENCE_S)
    work.kv.put("space", key, Value.of_number(1), None)
    claim.answer = Response(201, (("x-a", "b"),), b"made")
    work.commit(record)
    claim.close()
    return record


def row(database: str, job: str, columns: str) -> tuple[object, ...]:
    return execute(database, f"SELECT {columns} FROM jobs WHERE id = %s::uuid", job)[0]


def test_a_job_has_its_request_and_nobody_else_gets_it(claims: Claims, send_one: Send) -> None:
    job = send_one()
    with closing(claimed(claims)) as claim:
        assert (claim.job.id, claim.job.script, claim.job.request) == (job, "s", REQUEST)
        assert claims.claim(()) is None
    assert free(claims) == job


def test_what_it_does_its_answer_and_its_end_are_stored_together(claims: Claims, send_one: Send, database: str) -> None:
    job = send_one()
    record = finish(claimed(claims))
    assert claims.claim(()) is None
    columns = "state, invocation::text, status, headers, body, attempts, ended_at IS NOT NULL"
    state, name, status, headers, body, attempts, ended = row(database, job, columns)
    assert (state, name, status, headers, attempts, ended) == ("done", record.id, 201, '[["x-a","b"]]', 0, True)
    assert isinstance(body, memoryview)
    assert body.tobytes() == b"made"
    assert execute(database, "SELECT key FROM kv") == [("k",)]
    assert execute(database, "SELECT id::text FROM invocations") == [(record.id,)]
    assert execute(database, "SELECT outcome FROM job_attempts") == [("ok",)]


def test_an_answer_that_is_too_large_is_not_kept(claims: Claims, send_one: Send, database: str) -> None:
    job = send_one()
    claim = claimed(claims)
    work = claim.begin(time.monotonic() + PATIENCE_S)
    claim.answer = Response(200, (), bytes(64 * 1024 + 1))
    work.commit(invocation())
    claim.close()
    assert row(database, job, "state, status, body") == ("done", 200, None)


def test_what_a_failed_run_did_is_undone_and_the_job_waits(claims: Claims, send_one: Send, database: str) -> None:
    job = send_one()
    claim = claimed(claims)
    claim.begin(time.monotonic() + PATIENCE_S).kv.put("space", "k", Value.of_number(1), None)
    fail(claim, delay_ms=3_600_000)
    assert execute(database, "SELECT key FROM kv") == []
    assert row(database, job, "state, attempts, error, outcome") == ("queued", 1, "why", "script-error")
    assert claims.claim(()) is None
    next_s = claims.next_in_s(())
    assert next_s is not None
    assert 0 < next_s <= 3600


def test_a_run_that_clashed_begins_anew_in_the_same_claim(claims: Claims, send_one: Send, database: str) -> None:
    send_one()
    claim = claimed(claims)
    first = claim.begin(time.monotonic() + PATIENCE_S)
    first.kv.put("space", "a", Value.of_number(1), None)
    with pytest.raises(psycopg2.DataError):
        first.read("SELECT 1 / 0", {})
    first.close()
    finish(claim, "b")
    assert execute(database, "SELECT key FROM kv") == [("b",)]


def test_a_job_whose_dispatcher_is_gone_is_free_and_that_run_was_a_crash(
    claims: Claims, send_one: Send, database: str
) -> None:
    job = send_one()
    for crashes in range(3):
        claim = claimed(claims)
        assert (claim.job.crashes, claim.job.new_crashes) == (crashes, crashes)  # what is not committed is found again
        claim.started(new_id(), MOST_MS)
        claim.close()
    claim = claimed(claims)
    claim.leave(JobEnd(JobState.QUEUED, Outcome.EXECUTOR_LOST))
    claim.close()
    assert row(database, job, "crashes, attempts") == (3, 0)
    with closing(claimed(claims)) as again:
        assert (again.job.crashes, again.job.new_crashes) == (3, 0)
    assert execute(database, "SELECT DISTINCT outcome FROM job_attempts") == [("executor-lost",)]


def test_a_killed_backend_frees_its_job(claims: Claims, send_one: Send, database: str) -> None:
    job = send_one()
    claim = claimed(claims)
    execute(
        database,
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE state = 'idle in transaction' AND datname = current_database()",
    )
    with pytest.raises(DatabaseUnavailable):
        claim.leave(JobEnd(JobState.DEAD, Outcome.SCRIPT_ERROR))
    claim.close()
    assert row(database, job, "state") == ("queued",)
    assert free(claims) == job


def test_those_of_a_busy_script_are_left(claims: Claims, send_one: Send) -> None:
    send_one("busy")
    other = send_one("other")
    with closing(claimed(claims, "busy")) as claim:
        assert claim.job.id == other
        assert claims.claim(("busy",)) is None
        assert claims.next_in_s(("busy",)) is None


def test_higher_priorities_go_first_then_who_is_due_longest(claims: Claims, send_one: Send) -> None:
    past = [datetime(2020, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    low = send_one(priority=-1, due_at=past[0])
    second, first = (send_one(due_at=moment) for moment in (past[2], past[1]))
    high = send_one(priority=1)
    held = [claimed(claims) for _ in range(4)]
    assert [claim.job.id for claim in held] == [high, first, second, low]
    for claim in held:
        claim.close()


def test_one_ordering_key_is_one_line(claims: Claims, send_one: Send) -> None:
    first, second = (send_one(ordering_key="line") for _ in range(2))
    beside = send_one(ordering_key="other line")
    with closing(claimed(claims)) as one, closing(claimed(claims)) as other:
        assert (one.job.id, other.job.id) == (first, beside)
        assert claims.claim(()) is None
        assert claims.next_in_s(()) is None  # whoever runs the first looks for the second
    fail(claimed(claims), delay_ms=3_600_000)  # it is tried again, and the line waits
    assert free(claims) == beside != second


def test_who_is_subscribed_to_dead_jobs_hears_of_one_in_the_same_commit(
    claims: Claims, send_one: Send, database: str
) -> None:
    execute(database, "INSERT INTO script_names VALUES ('mourner', 1)")
    execute(
        database,
        "WITH made AS (INSERT INTO scripts (name, active_version) VALUES ('mourner', 1) RETURNING id),"
        " known AS (INSERT INTO versions (script_id, version, sha256, bytes, created_by)"
        "   SELECT id, 1, '', 0, '' FROM made)"
        " INSERT INTO subscriptions (script_id, type, source, subject) SELECT id, 'picloud.job.*', '', '' FROM made",
    )
    job = send_one()
    fail(claimed(claims), state=JobState.DEAD)
    with closing(claimed(claims)) as claim:
        event = json.loads(claim.job.request.event)
        assert (claim.job.script, claim.job.request.event_depth) == ("mourner", 1)
    assert (event["type"], event["source"], event["subject"]) == ("picloud.job.dead", "/picloud", "s")
    told = event["data"]
    assert (told["job"], told["outcome"], told["error"], told["attempts"]) == (job, "script-error", "why", 1)


def test_a_line_goes_on_behind_one_that_is_dead_or_done(claims: Claims, send_one: Send) -> None:
    _, second, third = (send_one(ordering_key="line") for _ in range(3))
    fail(claimed(claims), state=JobState.DEAD)
    claim = claimed(claims)
    assert claim.job.id == second
    finish(claim)
    assert free(claims) == third


def test_with_nothing_to_do_there_is_no_next_moment(claims: Claims, send_one: Send) -> None:
    assert claims.next_in_s(()) is None
    send_one(delay_ms=3_600_000)
    next_s = claims.next_in_s(())
    assert next_s is not None
    assert 3_500 < next_s <= 3_600
    assert claims.claim(()) is None


def test_an_attempt_that_nobody_ended_is_looked_at_after_its_deadline(
    claims: Claims, send_one: Send, database: str
) -> None:
    send_one()
    with closing(claimed(claims)) as claim:  # its dispatcher died, and PostgreSQL has not noticed yet
        claim.started(new_id(), 3_600_000)
        next_s = claims.next_in_s(())
        assert next_s is not None
        assert 3_600 < next_s <= 3_630
        execute(database, "UPDATE job_attempts SET deadline = now() - interval '31 s'")
        assert claims.next_in_s(()) is None  # it was looked at


def test_a_claim_takes_the_first_of_a_queue_and_does_not_sort_it(database: str, send_one: Send) -> None:
    for _ in range(50):
        send_one()
    for analyzed in ("", "ANALYZE jobs"):
        with closing(Pool(database, size=1, wait_ms=1000)) as pool, pool.transaction() as cursor:
            cursor.execute(analyzed or "SELECT 1")
            cursor.execute(f"{claims_module._IN_ORDER}; EXPLAIN {claims_module._CLAIM}", {"busy": []})
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "Index Scan using jobs_ready" in plan
        assert "Sort" not in plan


def test_of_a_scripts_jobs_one_has_a_key(send_one: Send, database: str) -> None:
    job = send_one(key="a")
    assert send_one(key="a") == job
    assert send_one("other", key="a") != job
    assert send_one(key="b") != job
    assert execute(database, "SELECT count(*) FROM jobs") == [(3,)]
