"""Jobs on their way in: stored in the transaction of whatever wants them.

Owns: how one is sent. `claims` has how it is run. Who commits a job then tells the dispatchers (`NEWS`).
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from picloud.errors import QueueFull
from picloud.model import JOBS_QUEUED_BYTES_MAX, JOBS_QUEUED_MAX, NewJob, SentJob, new_id
from picloud.storage.connection import Cursor, LockTimeout
from picloud.storage.pool import Pool

NEWS = "picloud_jobs"
"""The channel on which dispatchers hear that there may be something to do.

Rung after the commit, and not inside it: PostgreSQL lets transactions that notify commit one at a time.
"""

Run = Callable[[str, Mapping[str, Any]], list[tuple[Any, ...]]]
"""Runs one statement in the transaction that is meant → its rows."""

# Whoever has sent one with this key and not committed yet is waited for.
_SEND = """INSERT INTO jobs
    (id, script, trigger, request, priority, due_at, key, ordering_key, position, max_attempts, sender)
  VALUES (%(id)s::uuid, %(script)s, %(trigger)s, %(request)s, %(priority)s,
    coalesce(%(due_at)s::timestamptz, clock_timestamp() + %(delay_ms)s * interval '1 ms'),
    %(key)s, %(ordering_key)s, %(position)s, %(max_attempts)s, %(sender)s)
  ON CONFLICT (script, key) WHERE key IS NOT NULL AND state <> 'cancelled' DO NOTHING RETURNING 1"""

_QUEUED = """SELECT count(*), coalesce(sum(pg_column_size(request)), 0)
  FROM (SELECT request FROM jobs WHERE script = %(script)s AND state = 'queued' LIMIT %(most)s) AS waiting"""

_TWIN = "SELECT id::text FROM jobs WHERE script = %(script)s AND key = %(key)s AND state <> 'cancelled'"

# Its row is locked while it runs, but nobody can see that without trying to lock it, too: what was begun is to be seen.
RUNS_NOW = """jobs.state = 'queued' AND EXISTS (SELECT FROM job_attempts AS run WHERE run.job = jobs.id
  AND run.outcome IS NULL AND run.deadline + interval '30 s' > clock_timestamp())"""

# Nobody runs it, so an attempt at it that has no end will have none.
BURY_RUNS = "UPDATE job_attempts SET outcome = 'crashed' WHERE job = %(id)s::uuid AND outcome IS NULL"

# With the slot that it is for: `slots.ended` has the other ends.
CANCEL = """UPDATE slots SET state = 'failed', ended_at = clock_timestamp() WHERE job = %(id)s::uuid;
  UPDATE jobs SET state = 'cancelled', ended_at = clock_timestamp() WHERE id = %(id)s::uuid"""

# Not one that is running, not even by its own run, whose transaction holds it.
_HOLD = f"""SET LOCAL lock_timeout = %(wait_ms)s;
  SELECT 1 FROM jobs WHERE id = %(id)s::uuid AND state = 'queued' AND %(script)s IN (script, sender)
    AND NOT ({RUNS_NOW}) FOR NO KEY UPDATE"""
_WAIT_MS = 1_000  # for who only looks whether it is due

_POSITION = """INSERT INTO lanes AS it (script, ordering_key, last) VALUES (%(script)s, %(ordering_key)s, 1)
  ON CONFLICT (script, ordering_key) DO UPDATE SET last = it.last + 1 RETURNING last"""


def send(run: Run, job: NewJob) -> SentJob:
    """Store a job, unless there is one of its script with its key; in the transaction of ``run``."""
    row = {
        "id": new_id(), "script": job.script, "trigger": str(job.request.trigger),
        "request": msgspec.msgpack.encode(job.request), "priority": job.priority, "due_at": job.due_at,
        "delay_ms": job.delay_ms, "key": job.key, "ordering_key": job.ordering_key,
        "position": None, "max_attempts": job.max_attempts, "sender": job.sender,
    }  # fmt: skip
    while True:
        if job.key is not None and (twin := run(_TWIN, row)):
            return SentJob(twin[0][0], created=False)
        if job.ordering_key is not None and row["position"] is None:
            row["position"] = next_position(run, job.script, job.ordering_key)
        if run(_SEND, row):
            return SentJob(str(row["id"]), created=True)


def refuse_if_full(run: Run, script: str) -> None:
    """QueueFull if as many of a script's jobs wait as may, or as large ones; a few more than that come in at once."""
    ((count, size),) = run(_QUEUED, {"script": script, "most": JOBS_QUEUED_MAX})
    if count >= JOBS_QUEUED_MAX or size >= JOBS_QUEUED_BYTES_MAX:
        raise QueueFull(f"{count} jobs of '{script}' wait already, and no more are taken; try again later")


def next_position(run: Run, script: str, ordering_key: str) -> int:
    """The end of a lane, which nobody else extends until the transaction has ended."""
    return int(run(_POSITION, {"script": script, "ordering_key": ordering_key})[0][0])


def through(cursor: Cursor) -> Run:
    """Statements of a transaction that is its caller's."""

    def run(statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []

    return run


def ring(pool: Pool) -> None:
    """Tell every dispatcher that there may be something to do; DatabaseUnavailable."""
    with pool.transaction() as cursor:
        cursor.execute(f"NOTIFY {NEWS}")


class Work(Protocol):
    """The transaction; see `UnitOfWork`."""

    def write(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run one statement whose effect is to last → its rows."""

    def savepoint(self) -> AbstractContextManager[object]:
        """What is done in the block is undone if it raises."""

    def will_ring(self, *, also_undone: bool = False) -> None:
        """Dispatchers are to be told."""


class Jobs:
    """What one invocation's transaction does with jobs; every method may raise what `UnitOfWork.read` does."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._looked_at: set[str] = set()  # scripts whose queue had room, and has for what one invocation may send

    def send(self, job: NewJob) -> SentJob:
        """Store one with all else that the invocation does; QueueFull."""
        if job.script not in self._looked_at:
            refuse_if_full(self._work.write, job.script)
            self._looked_at.add(job.script)
        self._work.will_ring()
        return send(self._work.write, job)

    def cancel(self, script: str, job: str) -> bool:
        """Whether it waited, is the script's or was sent by it, and never runs now."""
        self._work.will_ring(also_undone=True)
        try:
            with self._work.savepoint():
                return self._cancelled({"id": job, "script": script, "wait_ms": _WAIT_MS})
        except LockTimeout:  # it is about to run
            return False

    def _cancelled(self, row: Mapping[str, Any]) -> bool:
        held = self._work.write(_HOLD, row)
        self._work.write("SET LOCAL lock_timeout = DEFAULT", {})
        if held:
            self._work.write(BURY_RUNS, row)
            self._work.write(CANCEL, row)
        return bool(held)
