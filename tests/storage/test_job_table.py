"""Jobs as they are looked after: seen in every state, cancelled, tried again, thrown away, and nobody waited for."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from picloud.errors import Conflict, NotFound
from picloud.model import JobFilter, JobState, NewJob, Outcome, QueueState, Trigger
from picloud.storage.dead_letters import DeadLetterTable
from picloud.storage.job_retention import JobRetention
from picloud.storage.job_table import JobTable
from picloud.storage.pool import Pool
from tests.fixtures_postgres import execute
from tests.queued import REQUEST, dead, held, sent, tried
from tests.running import eventually

NOBODY = "00000000-0000-7000-8000-000000000000"
HOUR_MS = 3_600_000


class Rung:
    """Counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def rung() -> Rung:
    return Rung()


@pytest.fixture
def jobs(pool: Pool, rung: Rung) -> JobTable:
    return JobTable(pool, rung)


@pytest.fixture
def letters(pool: Pool, rung: Rung) -> DeadLetterTable:
    return DeadLetterTable(pool, rung)


def state(jobs: JobTable, identifier: str) -> JobState:
    return jobs.history(identifier).job.state


def listed(jobs: JobTable, wanted: JobFilter | None = None, limit: int = 50, after: str = "") -> list[str]:
    return [it.id for it in jobs.page(wanted or JobFilter(), limit, after)]


def test_what_is_added_is_there_and_rung_for_once(jobs: JobTable, rung: Rung) -> None:
    added = jobs.add(NewJob("s", REQUEST, delay_ms=HOUR_MS, key="k", max_attempts=7, priority=-3, ordering_key="o"))
    it = added.job
    assert added.twin is None
    assert jobs.history(it.id).job == it
    assert (it.script, it.trigger, it.state, it.priority, it.key, it.ordering_key) == (
        "s", Trigger.JOB, JobState.QUEUED, -3, "k", "o",
    )  # fmt: skip
    assert (it.attempts, it.max_attempts, it.crashes, it.ended_at, it.invocation, it.outcome, it.error) == (
        0, 7, 0, None, None, None, "",
    )  # fmt: skip
    assert timedelta(0) <= it.due_at - it.created_at - timedelta(hours=1) + timedelta(seconds=1) < timedelta(minutes=1)
    assert jobs.request(it.id) == REQUEST
    assert rung.count == 1


def test_of_a_script_s_jobs_one_is_kept_with_a_key(jobs: JobTable, rung: Rung) -> None:
    first = jobs.add(NewJob("s", REQUEST, key="k"))
    again = jobs.add(NewJob("s", replace(REQUEST, body=b"2"), key="k"))
    assert (again.job, again.twin) == (first.job, REQUEST)
    assert rung.count == 1, "nothing new is there to do"
    assert jobs.add(NewJob("t", REQUEST, key="k")).job.id != first.job.id


def test_a_job_is_running_while_an_attempt_at_it_may_be(jobs: JobTable, database: str) -> None:
    runs, waits, crashed, ended = (sent(database) for _ in range(4))
    tried(database, runs)
    tried(database, crashed, left=timedelta(seconds=-31))
    tried(database, ended, "script-error")
    states = {it: state(jobs, it) for it in (runs, waits, crashed, ended)}
    assert states == dict.fromkeys((waits, crashed, ended), JobState.QUEUED) | {runs: JobState.RUNNING}
    assert listed(jobs, JobFilter(state=JobState.RUNNING)) == [runs]
    assert listed(jobs, JobFilter(state=JobState.QUEUED)) == [ended, crashed, waits]


def test_jobs_are_listed_newest_first_by_pages_and_filtered(jobs: JobTable, database: str) -> None:
    first, second = sent(database, key="a"), sent(database, "t", key="a")
    third, fourth = dead(database), sent(database, changed={"state": "done", "ended_at": datetime.now(UTC)})
    assert listed(jobs) == [fourth, third, second, first]
    assert (listed(jobs, limit=2), listed(jobs, limit=2, after=third)) == ([fourth, third], [second, first])
    assert listed(jobs, JobFilter(script="t")) == [second]
    assert listed(jobs, JobFilter(scripts=frozenset({"t"}))) == [second]
    assert listed(jobs, JobFilter(scripts=frozenset())) == []
    assert listed(jobs, JobFilter(key="a")) == [second, first]
    assert listed(jobs, JobFilter(key="a", script="s")) == [first]
    by_state = {one: listed(jobs, JobFilter(state=one)) for one in JobState}
    assert by_state == {
        JobState.QUEUED: [second, first], JobState.RUNNING: [], JobState.DONE: [fourth], JobState.DEAD: [third],
        JobState.CANCELLED: [],
    }  # fmt: skip


