"""Log lines in PostgreSQL: written in order, read by pages, followed as they are committed.

The order of lines (the record of a decision): a follower asks for what has an id above the last one that it saw. Ids
come from a sequence when a line is inserted, and become visible when it is committed: of two batches at once, the later
ids could come first, and the earlier ones would be skipped for ever. So whoever writes lines holds one lock from before
the first insert to the end of its COMMIT, over all nodes. Batches are few, and `_FROZEN_MS` bounds how long a writer
that is stopped in the middle can hold up the others.

Announcing: a listener holds the lock `_FOLLOWED`, shared, before it LISTENs, and reads after that. A writer that gets
it exclusively knows that nobody listens, and that who comes now waits for its COMMIT: it sends nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

from psycopg2.extras import execute_values

from picloud.model import LineFilter, LinePage, LogLine, Record, StoredLine
from picloud.storage.connection import Cursor
from picloud.storage.listener import Listener
from picloud.storage.pool import Pool

CHANNEL = "picloud_lines"

_IN_ORDER = 0x5049_4C4F  # advisory locks' numbers: "PILO" …
_FOLLOWED = 0x5049_464F  # … and "PIFO"
_FROZEN_MS = 5_000  # for which a writer that sends nothing keeps its transaction
_DELETED_AT_ONCE = 20_000
_FOLLOWED_CHARACTERS = 256 * 1024  # after which a page ends, so that many followers do not fill the memory

_BEGIN = f"""SELECT set_config('idle_in_transaction_session_timeout', %s, true), pg_advisory_xact_lock({_IN_ORDER}),
  CASE WHEN NOT pg_try_advisory_xact_lock({_FOLLOWED}) THEN pg_notify('{CHANNEL}', '') END"""

_INSERT = "INSERT INTO log_lines (invocation, script, at, level, message, fields) VALUES %s"

_WRITTEN = "SELECT DISTINCT invocation::text FROM log_lines WHERE invocation = ANY(%s::uuid[])"

_COLUMNS = "id, invocation::text, script, at, level, message, fields::text AS fields"

# Values are literals by the time that PostgreSQL plans this: it leaves out what does not matter.
_WANTED = """(%(script)s = '' OR script = %(script)s)
   AND (%(scripts)s::text[] IS NULL OR script = ANY(%(scripts)s::text[]))
   AND (%(invocation)s::uuid IS NULL OR invocation = %(invocation)s::uuid)
   AND (%(levels)s::text[] IS NULL OR level = ANY(%(levels)s::text[]))
   AND (%(since)s::timestamptz IS NULL OR at >= %(since)s::timestamptz)
   AND (%(until)s::timestamptz IS NULL OR at < %(until)s::timestamptz)"""

_PAGE = f"""SELECT {_COLUMNS} FROM log_lines
 WHERE {_WANTED} AND (%(before)s = 0 OR id < %(before)s)
 ORDER BY id DESC LIMIT %(limit)s"""

_BEFORE_NEWEST = f"""SELECT coalesce(
  (SELECT min(id) - 1 FROM
    (SELECT id FROM log_lines WHERE {_WANTED} ORDER BY id DESC LIMIT %(limit)s) AS newest),
  (SELECT max(id) FROM log_lines), 0)"""

_FOLLOWING = f"""SELECT newest.id AS newest, line.* FROM
  (SELECT coalesce(max(id), 0) AS id FROM log_lines) AS newest
  LEFT JOIN
  (SELECT * FROM
    (SELECT count(*) OVER () AS found, sum(length(message) + coalesce(length(fields), 0)) OVER (ORDER BY id) AS size,
            page.*
      FROM (SELECT {_COLUMNS} FROM log_lines WHERE {_WANTED} AND id > %(after)s ORDER BY id LIMIT %(limit)s) AS page
    ) AS sized
    WHERE size - length(message) - coalesce(length(fields), 0) < {_FOLLOWED_CHARACTERS}) AS line ON true
 ORDER BY line.id"""

_DELETE_OF = f"""DELETE FROM log_lines WHERE id IN
  (SELECT id FROM log_lines WHERE invocation <= %s::uuid ORDER BY invocation LIMIT {_DELETED_AT_ONCE})"""

_DELETE_BEYOND = f"""DELETE FROM log_lines WHERE id IN
  (SELECT id FROM log_lines WHERE id <= (SELECT max(id) FROM log_lines) - %s ORDER BY id LIMIT {_DELETED_AT_ONCE})"""


class LogTable:
    """The log lines of this platform, for who reads them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def page(self, wanted: LineFilter, limit: int, before: int) -> list[StoredLine]:
        """At most limit lines, newest first, those older than the cursor `before` (0: from the newest)."""
        with self._pool.transaction() as cursor:
            cursor.execute(_PAGE, {**_parameters(wanted), "before": before, "limit": limit})
            return [StoredLine(*row) for row in cursor.fetchall()]

    def before_newest(self, wanted: LineFilter, count: int) -> int:
        """The cursor behind which the newest `count` lines stand, and then all that are still to come."""
        with self._pool.transaction() as cursor:
            cursor.execute(_BEFORE_NEWEST, {**_parameters(wanted), "limit": count})
            row = cursor.fetchone()
        return int(row[0]) if row else 0

    def following(self, wanted: LineFilter, after: int, limit: int) -> LinePage:
        """At most limit lines behind the cursor, and about 256 KiB, oldest first."""
        with self._pool.transaction() as cursor:
            cursor.execute(_FOLLOWING, {**_parameters(wanted), "after": after, "limit": limit})
            rows = cursor.fetchall()
        newest, found, *_ = rows[0]
        if found is None:
            return LinePage((), max(after, newest), more=False)
        lines = tuple(StoredLine(*row[3:]) for row in rows)
        more = len(lines) < found or found == limit
        return LinePage(lines, lines[-1].id if more else newest, more)


