"""Who runs a job: whoever holds its row's lock, in a transaction that lasts as long as the run.

Owns: claiming, what is written of each run, and what a job is left as. Knows nothing of how it is run.

The lock is all there is: when a dispatcher dies, or its machine, or the backend, the lock is gone with the connection
and the job is free, as it was. So that a job which takes its dispatcher with it is noticed, each run is written down
before it begins, on another connection; a run without an outcome of a job that nobody holds has crashed.
What a run does stands behind a savepoint: if it fails, that is undone, and the lock is kept until it is written what
becomes of the job.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from picloud.events import JOB_DEAD
from picloud.model import ClaimedJob, Invocation, JobEnd, JobState, Outcome, Request, Response, Trigger
from picloud.storage import slots
from picloud.storage.connection import Connection, Cursor, commit, translated
from picloud.storage.events import publish_own
from picloud.storage.jobs import Run, through
from picloud.storage.logs import storable
from picloud.storage.pool import Meter, Pool
from picloud.storage.unit_of_work import UnitOfWork, UnitsOfWork

_WAIT_MS = 5_000  # for a connection: there is one for each job that may run
_BODY_BYTES_MAX = 64 * 1024  # of an answer that is kept
_LOST_S = 30  # after its deadline nobody runs an attempt any more

# Not among those that others run, of scripts that run often enough, or behind another of the same ordering key.
_FREE = """state = 'queued' AND NOT script = ANY(%(busy)s) AND (ordering_key IS NULL OR NOT EXISTS (SELECT 1
  FROM jobs AS first WHERE first.script = jobs.script AND first.ordering_key = jobs.ordering_key
    AND first.state = 'queued' AND first.position < jobs.position))"""

# Nobody keeps statistics of a queue: without these two the planner takes it for short, and sorts all of it each time.
_IN_ORDER = "SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off"
_BEGIN_RUN = "SET LOCAL enable_sort = DEFAULT; SET LOCAL enable_bitmapscan = DEFAULT; SAVEPOINT run"

_CLAIM = f"""SELECT id::text, script, request, attempts, max_attempts, crashes,
    (SELECT count(*) FROM job_attempts WHERE job = jobs.id AND outcome IS NULL)
  FROM jobs WHERE due_at <= now() AND {_FREE}
  ORDER BY priority DESC, due_at, jobs.id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED"""

_CRASHED = f"""UPDATE jobs SET crashes = crashes + %(crashes)s WHERE id = %(id)s::uuid;
  UPDATE job_attempts SET outcome = '{Outcome.EXECUTOR_LOST}' WHERE job = %(id)s::uuid AND outcome IS NULL"""

_STARTED = """SET LOCAL synchronous_commit = off;
  INSERT INTO job_attempts (invocation, job, node, deadline)
    VALUES (%(invocation)s::uuid, %(job)s::uuid, %(node)s, clock_timestamp() + %(most_ms)s * interval '1 ms')"""

_END_ATTEMPT = "UPDATE job_attempts SET outcome = %(outcome)s WHERE invocation = %(invocation)s::uuid"

_END = f"""UPDATE jobs SET state = %(state)s, outcome = %(outcome)s, error = %(error)s,
    invocation = coalesce(%(invocation)s::uuid, invocation), attempts = attempts + %(failed)s,
    crashes = crashes + %(crashed)s, status = %(status)s, headers = %(headers)s, body = %(body)s,
    due_at = CASE WHEN %(state)s = 'queued' THEN clock_timestamp() + %(delay_ms)s * interval '1 ms' ELSE due_at END,
    ended_at = CASE WHEN %(state)s <> 'queued' THEN clock_timestamp() END
  WHERE id = %(id)s::uuid;
  {_END_ATTEMPT}"""

# The clock that counts is the database's.
_NEXT = f"""SELECT extract(epoch FROM least(
  (SELECT min(due_at) FROM (SELECT due_at FROM jobs WHERE {_FREE}
    ORDER BY due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) AS due),
  (SELECT min(deadline) + interval '{_LOST_S} s' FROM job_attempts
    WHERE outcome IS NULL AND deadline > now() - interval '{_LOST_S} s')) - clock_timestamp())::float8"""


class Claims:
    """The jobs of this platform, for one dispatcher, which runs `size` at once at most."""

    def __init__(self, units: UnitsOfWork, dsn: str, *, size: int, node: str, meter: Meter | None = None) -> None:
        self._units = units
        self._node = node
        self._pool = Pool(
            dsn, size=size, wait_ms=_WAIT_MS, timeouts=False, meter=meter
        )  # a transaction lasts as long as its run
        self._beside = Pool(dsn, size=2, wait_ms=_WAIT_MS)  # for what is to be seen at once

    def claim(self, busy: Collection[str]) -> "Claim | None":
        """A job that is due, of a script that is not `busy`, until its claim is closed; DatabaseUnavailable."""
        connection = self._pool.begin()
        try:
            claim = self._claim(connection, busy)
        except BaseException:
            self._pool.end(connection)
            raise
        if claim is None:
            self._pool.end(connection)
        return claim

    def next_in_s(self, busy: Collection[str]) -> float | None:
        """When to look again, if nobody rings: a job is due, or an attempt is lost. 0 or less: now; None: never."""
        with self._beside.transaction() as cursor:
            cursor.execute(_NEXT, {"busy": list(busy)})
            row = cursor.fetchone()
        return row[0] if row else None

    def close(self) -> None:
        """Close what is idle."""
        self._pool.close()
        self._beside.close()

    def started(self, job: str, invocation: str, most_ms: int) -> None:
        """Write that a run of a job begins, which takes no longer than that; DatabaseUnavailable."""
        row = {"job": job, "invocation": invocation, "node": self._node, "most_ms": most_ms}
        with self._beside.transaction() as cursor:
            cursor.execute(_STARTED, row)

    def work(self, claim: "Claim", connection: Connection, deadline: float) -> "ClaimedWork":
        """What a run of a claimed job does."""
        return ClaimedWork(self._units, claim, connection, deadline)

    def left(self, end: JobEnd) -> None:
        """A job was left so: whoever is subscribed to dead ones has a job now."""
        if end.state is JobState.DEAD:
            self._units.ring()

    def end(self, connection: Connection) -> None:
        """Take one back; what is not committed is rolled back."""
        self._pool.end(connection)

    def _claim(self, connection: Connection, busy: Collection[str]) -> "Claim | None":
        with translated(), connection.cursor() as cursor:
            cursor.execute(f"{_IN_ORDER}; {_CLAIM}", {"busy": list(busy)})
            row = cursor.fetchone()
            if row is None:
                return None
            job = _claimed(row)
            if job.new_crashes:
                cursor.execute(_CRASHED, {"id": job.id, "crashes": job.new_crashes})
            cursor.execute(_BEGIN_RUN)
            return Claim(self, connection, job)


class Claim:
    """One job that nobody else runs until this is closed. Used by one thread."""

    def __init__(self, claims: Claims, connection: Connection, job: ClaimedJob) -> None:
        self._claims = claims
        self._connection = connection
        self.job = job
        self.answer: Response | None = None  # of the run that is about to be committed
        self.is_over = False  # what becomes of the job is committed
        self._was_run = False  # there may be something to undo

    def started(self, invocation: str, most_ms: int) -> None:
        """Write that a run begins; DatabaseUnavailable: it must not."""
        self._claims.started(self.job.id, invocation, most_ms)

    def begin(self, deadline: float) -> "ClaimedWork":
        """The transaction of a run, which begins anew if one before it clashed; see `UnitsOfWork.begin`."""
        if self._was_run:
            self.undo()
        self._was_run = True
        return self._claims.work(self, self._connection, deadline)

    def undo(self) -> None:
        """What a run has done; not that the job is claimed. DatabaseUnavailable."""
        with translated(), self._connection.cursor() as cursor:
            cursor.execute("ROLLBACK TO SAVEPOINT run")

    def leave(self, end: JobEnd, invocation: str | None = None) -> None:
        """Commit what becomes of the job after a run that did nothing; DatabaseUnavailable: it is as it was."""
        self.undo()
        with translated(), self._connection.cursor() as cursor:
            cursor.execute(_END, _ended(self.job, end, invocation))
            self.end_slot(through(cursor), end, invocation)
            if end.state is JobState.DEAD:
                _announce_dead(cursor, self.job, end, invocation)
            commit(cursor)
        self.is_over = True
        self._claims.left(end)

    def end_slot(self, run: Run, end: JobEnd, invocation: str | None) -> None:
        """Write what became of the slot that a schedule's job is for, in the transaction that ends it."""
        if self.job.request.trigger is Trigger.SCHEDULE:
            slots.ended(run, self.job.id, end.state, invocation)

    def close(self) -> None:
        """Let go of the job."""
        self._claims.end(self._connection)


