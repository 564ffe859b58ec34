"""Jobs in PostgreSQL, for who looks after them: asked for, listed, looked at, cancelled.

Owns: what a job looks like from outside. `jobs` has how one is sent, `claims` how one is run, `dead_letters` what is
done to those that failed, `job_retention` when one goes. ``only``: the scripts that who asks may know of; None: all.

Whoever runs a job holds its row to the end of the run, which may take minutes: nothing here waits for a row.
"""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import msgspec

from picloud.errors import Conflict
from picloud.model import (
    AddedJob,
    HeaderList,
    Job,
    JobFilter,
    JobHistory,
    JobRun,
    JobState,
    NewJob,
    Outcome,
    QueueState,
    Request,
    Response,
    Trigger,
)
from picloud.storage.connection import Cursor, LockTimeout
from picloud.storage.jobs import BURY_RUNS, CANCEL, RUNS_NOW, refuse_if_full, send, through
from picloud.storage.pool import Pool
from picloud.storage.rows import found

_RUNS_MAX = 100  # that are shown of a job

COLUMNS = f"""jobs.id::text, jobs.script, trigger, CASE WHEN {RUNS_NOW} THEN 'running' ELSE jobs.state END, priority,
  due_at, key, ordering_key, attempts, max_attempts, crashes, created_at, ended_at, invocation::text, outcome, error"""

OF_THEM = "(%(only)s::text[] IS NULL OR jobs.script = ANY(%(only)s::text[]))"
_ONE = f"jobs.id = %(id)s::uuid AND {OF_THEM}"

_IN_STATE = {
    JobState.QUEUED: f"jobs.state = 'queued' AND NOT ({RUNS_NOW})",
    JobState.RUNNING: RUNS_NOW,
    JobState.DONE: "jobs.state = 'done'",
    JobState.DEAD: "jobs.state = 'dead'",
    JobState.CANCELLED: "jobs.state = 'cancelled'",
}

# Values are literals by the time that PostgreSQL plans this: it leaves out what does not matter.
_PAGE = f"""SELECT {COLUMNS} FROM jobs
 WHERE {OF_THEM} AND (%(script)s = '' OR jobs.script = %(script)s) AND (%(key)s = '' OR key = %(key)s)
   AND (%(after)s::uuid IS NULL OR jobs.id < %(after)s::uuid) AND """

_HISTORY = f"SELECT {COLUMNS}, status, headers, body FROM jobs WHERE {_ONE}"

_RUNS = f"""SELECT invocation::text, started_at, outcome FROM job_attempts WHERE job = %(id)s::uuid
 ORDER BY started_at DESC, invocation DESC LIMIT {_RUNS_MAX}"""

_REQUEST = f"SELECT request FROM jobs WHERE {_ONE}"

_HOLD = f"SELECT state, script, ordering_key, request FROM jobs WHERE {_ONE} FOR NO KEY UPDATE SKIP LOCKED"

# Who only looks whether it is due holds it for a moment.
_WAIT_MS = 1_000
_HOLD_SOON = f"""SET LOCAL lock_timeout = {_WAIT_MS};
  SELECT state, script, ordering_key, request FROM jobs WHERE {_ONE} AND NOT ({RUNS_NOW}) FOR NO KEY UPDATE"""

_STATE = f"SELECT state, script, ordering_key, NULL FROM jobs WHERE {_ONE}"

_DELETE = "DELETE FROM jobs WHERE id = ANY(%(ids)s::uuid[])"

_DELETE_RUNS = "DELETE FROM job_attempts WHERE job = ANY(%(ids)s::uuid[])"

_COUNTS = f"""SELECT script, count(*) FILTER (WHERE state = 'queued'), count(*) FILTER (WHERE state = 'running'),
   count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'dead'),
   count(*) FILTER (WHERE state = 'cancelled'),
   count(*) FILTER (WHERE state = 'queued' AND due_at <= now()),
   coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE state = 'queued' AND due_at <= now())) * 1000, 0)
 FROM (SELECT jobs.script, due_at, CASE WHEN {RUNS_NOW} THEN 'running' ELSE jobs.state END AS state
   FROM jobs WHERE {OF_THEM}) AS seen
 GROUP BY GROUPING SETS ((), (script)) ORDER BY script"""


class Held(NamedTuple):
    """A job whose row was to be locked."""

    state: str
    script: str
    ordering_key: str | None
    request: memoryview | None  # None: it is somebody else's, who runs it if it is queued


