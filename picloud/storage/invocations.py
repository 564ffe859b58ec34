"""Invocations in PostgreSQL: written in batches with their log lines, read by pages, kept for a time.

Identifiers are UUIDs of version 7: their order is the order of time, so they page and expire without another index.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg2.extras import execute_values

from picloud.model import Invocation, InvocationFilter, KeptRequest, Outcome, Record, Trigger
from picloud.storage import logs, requests
from picloud.storage.connection import Cursor
from picloud.storage.pool import Pool
from picloud.storage.rows import found

_COLUMNS = """id::text, script, version, trigger, outcome, status, started_at, queue_ms, run_ms, cpu_ms,
  memory_bytes, error, http_calls"""

# A row that says that the outcome is not known yet gives way to one that knows it, and no other does.
_INSERT = f"""INSERT INTO invocations AS it (id, script, version, trigger, outcome, status, started_at, queue_ms,
  run_ms, cpu_ms, memory_bytes, error, http_calls) VALUES %s
  ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, status = excluded.status, queue_ms = excluded.queue_ms,
    run_ms = excluded.run_ms, cpu_ms = excluded.cpu_ms, memory_bytes = excluded.memory_bytes, error = excluded.error,
    http_calls = excluded.http_calls
  WHERE it.outcome = '{Outcome.OUTCOME_UNKNOWN}'"""

# Values are literals by the time that PostgreSQL plans this: it leaves out what does not matter.
_PAGE = f"""SELECT {_COLUMNS} FROM invocations
 WHERE (%(script)s = '' OR script = %(script)s)
   AND (%(scripts)s::text[] IS NULL OR script = ANY(%(scripts)s::text[]))
   AND (%(outcome)s = '' OR outcome = %(outcome)s)
   AND (%(trigger)s = '' OR trigger = %(trigger)s)
   AND (%(since)s::timestamptz IS NULL OR (started_at >= %(since)s::timestamptz AND id >= %(first_id)s::uuid))
   AND (%(until)s::timestamptz IS NULL OR (started_at < %(until)s::timestamptz AND id <= %(last_id)s::uuid))
   AND (%(after)s::uuid IS NULL OR id < %(after)s::uuid)
 ORDER BY invocations.id DESC LIMIT %(limit)s"""

_LATEST = f"""SELECT latest.* FROM unnest(%s::text[]) AS wanted (name) CROSS JOIN LATERAL
  (SELECT {_COLUMNS} FROM invocations WHERE script = wanted.name ORDER BY invocations.id DESC LIMIT 1) latest"""

_WROTE = "SELECT xmin = %s::xid FROM invocations WHERE id = %s::uuid"

_XIDS = 1 << 32  # a row has the lower half of its transaction's number

_EXPIRING = 0x5049_4558  # the advisory lock's number, "PIEX"

_EXPIRE = """DELETE FROM invocations WHERE id IN
  (SELECT id FROM invocations WHERE id <= %s::uuid ORDER BY id LIMIT 5000)"""

_BEYOND = "SELECT id::text FROM invocations ORDER BY id DESC OFFSET %s LIMIT 1"

_LINES_KEPT_PER_ROW = 10  # the newest: by its log alone, a script cannot fill the disk
_ID_AGE_MAX = timedelta(minutes=1)  # an invocation has its id before it starts, and clocks are set


class InvocationTable:
    """The records of this platform."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def add(self, records: Sequence[Record]) -> None:
        """Write a batch in one transaction. A row or lines that are there already are left as they are."""
        with self._pool.transaction() as cursor:
            execute_values(cursor, _INSERT, [_row(record.invocation) for record in records], page_size=500)
            requests.write(cursor, records)
            logs.write(cursor, records)

    def mark(self, invocation: Invocation) -> None:
        """Write that an invocation is under way, in a transaction of its own. What is known of its end stays."""
        with self._pool.transaction() as cursor:
            put(cursor, invocation)

    def page(self, wanted: InvocationFilter, limit: int, after: str) -> list[Invocation]:
        """At most limit invocations, newest first, those older than the one named `after` ('': from the newest)."""
        with self._pool.transaction() as cursor:
            cursor.execute(_PAGE, {**_parameters(wanted), "after": after or None, "limit": limit})
            return [_invocation(row) for row in cursor.fetchall()]

    def get(self, invocation_id: str) -> Invocation:
        """One invocation; NotFound."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"SELECT {_COLUMNS} FROM invocations WHERE id = %s::uuid", (invocation_id,))
            return _invocation(found(cursor.fetchone(), f"there is no invocation {invocation_id}"))

    def request(self, invocation_id: str) -> KeptRequest | None:
        """The request of an invocation; None: it was not kept, or is gone."""
        with self._pool.transaction() as cursor:
            return requests.get(cursor, invocation_id)

    def latest(self, scripts: Sequence[str]) -> dict[str, Invocation]:
        """Script → its newest invocation, for those that ran; one index look-up a script, one statement in all."""
        with self._pool.transaction() as cursor:
            cursor.execute(_LATEST, (list(scripts),))
            return {it.script: it for it in map(_invocation, cursor.fetchall())}

    def expire(self, keep_days: int, keep_rows: int) -> int:
        """Delete some of what is older than keep_days or beyond the newest keep_rows → how many rows went.

        Requests and lines go with their invocation, or before it: lines if there are more than ten for each of
        keep_rows, requests if they are too large. A few thousand at a time, and by one process at a time: 0 also if
        another is at it.
        """
        horizon = first_id_at(datetime.now(UTC) - timedelta(days=keep_days))
        with self._pool.transaction() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (_EXPIRING,))
            if cursor.fetchone() != (True,):
                return 0
            cursor.execute(_BEYOND, (keep_rows,))
            beyond = cursor.fetchone()
            last = max(horizon, beyond[0]) if beyond else horizon
            cursor.execute(_EXPIRE, (last,))
            gone = cursor.rowcount + requests.expire(cursor, last)
            return gone + logs.expire(cursor, last, keep_rows * _LINES_KEPT_PER_ROW)

    def vacuum(self) -> None:
        """Give the space of deleted rows back; autovacuum is set to wake rarely."""
        self._pool.vacuum("invocations", "log_lines", "requests")


def put(cursor: Cursor, it: Invocation) -> None:
    """Write one in its own transaction, which is the caller's."""
    execute_values(cursor, _INSERT, [_row(it)])


