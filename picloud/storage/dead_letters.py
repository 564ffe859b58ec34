"""Dead letters: jobs that failed as often as they may, until somebody has them tried again or throws them away.

``only``: the scripts whose jobs who asks may know of; None: all. Nothing here waits for somebody who has locked one.
"""

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from picloud.errors import Conflict, NotFound
from picloud.model import Job, JobState, Request
from picloud.storage.connection import Cursor
from picloud.storage.job_table import COLUMNS, OF_THEM, Held, delete, hold, job_of, named, scripts_of
from picloud.storage.jobs import BURY_RUNS, next_position, through
from picloud.storage.pool import Pool

_PURGED_AT_ONCE = 2_000

# How it ended stays to be seen until it ends again.
_RETRY = f"""UPDATE jobs SET state = 'queued', due_at = clock_timestamp(), attempts = 0, crashes = 0, ended_at = NULL,
   request = %(request)s, position = %(position)s, status = NULL, headers = NULL, body = NULL
 WHERE id = %(id)s::uuid RETURNING {COLUMNS}"""

_SOME = f"""SELECT id::text FROM jobs WHERE state = 'dead' AND {OF_THEM}
   AND (%(script)s = '' OR jobs.script = %(script)s)
 ORDER BY jobs.id DESC LIMIT {_PURGED_AT_ONCE} FOR UPDATE SKIP LOCKED"""


class DeadLetterTable:
    """Those of this platform; ``ring`` is called after each COMMIT that leaves something to do for who runs jobs."""

    def __init__(self, pool: Pool, ring: Callable[[], None] = lambda: None) -> None:
        self._pool = pool
        self._ring = ring

    def retry(self, identifier: str, edit: Callable[[Request], Request], only: Collection[str] | None = None) -> Job:
        """Queue one again, its request as `edit` makes it; NotFound, Conflict: somebody else is at it.

        It is due now, has all of its attempts, and goes to the end of those with its ordering key.
        """
        one = named(identifier, only)
        with self._pool.transaction() as cursor:
            held = _hold(cursor, one)
            changed = edit(msgspec.msgpack.decode(held.request or b"", type=Request))
            lane, position = held.ordering_key, None
            if lane is not None:
                position = next_position(through(cursor), held.script, lane)
            cursor.execute(BURY_RUNS, one)
            cursor.execute(_RETRY, one | {"request": msgspec.msgpack.encode(changed), "position": position})
            job = job_of(cursor.fetchone())
        self._ring()
        return job

    def delete(self, identifier: str, only: Collection[str] | None = None) -> None:
        """Throw one away; NotFound, Conflict: somebody else is at it."""
        with self._pool.transaction() as cursor:
            _hold(cursor, named(identifier, only))
            delete(cursor, [identifier])

    def purge(self, script: str = "", only: Collection[str] | None = None) -> int:
        """Throw all away, or those of one script, but for those that somebody else is at → how many."""
        gone = 0
        while some := self._purge_some(script, only):
            gone += some
        return gone

    def _purge_some(self, script: str, only: Collection[str] | None) -> int:
        with self._pool.transaction() as cursor:
            cursor.execute(_SOME, {"script": script, "only": scripts_of(only)})
            return delete(cursor, [identifier for (identifier,) in cursor.fetchall()])


def _hold(cursor: Cursor, one: dict[str, Any]) -> Held:
    held = hold(cursor, one)
    if held.state != JobState.DEAD:
        raise NotFound(f"there is no dead letter {one['id']}: that job is {held.state}")
    if held.request is None:
        raise Conflict(f"somebody else changes job {one['id']} at this moment: try again")
    return held
