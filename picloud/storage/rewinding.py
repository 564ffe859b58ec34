"""The ledger of schedules when the clock was set back: what was written of times that have not come is put right.

Owns: the SQL of that. What ran has run: it stays in the ledger, and its slot does not run again. What never ran is as
if it had never been, and comes again in its time.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from picloud.model import Schedule, SlotRange
from picloud.storage.connection import Cursor
from picloud.storage.schedules import COLUMNS, schedule_of

Following = Callable[[Schedule, datetime], datetime | None]
"""The first slot of a schedule after a moment; ValueError."""

Cut = Callable[[Schedule, SlotRange, datetime], SlotRange | None]
"""What is left of a range if it ends at a moment; ValueError."""

_UNSET = datetime(2026, 1, 1, tzinfo=UTC)  # a clock before this was not set back: nobody has set it yet

_AHEAD = f"SELECT {COLUMNS} FROM schedules WHERE next_due > %s OR next_due IS NULL ORDER BY name"
_PUT_BACK = """UPDATE schedules SET next_due = %(next)s, error = '' WHERE name = %(name)s
  AND next_due IS NOT DISTINCT FROM %(before)s AND anchor = %(anchor)s"""

_UNMAKE = """WITH unbegun AS (DELETE FROM jobs WHERE id IN (SELECT jobs.id FROM jobs JOIN slots ON slots.job = jobs.id
      WHERE slots.due_at > %(now)s AND slots.state = 'queued' AND jobs.state = 'queued' AND attempts = 0 AND crashes = 0
        AND NOT EXISTS (SELECT 1 FROM job_attempts WHERE job = jobs.id)
      FOR UPDATE OF jobs SKIP LOCKED) RETURNING id)
  DELETE FROM slots WHERE due_at > %(now)s AND (job IS NULL OR job IN (SELECT id FROM unbegun))"""

_LONG = f"""SELECT due_at, until_at, count, it.* FROM slots JOIN (SELECT {COLUMNS} FROM schedules) AS it
  ON it.name = schedule WHERE until_at > %(now)s AND due_at <= %(now)s ORDER BY schedule, due_at"""
_SHORTEN = """UPDATE slots SET until_at = nullif(%(last)s, due_at), count = %(count)s
  WHERE schedule = %(name)s AND due_at = %(first)s"""


def rewind(cursor: Cursor, following: Following, cut: Cut, now: datetime) -> int:
    """Go by a clock that shows `now` → how many schedules were ahead of it; none by one that is still to be set."""
    if now < _UNSET:
        return 0
    cursor.execute(_AHEAD, (now,))
    put_back = sum([_put_back(cursor, schedule_of(row), following, now) for row in cursor.fetchall()])
    cursor.execute(_UNMAKE, {"now": now})
    cursor.execute(_LONG, {"now": now})
    for first, last, count, *row in cursor.fetchall():
        _shorten(cursor, schedule_of(row), SlotRange(first, last, count), cut, now)
    return put_back


def _put_back(cursor: Cursor, it: Schedule, following: Following, now: datetime) -> int:
    try:
        due = following(it, now)
    except (ValueError, OverflowError):  # it is marked already, or will be
        return 0
    if due is None or (it.next_due is not None and it.next_due <= due):
        return 0
    cursor.execute(_PUT_BACK, {"name": it.name, "next": due, "before": it.next_due, "anchor": it.anchor})
    return cursor.rowcount


def _shorten(cursor: Cursor, it: Schedule, range_: SlotRange, cut: Cut, now: datetime) -> None:
    try:
        left = cut(it, range_, now)
    except (ValueError, OverflowError):
        return
    if left:
        cursor.execute(_SHORTEN, {"name": it.name, "first": left.first, "last": left.last, "count": left.count})