def wrote(cursor: Cursor, invocation_id: str, xid: str) -> bool:
    """Whether the row of an invocation is there as a transaction left it."""
    cursor.execute(_WROTE, (str(int(xid) % _XIDS), invocation_id))
    return cursor.fetchone() == (True,)


def _parameters(wanted: InvocationFilter) -> dict[str, Any]:
    return {
        "script": wanted.script,
        "scripts": None if wanted.scripts is None else sorted(wanted.scripts),
        "outcome": str(wanted.outcome or ""),
        "trigger": str(wanted.trigger or ""),
        "since": wanted.since,
        "first_id": wanted.since and first_id_at(wanted.since, -_ID_AGE_MAX),
        "until": wanted.until,
        "last_id": wanted.until and first_id_at(wanted.until, _ID_AGE_MAX),
    }


def first_id_at(moment: datetime, shift: timedelta = timedelta()) -> str:
    """The least identifier that could be given at a moment, shifted."""
    stamp = max(0, int((moment.timestamp() + shift.total_seconds()) * 1000))
    return f"{stamp >> 16:08x}-{stamp & 0xFFFF:04x}-7000-8000-000000000000"


def _row(it: Invocation) -> tuple[object, ...]:
    return (
        it.id, it.script, it.version, str(it.trigger), str(it.outcome), it.status, it.started_at,
        it.queue_ms, it.run_ms, it.cpu_ms, it.memory_bytes, logs.storable(it.error), it.http_calls,
    )  # fmt: skip


def _invocation(row: tuple[Any, ...]) -> Invocation:
    identifier, script, version, trigger, outcome, status, started_at, *rest = row
    queue_ms, run_ms, cpu_ms, memory_bytes, error, http_calls = rest
    return Invocation(
        identifier, script, version, Trigger(trigger), Outcome(outcome), status, started_at,
        queue_ms, run_ms, cpu_ms, memory_bytes, error, http_calls,
    )  # fmt: skip
