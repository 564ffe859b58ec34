"""Invocations and their log lines in PostgreSQL: written in batches, read by pages, kept for a time.

Identifiers are UUIDs of version 7: their order is the order of time, so they page and expire without another index.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg2.extras import execute_values

from picloud.errors import NotFound
from picloud.model import Invocation, LogLine, Outcome, Record, StoredLine, Trigger
from picloud.storage.pool import Pool

_COLUMNS = """id::text, script, version, trigger, outcome, status, started_at, queue_ms, run_ms, cpu_ms,
  memory_bytes, error, http_calls"""

_INSERT = """INSERT INTO invocations (id, script, version, trigger, outcome, status, started_at, queue_ms, run_ms,
  cpu_ms, memory_bytes, error, http_calls) VALUES %s
  ON CONFLICT (id) DO NOTHING RETURNING id::text"""

_INSERT_LINES = """INSERT INTO log_lines (invocation, script, at, level, message, fields) VALUES %s"""

_PAGE = f"""SELECT {_COLUMNS} FROM invocations
 WHERE (%(script)s = '' OR script = %(script)s) AND (%(after)s = '' OR id < nullif(%(after)s, '')::uuid)
 ORDER BY id DESC LIMIT %(limit)s"""

_LATEST = f"""SELECT latest.* FROM unnest(%s::text[]) AS wanted (name) CROSS JOIN LATERAL
  (SELECT {_COLUMNS} FROM invocations WHERE script = wanted.name ORDER BY invocations.id DESC LIMIT 1) latest"""

_LINES = """SELECT id, invocation::text, script, at, level, message, fields::text FROM log_lines
 WHERE (%(script)s = '' OR script = %(script)s)
   AND (%(invocation)s = '' OR invocation = nullif(%(invocation)s, '')::uuid)
   AND (%(after)s = 0 OR id < %(after)s)
 ORDER BY id DESC LIMIT %(limit)s"""

_EXPIRING = 0x5049_4558  # the advisory lock's number, "PIEX"

_EXPIRE = """DELETE FROM invocations WHERE id IN
  (SELECT id FROM invocations WHERE id <= %s::uuid ORDER BY id LIMIT 5000) RETURNING id::text"""

_BEYOND = "SELECT id::text FROM invocations ORDER BY id DESC OFFSET %s LIMIT 1"


class InvocationTable:
    """The records of this platform."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def add(self, records: Sequence[Record]) -> None:
        """Write a batch in one transaction. A record that is there already is left as it is."""
        rows = [_row(record.invocation) for record in records]
        with self._pool.transaction() as cursor:
            new = {row[0] for row in execute_values(cursor, _INSERT, rows, page_size=500, fetch=True)}
            fresh = [record for record in records if record.invocation.id in new]
            lines = [_line_row(record.invocation, line) for record in fresh for line in record.lines]
            if lines:
                execute_values(cursor, _INSERT_LINES, lines, page_size=500)

    def page(self, script: str, limit: int, after: str) -> list[Invocation]:
        """At most limit invocations, newest first, those older than the one named `after`; all scripts' if ''."""
        with self._pool.transaction() as cursor:
            cursor.execute(_PAGE, {"script": script, "after": after, "limit": limit})
            return [_invocation(row) for row in cursor.fetchall()]

    def get(self, invocation_id: str) -> Invocation:
        """One invocation; NotFound."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"SELECT {_COLUMNS} FROM invocations WHERE id = %s::uuid", (invocation_id,))
            row = cursor.fetchone()
        if row is None:
            raise NotFound(f"there is no invocation {invocation_id}")
        return _invocation(row)

    def latest(self, scripts: Sequence[str]) -> dict[str, Invocation]:
        """Script → its newest invocation, for those that ran; one index look-up a script, one statement in all."""
        with self._pool.transaction() as cursor:
            cursor.execute(_LATEST, (list(scripts),))
            return {it.script: it for it in map(_invocation, cursor.fetchall())}

    def lines(self, script: str, invocation: str, limit: int, after: int) -> list[StoredLine]:
        """At most limit log lines, newest first, those older than the cursor `after` (0: from the newest)."""
        wanted = {"script": script, "invocation": invocation, "after": after, "limit": limit}
        with self._pool.transaction() as cursor:
            cursor.execute(_LINES, wanted)
            return [StoredLine(*row) for row in cursor.fetchall()]

    def expire(self, keep_days: int, keep_rows: int) -> int:
        """Delete some of what is older than keep_days or beyond the newest keep_rows → how many invocations went.

        A few thousand at a time, and by one process at a time: 0 also if another is at it.
        """
        horizon = _first_id_at(datetime.now(UTC) - timedelta(days=keep_days))
        with self._pool.transaction() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (_EXPIRING,))
            if cursor.fetchone() != (True,):
                return 0
            cursor.execute(_BEYOND, (keep_rows,))
            beyond = cursor.fetchone()
            cursor.execute(_EXPIRE, (max(horizon, beyond[0]) if beyond else horizon,))
            gone = [row[0] for row in cursor.fetchall()]
            cursor.execute("DELETE FROM log_lines WHERE invocation = ANY(%s::uuid[])", (gone,))
            return len(gone)

    def vacuum(self) -> None:
        """Give the space of deleted rows back; autovacuum is set to wake rarely."""
        self._pool.vacuum("invocations", "log_lines")


def _first_id_at(moment: datetime) -> str:
    stamp = int(moment.timestamp() * 1000)
    return f"{stamp >> 16:08x}-{stamp & 0xFFFF:04x}-7000-8000-000000000000"


def _row(it: Invocation) -> tuple[object, ...]:
    return (
        it.id, it.script, it.version, str(it.trigger), str(it.outcome), it.status, it.started_at,
        it.queue_ms, it.run_ms, it.cpu_ms, it.memory_bytes, _storable(it.error), it.http_calls,
    )  # fmt: skip


def _line_row(invocation: Invocation, line: LogLine) -> tuple[object, ...]:
    fields = _storable(line.fields) or None
    return invocation.id, invocation.script, line.at, str(line.level), _storable(line.message), fields


def _storable(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")  # the one character PostgreSQL's text cannot hold


def _invocation(row: tuple[Any, ...]) -> Invocation:
    identifier, script, version, trigger, outcome, status, started_at, *rest = row
    queue_ms, run_ms, cpu_ms, memory_bytes, error, http_calls = rest
    return Invocation(
        identifier, script, version, Trigger(trigger), Outcome(outcome), status, started_at,
        queue_ms, run_ms, cpu_ms, memory_bytes, error, http_calls,
    )  # fmt: skip
