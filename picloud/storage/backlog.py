"""How much there is to do, in one statement whose cost has a bound.

Owns: its SQL. Each count looks at an index of what is counted alone, and stops at COUNTED_MAX; jobs that have run are
not looked at, of which there may be any number.
"""

from collections.abc import Collection

from picloud.model import COUNTED_MAX, Backlog
from picloud.storage.jobs import RUNS_NOW
from picloud.storage.pool import Pool

_WITHIN_MS = 2_000

_SEEN = f"""SET LOCAL statement_timeout = {_WITHIN_MS};
SELECT (SELECT count(*) FROM (SELECT FROM jobs WHERE state = 'queued' LIMIT {COUNTED_MAX}) AS queued),
  (SELECT count(*) FROM (SELECT FROM jobs WHERE id IN (SELECT job FROM job_attempts WHERE outcome IS NULL)
    AND {RUNS_NOW} LIMIT {COUNTED_MAX}) AS running),
  (SELECT count(*) FROM (SELECT FROM jobs WHERE state = 'dead' LIMIT {COUNTED_MAX}) AS dead),
  (SELECT extract(epoch FROM now() - due_at)::float8 FROM jobs
    WHERE state = 'queued' AND due_at <= now() AND NOT ({RUNS_NOW}) ORDER BY due_at LIMIT 1),
  ARRAY(SELECT name FROM scripts WHERE name = ANY(%(names)s))"""


class BacklogTable:
    """What waits, of this platform."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def seen(self, names: Collection[str]) -> Backlog:
        """At this moment, and which of these scripts there are; DatabaseUnavailable, also if it takes too long."""
        with self._pool.transaction() as cursor:
            cursor.execute(_SEEN, {"names": sorted(names)})
            row = cursor.fetchone()
        assert row
        queued, running, dead, oldest_due_s, there = row
        return Backlog(queued - running, running, dead, oldest_due_s or 0.0, frozenset(there))