def test_a_job_is_shown_with_its_answer_and_its_runs_oldest_first(jobs: JobTable, database: str) -> None:
    answer = {"state": "done", "status": 201, "headers": '[["x-a", "1"]]', "body": b"\xff", "outcome": "ok"}
    it = sent(database, changed=answer)
    runs = [tried(database, it, "script-error"), tried(database, it, "ok")]
    found = jobs.history(it)
    assert found.response
    assert not found.cut
    assert (found.response.status, found.response.headers, found.response.body) == (201, (("x-a", "1"),), b"\xff")
    assert [(run.invocation, run.outcome) for run in found.runs] == list(zip(runs, ("script-error", "ok"), strict=True))
    assert found.job.outcome is Outcome.OK
    assert jobs.history(sent(database)).response is None
    assert jobs.history(sent(database, changed=answer | {"body": None})).cut


def test_other_scripts_jobs_are_as_if_they_were_not_there(
    jobs: JobTable, letters: DeadLetterTable, database: str
) -> None:
    it, lost = sent(database), dead(database)
    for only in ({"t"}, set[str]()):
        for ask in (jobs.history, jobs.request, jobs.cancel):
            with pytest.raises(NotFound):
                ask(it, only)
        with pytest.raises(NotFound):
            letters.retry(lost, lambda request: request, only)
        with pytest.raises(NotFound):
            letters.delete(lost, only)
        assert letters.purge("", only) == 0
        assert jobs.queues(only) == (QueueState(0, 0, 0, 0, 0, 0, 0.0), {})
    jobs.cancel(it, {"s"})
    assert letters.purge("", {"s", "t"}) == 1


def test_what_is_not_there_is_not_found(jobs: JobTable, letters: DeadLetterTable) -> None:
    for ask in (jobs.history, jobs.request, jobs.cancel, letters.delete):
        with pytest.raises(NotFound, match=NOBODY):
            ask(NOBODY)
    with pytest.raises(NotFound, match=NOBODY):
        letters.retry(NOBODY, lambda request: request)


def test_a_job_that_waits_is_cancelled_and_whoever_comes_after_it_is_rung_for(
    jobs: JobTable, database: str, rung: Rung
) -> None:
    it = sent(database)
    lost = tried(database, it)  # a dispatcher died in it
    jobs.cancel(it)
    found = jobs.history(it)
    assert (found.job.state, found.job.ended_at is not None) == (JobState.CANCELLED, True)
    assert [(run.invocation, run.outcome) for run in found.runs] == [(lost, "crashed")], "nobody waits for it"
    assert rung.count == 1
    with pytest.raises(Conflict, match="it is cancelled"):
        jobs.cancel(it)


@pytest.mark.parametrize("ended", ["done", "dead", "cancelled"])
def test_a_job_that_has_ended_cannot_be_cancelled(jobs: JobTable, database: str, rung: Rung, ended: str) -> None:
    it = sent(database, changed={"state": ended})
    with pytest.raises(Conflict, match=f"it is {ended}"):
        jobs.cancel(it)
    assert (state(jobs, it), rung.count) == (ended, 0)


def test_nobody_waits_for_a_job_that_runs(jobs: JobTable, letters: DeadLetterTable, pool: Pool, database: str) -> None:
    it, lost, old = sent(database), dead(database), sent(database, changed={"state": "done", "ended_at": "2000-01-01"})
    tried(database, it)
    with held(database, it, lost, old):
        with pytest.raises(Conflict, match="it is running"):
            jobs.cancel(it)
        with pytest.raises(Conflict, match="somebody else"):
            letters.retry(lost, lambda request: request)
        with pytest.raises(Conflict, match="somebody else"):
            letters.delete(lost)
        with pytest.raises(NotFound, match="that job is queued"):
            letters.delete(it)
        assert letters.purge() == 0
        assert JobRetention(pool, keep_days=1, keep_rows=1, dead_days=1).expire() == 0
        assert set(listed(jobs)) == {it, lost, old}
        assert jobs.queues()[0].dead == 1
    letters.delete(lost)
    assert set(listed(jobs)) == {it, old}


def test_who_holds_a_job_for_a_moment_does_not_keep_it_from_being_cancelled(jobs: JobTable, database: str) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

    def cancelled() -> bool:
        it = sent(database)
        with ThreadPoolExecutor(1) as threads:
            with held(database, it):
                cancelling = threads.submit(jobs.cancel, it)
                eventually(lambda: cancelling.done() or execute(database, waiting) == [(1,)], bool)
            with suppress(Conflict):
                cancelling.result()
        return state(jobs, it) is JobState.CANCELLED

    assert any(cancelled() for _ in range(5)), "not even once: this machine cannot be so busy"