class ClaimedWork(UnitOfWork):
    """What one run of a job does, and that the job is done, in one COMMIT."""

    def __init__(self, units: UnitsOfWork, claim: Claim, connection: Connection, deadline: float) -> None:
        super().__init__(units, connection, deadline)
        self._claim = claim

    @property
    def writes(self) -> bool:
        """Always: the job's end."""
        return True

    def commit(self, invocation: Invocation) -> None:
        """Commit everything, and that the job is done."""
        end = JobEnd(JobState.DONE, Outcome.OK, counts=False, response=self._claim.answer)
        self.write(_END, _ended(self._claim.job, end, invocation.id))
        self._claim.end_slot(self.write, end, invocation.id)
        super().commit(invocation)
        self._claim.is_over = True

    def close(self) -> None:
        """What is not committed is undone; the job stays claimed."""
        self._connection = None


def _claimed(row: Sequence[Any]) -> ClaimedJob:
    identifier, script, request, attempts, max_attempts, crashes, new = row
    stored = msgspec.msgpack.decode(request, type=Request)
    return ClaimedJob(identifier, script, stored, attempts, max_attempts, crashes + new, new)


def _announce_dead(cursor: Cursor, job: ClaimedJob, end: JobEnd, invocation: str | None) -> None:
    told = {
        "job": job.id, "script": job.script, "invocation": invocation, "outcome": str(end.outcome), "error": end.error,
        "attempts": job.attempts + end.counts, "crashes": job.crashes + end.crashed,
    }  # fmt: skip
    publish_own(through(cursor), JOB_DEAD, job.script, told, job.request.event_depth + 1)


def _ended(job: ClaimedJob, end: JobEnd, invocation: str | None) -> dict[str, object]:
    answer = end.response
    kept = answer is not None and len(answer.body) <= _BODY_BYTES_MAX
    return {
        "id": job.id, "state": str(end.state), "outcome": str(end.outcome), "error": storable(end.error),
        "invocation": invocation, "failed": int(end.counts), "crashed": int(end.crashed), "delay_ms": end.delay_ms,
        "status": answer.status if answer else None,
        "headers": msgspec.json.encode(answer.headers).decode() if answer else None,
        "body": answer.body if answer and kept else None,
    }  # fmt: skip