class JobTable:
    """The jobs of this platform; every method is one transaction, and DatabaseUnavailable if there is none.

    ``ring`` is called after each COMMIT that leaves something to do for who runs jobs.
    """

    def __init__(self, pool: Pool, ring: Callable[[], None] = lambda: None) -> None:
        self._pool = pool
        self._ring = ring

    def add(self, job: NewJob) -> AddedJob:
        """Store one, unless there is one of its script with its key; QueueFull."""
        with self._pool.transaction() as cursor:
            refuse_if_full(through(cursor), job.script)
            sent = send(through(cursor), job)
            one = {"id": sent.id, "only": None}
            stored = _history(cursor, one).job
            twin = None if sent.created else _request(cursor, one)
        if sent.created:
            self._ring()
        return AddedJob(stored, twin)

    def page(self, wanted: JobFilter, limit: int, after: str) -> list[Job]:
        """At most limit jobs, newest first, those older than the one named `after` ('': from the newest)."""
        given = {
            "only": scripts_of(wanted.scripts), "script": wanted.script, "key": wanted.key,
            "after": after or None, "limit": limit,
        }  # fmt: skip
        in_state = "true" if wanted.state is None else _IN_STATE[wanted.state]
        with self._pool.transaction() as cursor:
            cursor.execute(f"{_PAGE} {in_state} ORDER BY jobs.id DESC LIMIT %(limit)s", given)
            return [job_of(row) for row in cursor.fetchall()]

    def history(self, identifier: str, only: Collection[str] | None = None) -> JobHistory:
        """One job, with its answer and its runs; NotFound."""
        with self._pool.transaction() as cursor:
            return _history(cursor, named(identifier, only))

    def request(self, identifier: str, only: Collection[str] | None = None) -> Request:
        """What its script will see, or saw; NotFound."""
        with self._pool.transaction() as cursor:
            return _request(cursor, named(identifier, only))

    def cancel(self, identifier: str, only: Collection[str] | None = None) -> None:
        """Keep a queued one from running; NotFound, Conflict: it runs, or has ended."""
        try:
            with self._pool.transaction() as cursor:
                state = _cancelled(cursor, named(identifier, only))
        except LockTimeout:
            state = JobState.RUNNING
        if state != JobState.QUEUED:
            raise Conflict(f"job {identifier} cannot be cancelled: it is {state}")
        self._ring()  # what had to come after it may run now

    def queues(self, only: Collection[str] | None = None) -> tuple[QueueState, dict[str, QueueState]]:
        """How much waits: in all, and of each script that has jobs."""
        with self._pool.transaction() as cursor:
            cursor.execute(_COUNTS, {"only": scripts_of(only)})
            *of_scripts, (_, *total) = cursor.fetchall()  # NULL, which stands for all of them, comes last
        return _queue(total), {script: _queue(counts) for script, *counts in of_scripts}


def delete(cursor: Cursor, identifiers: list[str]) -> int:
    """Drop jobs that the caller has locked, with what is known of their runs, in the caller's transaction."""
    cursor.execute(_DELETE_RUNS, {"ids": identifiers})
    cursor.execute(_DELETE, {"ids": identifiers})
    return cursor.rowcount


def named(identifier: str, only: Collection[str] | None) -> dict[str, Any]:
    """The parameters that mean one job."""
    return {"id": identifier, "only": scripts_of(only)}


def scripts_of(only: Collection[str] | None) -> list[str] | None:
    """As a parameter."""
    return None if only is None else sorted(only)


def _missing(one: dict[str, Any]) -> str:
    return f"there is no job {one['id']}"


def hold(cursor: Cursor, one: dict[str, Any]) -> Held:
    """Lock a job to the end of the transaction; NotFound."""
    cursor.execute(_HOLD, one)
    row = cursor.fetchone()
    if row is None:
        cursor.execute(_STATE, one)
        row = found(cursor.fetchone(), _missing(one))
    return Held(*row)


def _cancelled(cursor: Cursor, one: dict[str, Any]) -> str:
    """The state that a job had; it is cancelled if it was queued. LockTimeout: it is about to run."""
    held = hold(cursor, one)
    if held.state == JobState.QUEUED and held.request is None:
        cursor.execute(_HOLD_SOON, one)
        row = cursor.fetchone()
        if row is None:
            return JobState.RUNNING
        held = Held(*row)
    if held.state == JobState.QUEUED:
        cursor.execute(BURY_RUNS, one)
        cursor.execute(CANCEL, one)
    return held.state


def _history(cursor: Cursor, one: dict[str, Any]) -> JobHistory:
    cursor.execute(_HISTORY, one)
    *row, status, headers, body = found(cursor.fetchone(), _missing(one))
    cursor.execute(_RUNS, one)
    runs = tuple(JobRun(*run) for run in reversed(cursor.fetchall()))
    if status is None:
        return JobHistory(job_of(row), None, cut=False, runs=runs)
    return JobHistory(job_of(row), _response(status, headers, body), cut=body is None, runs=runs)


def _response(status: int, headers: str | None, body: memoryview | None) -> Response:
    pairs = msgspec.json.decode(headers or "[]", type=HeaderList)
    return Response(status, pairs, bytes(body or b""))


def _request(cursor: Cursor, one: dict[str, Any]) -> Request:
    cursor.execute(_REQUEST, one)
    (request,) = found(cursor.fetchone(), _missing(one))
    return msgspec.msgpack.decode(request, type=Request)


def _queue(counts: list[Any]) -> QueueState:
    queued, running, done, dead, cancelled, due, oldest_ms = counts
    return QueueState(queued, running, done, dead, cancelled, due, float(oldest_ms))


def job_of(row: Any) -> Job:
    """The job that `COLUMNS` say."""
    identifier, script, trigger, state, priority, due_at, key, ordering_key, *rest = row
    attempts, max_attempts, crashes, created_at, ended_at, invocation, outcome, error = rest
    return Job(
        identifier, script, Trigger(trigger), JobState(state), priority, due_at, key, ordering_key, attempts,
        max_attempts, crashes, created_at, ended_at, invocation, Outcome(outcome) if outcome else None, error,
    )  # fmt: skip