def test_a_job_that_is_about_to_run_is_not_waited_for_long(jobs: JobTable, database: str) -> None:
    it = sent(database)
    with held(database, it), pytest.raises(Conflict, match="it is running"):
        jobs.cancel(it)
    assert state(jobs, it) is JobState.QUEUED


def test_a_dead_letter_is_queued_again_with_all_of_its_attempts(
    jobs: JobTable, letters: DeadLetterTable, database: str, rung: Rung
) -> None:
    it = dead(database, key="k", max_attempts=3)
    tried(database, it)  # that crashed
    before = jobs.history(it).job
    queued = letters.retry(it, lambda request: request)
    assert queued == jobs.history(it).job
    assert (queued.state, queued.attempts, queued.crashes, queued.max_attempts) == (JobState.QUEUED, 0, 0, 3)
    assert (queued.key, queued.ended_at, queued.error) == ("k", None, before.error)
    assert queued.due_at > before.due_at
    assert (jobs.request(it), rung.count) == (REQUEST, 1)
    assert [run.outcome for run in jobs.history(it).runs] == ["crashed"], "that crash is counted no more"
    with pytest.raises(NotFound, match="that job is queued"):
        letters.retry(it, lambda request: request)


def test_a_dead_letter_is_queued_again_with_another_request(
    jobs: JobTable, letters: DeadLetterTable, database: str
) -> None:
    it = dead(database)
    letters.retry(it, lambda request: replace(request, body=request.body + b"!"))
    assert jobs.request(it) == replace(REQUEST, body=REQUEST.body + b"!")


def test_a_dead_letter_goes_to_the_end_of_its_lane(letters: DeadLetterTable, database: str) -> None:
    first, second, elsewhere = (
        dead(database, ordering_key="o"), sent(database, ordering_key="o"), sent(database, ordering_key="p")
    )  # fmt: skip
    letters.retry(first, lambda request: request)
    positions = execute(database, "SELECT id::text, position FROM jobs")
    assert set(positions) == {(first, 3), (second, 2), (elsewhere, 1)}


def test_dead_letters_are_thrown_away_by_script_or_all(jobs: JobTable, letters: DeadLetterTable, database: str) -> None:
    mine, theirs, waits = [dead(database) for _ in range(3)], dead(database, "t"), sent(database)
    tried(database, mine[0], "timeout")
    letters.delete(mine.pop())
    assert letters.purge("s") == 2
    assert set(listed(jobs)) == {theirs, waits}
    assert execute(database, "SELECT count(*) FROM job_attempts") == [(0,)]
    assert (letters.purge(), letters.purge()) == (1, 0)
    assert listed(jobs) == [waits]


def test_more_dead_letters_than_go_at_once_go(letters: DeadLetterTable, database: str) -> None:
    it = dead(database)
    execute(
        database,
        """INSERT INTO jobs (id, script, trigger, state, request, priority, due_at)
           SELECT gen_random_uuid(), script, trigger, state, request, priority, due_at
           FROM jobs, generate_series(1, 4500) WHERE id = %s""",
        it,
    )
    assert letters.purge() == 4501


def test_the_queue_is_counted_in_all_and_by_script(jobs: JobTable, database: str) -> None:
    hours_ago = datetime.now(UTC) - timedelta(hours=2)
    sent(database, due_at=hours_ago)
    sent(database, delay_ms=HOUR_MS)
    tried(database, sent(database))
    dead(database, "t")
    sent(database, "t", changed={"state": "done"})
    sent(database, "t", changed={"state": "cancelled"})
    total, of_scripts = jobs.queues()
    assert replace(total, oldest_ms=0.0) == QueueState(2, 1, 1, 1, 1, 1, 0.0)
    assert 2 * HOUR_MS <= total.oldest_ms < 3 * HOUR_MS
    assert of_scripts == {"s": replace(total, done=0, dead=0, cancelled=0), "t": QueueState(0, 0, 1, 1, 1, 0, 0.0)} | {
        "s": of_scripts["s"]
    }
    assert (of_scripts["s"].queued, of_scripts["s"].running, of_scripts["s"].done) == (2, 1, 0)
    assert jobs.queues({"t"})[0] == of_scripts["t"]


def test_a_request_survives_whatever_bytes_it_has(jobs: JobTable) -> None:
    odd = replace(REQUEST, path="/\xff\0", headers=(("x", "\xe9"),), body=bytes(range(256)), params=(("rest", "\0"),))
    added = jobs.add(NewJob("s", odd))
    assert jobs.request(added.job.id) == odd
    assert uuid.UUID(added.job.id).version == 7
