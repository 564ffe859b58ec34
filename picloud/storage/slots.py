"""The ledger of schedules: each due time once, with what became of it.

Owns: its SQL, and that a slot and its job are one commit. What becomes of a slot is decided by whoever asks.

Who makes a schedule's slots holds its row: every node may try, others pass by. What the ledger has is read under that
lock, and a slot's primary key stands behind it all. The clock is the database's.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from psycopg2.extras import execute_values

from picloud.events import SCHEDULE_MISSED
from picloud.model import DueSchedule, JobState, Schedule, SlotPlan, SlotRange, SlotState
from picloud.storage import jobs, rewinding
from picloud.storage.connection import Cursor
from picloud.storage.events import publish_own
from picloud.storage.pool import Pool
from picloud.storage.schedules import COLUMNS, schedule_of

_SLOTS_MAX = 1_000  # in one transaction, about: it is to be short

_TAKE = f"""SELECT {COLUMNS} FROM schedules WHERE next_due <= %s
  ORDER BY next_due LIMIT %s FOR NO KEY UPDATE SKIP LOCKED"""

# A slot of a time that has not come: its job was made before the clock was set back, and holds nothing up.
_RUNNING = """SELECT DISTINCT schedule FROM slots JOIN jobs ON jobs.id = slots.job
  WHERE schedule = ANY(%s) AND slots.state = 'queued' AND jobs.state = 'queued' AND slots.due_at <= %s"""

_RECORDED = """SELECT due_at, coalesce(until_at, due_at) FROM slots
  WHERE schedule = %(name)s AND due_at >= %(next_due)s AND due_at <= %(now)s ORDER BY due_at LIMIT %(limit)s"""
_RECORDED_MAX = 1_000

_ADD = "INSERT INTO slots (schedule, script, due_at, until_at, count, state, job, lateness_ms, ended_at) VALUES %s"

_SET_NEXT = "UPDATE schedules SET next_due = %s, error = '' WHERE name = %s"
_FAIL = "UPDATE schedules SET next_due = NULL, error = %s WHERE name = %s"

_NEXT = "SELECT extract(epoch FROM min(next_due) - clock_timestamp())::float8 FROM schedules"
_FREE = "SELECT 1 FROM schedules WHERE next_due <= clock_timestamp() LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED"
_HELD_S = 1.0  # until one that is due and that somebody holds is looked at again: they may roll back, and ring nobody

_END = """UPDATE slots SET state = %(state)s, invocation = coalesce(%(invocation)s::uuid, invocation),
  ended_at = clock_timestamp() WHERE job = %(job)s::uuid"""
_ENDS = {JobState.DONE: SlotState.RAN, JobState.DEAD: SlotState.FAILED, JobState.CANCELLED: SlotState.FAILED}

_TURN = "SELECT pg_try_advisory_xact_lock(%s)"
_EXPIRING = 0x5049_534C  # the advisory lock's number, "PISL"
_EXPIRE = """DELETE FROM slots WHERE (schedule, due_at) IN (SELECT schedule, due_at FROM slots
  WHERE (coalesce(until_at, due_at) < now() - %(days)s * interval '1 day'
      OR due_at <= (SELECT due_at FROM slots ORDER BY due_at DESC OFFSET %(rows)s LIMIT 1))
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = slots.job AND jobs.state = 'queued')
  ORDER BY due_at LIMIT 5000 FOR UPDATE SKIP LOCKED)"""

Decide = Callable[[DueSchedule], SlotPlan]


def ended(run: jobs.Run, job: str, state: JobState, invocation: str | None = None) -> None:
    """Write what became of a slot, in the transaction that ends its job; nothing if the job is of no slot."""
    if state in _ENDS:
        run(_END, {"job": job, "state": str(_ENDS[state]), "invocation": invocation})


class SlotTable:
    """The ledger of this platform. What was missed is published in the transaction that records it."""

    def __init__(self, pool: Pool, *, keep_days: int, keep_rows: int) -> None:
        self._pool = pool
        self._keep = {"days": keep_days, "rows": keep_rows}

    def make_due(self, decide: Decide, limit: int, now: datetime | None = None) -> int:
        """Decide about some of what is due, at most `limit` schedules, and commit it → how many; DatabaseUnavailable.

        0: nothing is due, or others are at it. A schedule about which nothing can be decided is marked, and left.
        """
        with self._pool.transaction() as cursor:
            now = _clock(cursor, now)
            due, slots = _due(cursor, now, limit), 0
            for number, it in enumerate(due, 1):
                slots += self._make(cursor, it, decide)
                if slots >= _SLOTS_MAX:
                    return number
            return len(due)

    def rewind(self, following: rewinding.Following, cut: rewinding.Cut, now: datetime | None = None) -> int:
        """Put back what is ahead of the clock, if it was set back → how many schedules; DatabaseUnavailable.

        What ran stays, and does not run again. One that could not be decided about is tried again.
        """
        with self._pool.transaction() as cursor:
            return rewinding.rewind(cursor, following, cut, _clock(cursor, now))

    def next_in_s(self) -> float | None:
        """When the next slot is due; 0 or less: now. None: never. DatabaseUnavailable."""
        with self._pool.transaction() as cursor:
            cursor.execute(_NEXT)
            left_s: float | None = (cursor.fetchone() or (None,))[0]
            if left_s is None or left_s > 0:
                return left_s
            cursor.execute(_FREE)
            return 0.0 if cursor.fetchone() else _HELD_S

    def expire(self) -> int:
        """Delete some of what is too old or too much, oldest first → how many; 0 also if another is at it."""
        with self._pool.transaction() as cursor:
            cursor.execute(_TURN, (_EXPIRING,))
            if cursor.fetchone() != (True,):
                return 0
            cursor.execute(_EXPIRE, self._keep)
            return cursor.rowcount

    def vacuum(self) -> None:
        """Give the space of deleted and replaced rows back."""
        self._pool.vacuum("slots", "schedules")

    def _make(self, cursor: Cursor, due: DueSchedule, decide: Decide) -> int:
        """Decide about one → how many slots that made."""
        it, run = due.schedule, jobs.through(cursor)
        try:
            plan = decide(due)
        except (ValueError, OverflowError) as error:
            cursor.execute(_FAIL, (str(error), it.name))
            return 1
        rows = [_row(due, at, SlotState.QUEUED, job=jobs.send(run, job).id) for at, job in plan.jobs]
        rows += [_row(due, at, SlotState.SKIPPED_OVERLAP) for at in plan.skipped]
        rows += [_row(due, each.first, SlotState.MISSED, until=each.last, count=each.count) for each in plan.missed]
        execute_values(cursor, _ADD, rows)
        for each in plan.missed:
            _publish_missed(run, it, each)
        cursor.execute(_SET_NEXT, (plan.next_due, it.name))
        return len(rows)


def _publish_missed(run: jobs.Run, it: Schedule, missed: SlotRange) -> None:
    told = {"schedule": it.name, "script": it.script, "first": missed.first, "last": missed.last, "count": missed.count}
    publish_own(run, SCHEDULE_MISSED, it.name, told)


def _clock(cursor: Cursor, now: datetime | None) -> datetime:
    cursor.execute("SELECT coalesce(%s::timestamptz, clock_timestamp())", (now,))
    (shown,) = cursor.fetchone() or (None,)
    assert isinstance(shown, datetime)
    return shown


def _due(cursor: Cursor, now: datetime, limit: int) -> list[DueSchedule]:
    """Schedules that are due and that nobody else holds; now we do."""
    cursor.execute(_TAKE, (now, limit))
    taken = [schedule_of(row) for row in cursor.fetchall()]
    cursor.execute(_RUNNING, ([it.name for it in taken], now))
    running = {name for (name,) in cursor.fetchall()}
    return [_known(cursor, it, now, is_running=it.name in running) for it in taken]


def _known(cursor: Cursor, it: Schedule, now: datetime, *, is_running: bool) -> DueSchedule:
    """With what the ledger has of its slots: nothing, unless the clock was set back."""
    cursor.execute(_RECORDED, {"name": it.name, "next_due": it.next_due, "now": now, "limit": _RECORDED_MAX})
    recorded = tuple(cursor.fetchall())
    until = recorded[-1][0] if len(recorded) == _RECORDED_MAX else now
    return DueSchedule(it, now, until, is_running, recorded)


def _row(
    due: DueSchedule, at: datetime, state: SlotState, *, until: datetime | None = None, count: int = 1,
    job: str | None = None,
) -> tuple[object, ...]:  # fmt: skip
    late_ms, ended_at = (due.now - at) // timedelta(milliseconds=1), None if job else due.now
    range_end = until if count > 1 else None
    return due.schedule.name, due.schedule.script, at, range_end, count, str(state), job, late_ms, ended_at