def listen(dsn: str, on_news: Callable[[], None]) -> Listener:
    """Tells from a thread of its own that there may be new lines; see Listener."""
    return Listener(
        dsn, CHANNEL, on_message=lambda _: on_news(), on_listening=on_news, presence=_FOLLOWED
    )  # fmt: skip


def write(cursor: Cursor, records: Sequence[Record]) -> None:
    """Write the lines of invocations and have followers told, in the caller's transaction: let it end soon.

    Those of an invocation that has some already are not written again: a batch whose COMMIT was lost comes twice.
    """
    loud = {record.invocation.id: record for record in records if record.lines}
    if not loud:
        return
    cursor.execute(_BEGIN, (str(_FROZEN_MS),))
    cursor.execute(_WRITTEN, (list(loud),))
    for (written,) in cursor.fetchall():
        del loud[written]
    rows = [_row(it, record.invocation.script, line) for it, record in loud.items() for line in record.lines]
    if rows:
        execute_values(cursor, _INSERT, rows, page_size=500)


def expire(cursor: Cursor, invocation: str, keep_lines: int) -> int:
    """Delete some lines of that invocation and older ones, whether there is a record or not, and some of what is
    beyond about the newest `keep_lines` → how many; 0: nothing is left to do."""
    cursor.execute(_DELETE_OF, (invocation,))
    gone = cursor.rowcount
    cursor.execute(_DELETE_BEYOND, (keep_lines,))
    return gone + cursor.rowcount


def storable(text: str) -> str:
    """Text without the one character that PostgreSQL's cannot hold."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _row(invocation: str, script: str, line: LogLine) -> tuple[object, ...]:
    return invocation, script, line.at, str(line.level), storable(line.message), storable(line.fields) or None


def _parameters(wanted: LineFilter) -> dict[str, Any]:
    return {
        "script": wanted.script,
        "scripts": None if wanted.scripts is None else sorted(wanted.scripts),
        "invocation": wanted.invocation or None,
        "levels": [str(level) for level in wanted.level.and_louder()] if wanted.level else None,
        "since": wanted.since,
        "until": wanted.until,
    }
