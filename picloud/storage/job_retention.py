"""Jobs that have ended, and what nobody needs of those that wait: when each of them goes.

A few thousand at a time, by one process at a time, and waiting for nobody who runs a job or sends one.
"""

from datetime import UTC, datetime, timedelta

from picloud.storage.connection import Cursor
from picloud.storage.invocations import first_id_at
from picloud.storage.job_table import delete
from picloud.storage.pool import Pool

_TURN = "SELECT pg_try_advisory_xact_lock(%s)"
_EXPIRING = 0x5049_4A4F  # the advisory lock's number, "PIJO"

BYTES_MAX = 256 * 1024 * 1024  # of all that are done or cancelled, before PostgreSQL packs them

_BEYOND = "SELECT id::text FROM jobs ORDER BY id DESC OFFSET %s LIMIT 1"

_TOO_LARGE = """SELECT id::text FROM
  (SELECT id, sum(octet_length(request) + coalesce(octet_length(body), 0)) OVER (ORDER BY id DESC) AS so_far
    FROM jobs WHERE state IN ('done', 'cancelled')) AS summed
 WHERE so_far > %s ORDER BY id DESC LIMIT 1"""

# A job has its id before it ends: the index on ids leads past all that are too young.
_ENDED = """SELECT id::text FROM jobs
 WHERE id <= greatest(%(first)s::uuid, %(dead_first)s::uuid, %(beyond)s::uuid)
   AND (state IN ('done', 'cancelled') AND (ended_at < %(since)s OR id <= %(beyond)s::uuid)
     OR state = 'dead' AND ended_at < %(dead_since)s)
 ORDER BY id LIMIT 2000 FOR UPDATE SKIP LOCKED"""

# Whoever sends a job holds its lane to the COMMIT. Of lanes that are locked here the next statement sees every job.
_LANES = """SELECT script, ordering_key FROM lanes AS it WHERE NOT EXISTS (SELECT FROM jobs
   WHERE state = 'queued' AND script = it.script AND jobs.ordering_key = it.ordering_key)
 LIMIT 2000 FOR UPDATE SKIP LOCKED"""

_DELETE_LANES = """DELETE FROM lanes AS it USING unnest(%s::text[], %s::text[]) AS idle (script, ordering_key)
 WHERE it.script = idle.script AND it.ordering_key = idle.ordering_key AND NOT EXISTS (SELECT FROM jobs
   WHERE state = 'queued' AND jobs.script = it.script AND jobs.ordering_key = it.ordering_key)"""


class JobRetention:
    """Those done and cancelled stay for `keep_days`, if they are among the newest `keep_rows` of all jobs, and have
    no more than `bytes_max` together; dead ones stay for `dead_days`."""

    def __init__(
        self, pool: Pool, *, keep_days: int, keep_rows: int, dead_days: int, bytes_max: int = BYTES_MAX
    ) -> None:
        self._pool = pool
        self._bytes_max = bytes_max
        self._keep = timedelta(days=keep_days)
        self._keep_rows = keep_rows
        self._keep_dead = timedelta(days=dead_days)

    def expire(self) -> int:
        """Delete some → how many rows; 0: nothing is left to do, or another process does it."""
        with self._pool.transaction() as cursor:
            cursor.execute(_TURN, (_EXPIRING,))
            if cursor.fetchone() != (True,):
                return 0
            gone = self._delete_ended(cursor, _BEYOND, self._keep_rows)
            gone = gone or self._delete_ended(cursor, _TOO_LARGE, self._bytes_max)
            return gone + _delete_idle_lanes(cursor)

    def vacuum(self) -> None:
        """Give the space of replaced and deleted rows back; autovacuum is set to wake rarely."""
        self._pool.vacuum("jobs", "job_attempts", "lanes")

    def _delete_ended(self, cursor: Cursor, statement: str, most: int) -> int:
        """Those too old, and those behind the job that `statement` names."""
        now = datetime.now(UTC)
        cursor.execute(statement, (most,))
        (beyond,) = cursor.fetchone() or (None,)
        since, dead_since = now - self._keep, now - self._keep_dead
        first, dead_first = first_id_at(since), first_id_at(dead_since)
        given = {"first": first, "dead_first": dead_first, "beyond": beyond, "since": since, "dead_since": dead_since}
        cursor.execute(_ENDED, given)
        return delete(cursor, [identifier for (identifier,) in cursor.fetchall()])


def _delete_idle_lanes(cursor: Cursor) -> int:
    cursor.execute(_LANES)
    idle = cursor.fetchall()
    cursor.execute(_DELETE_LANES, ([script for script, _ in idle], [key for _, key in idle]))
    return cursor.rowcount
