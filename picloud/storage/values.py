"""Keys and values as the control plane sees them: those of a script that has a name, and what becomes of all in time.

What an invocation writes is `kv`; here it is written by hand, in a transaction of its own, and counted the same way.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from picloud.errors import NotFound, TransactionConflict
from picloud.model import Check, Entry, Guard, Value, own_space, shared_space
from picloud.storage.connection import Cursor
from picloud.storage.kv import SHARD, KeyValues
from picloud.storage.pool import Pool
from picloud.storage.rows import found

_SCRIPT = "SELECT id, coalesce(settings->'kv' ? %(shared)s, false) FROM scripts WHERE name = %(script)s FOR KEY SHARE"

_LOCK = """SELECT version FROM kv WHERE space = %(space)s AND key = %(key)s
  AND (expires_at IS NULL OR expires_at > statement_timestamp()) FOR UPDATE"""

# Invocations that are under way hold rows and may add some: nobody finds them any more, and retention deletes them.
_DROP = """DELETE FROM kv WHERE (space, key) IN
  (SELECT space, key FROM kv WHERE space = %(space)s FOR UPDATE SKIP LOCKED)"""

_DROP_USAGE = """DELETE FROM kv_usage WHERE space = %(space)s AND NOT EXISTS (SELECT FROM kv WHERE space = %(space)s)"""

_TURN = "SELECT pg_try_advisory_xact_lock(%s)"
_EXPIRING = 0x5049_4B56  # the advisory lock's number, "PIKV"

_SOME = 5000

_EXPIRE = f"""WITH gone AS (DELETE FROM kv WHERE (space, key) IN
    (SELECT space, key FROM kv WHERE expires_at <= statement_timestamp() LIMIT {_SOME} FOR UPDATE SKIP LOCKED)
    RETURNING space, bytes),
  counted AS (INSERT INTO kv_usage AS it (space, shard, bytes)
    SELECT space, {SHARD.replace("%%", "%")}, -sum(bytes) FROM gone GROUP BY space ORDER BY space
    ON CONFLICT (space, shard) DO UPDATE SET bytes = it.bytes + excluded.bytes)
  SELECT count(*) FROM gone"""

_ORPHANS = """SELECT DISTINCT space FROM kv_usage WHERE space LIKE 'script %'
  AND NOT EXISTS (SELECT FROM scripts WHERE 'script ' || id = space) ORDER BY space LIMIT 100"""

_DROP_SOME = f"""DELETE FROM kv WHERE (space, key) IN
  (SELECT space, key FROM kv WHERE space = %(space)s LIMIT {_SOME} FOR UPDATE SKIP LOCKED)"""


def drop(cursor: Cursor, script_id: int) -> None:
    """Delete all values of a script, waiting for no invocation of it."""
    given = {"space": own_space(script_id)}
    cursor.execute(_DROP, given)
    cursor.execute(_DROP_USAGE, given)


class ValueTable:
    """Values by script and key. ``shared``: the name of a space that the script may use; '': its own.

    Every method raises NotFound for what is not there.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def page(self, script: str, shared: str, prefix: str, after: str, limit: int) -> list[Entry]:
        """At most `limit` in the order of the keys' bytes; fewer if they are large, none only if there is none."""
        with self._space(script, shared) as (_, space, kv):
            return kv.page(space, prefix, after, limit)

    def get(self, script: str, shared: str, key: str) -> Entry:
        """One value."""
        with self._space(script, shared) as (_, space, kv):
            entry: Entry = found(kv.get(space, [key]).get(key), _missing(script, shared, key))
            return entry

    def put(self, script: str, shared: str, key: str, value: Value, ttl_ms: int | None, check: Check) -> Entry:
        """Store a value, if `check` lets it; SpaceFull, TransactionConflict."""
        with self._space(script, shared) as (cursor, space, kv):
            version = _locked(cursor, space, key)
            check(version)
            entry = kv.put(space, key, value, ttl_ms, Guard(version or 0, expired_too=True))
            if entry is None:
                raise TransactionConflict
            return entry

    def delete(self, script: str, shared: str, key: str, check: Check) -> None:
        """Remove a value, if `check` lets it."""
        with self._space(script, shared) as (cursor, space, kv):
            version = _locked(cursor, space, key)
            check(version)
            if version is None:
                raise NotFound(_missing(script, shared, key))
            kv.delete(space, key, Guard(version, expired_too=True))

    def expire(self) -> int:
        """Delete some of what has expired, and of what a script left that is gone → how many rows.

        A few thousand at a time, and by one process at a time: 0 also if another is at it.
        """
        with self._pool.transaction() as cursor:
            cursor.execute(_TURN, (_EXPIRING,))
            if cursor.fetchone() != (True,):
                return 0
            cursor.execute(_EXPIRE)
            (gone,) = cursor.fetchone() or (0,)
            cursor.execute(_ORPHANS)
            return int(gone) + sum(_drop_some(cursor, space) for (space,) in cursor.fetchall())

    def vacuum(self) -> None:
        """Give the space of replaced and deleted rows back; autovacuum is set to wake rarely."""
        self._pool.vacuum("kv", "kv_usage")

    @contextmanager
    def _space(self, script: str, shared: str) -> Iterator[tuple[Cursor, str, KeyValues]]:
        with self._pool.transaction() as cursor:
            cursor.execute(_SCRIPT, {"script": script, "shared": shared})
            script_id, is_granted = found(cursor.fetchone(), f"there is no script '{script}'")
            if shared and not is_granted:
                raise NotFound(f"script '{script}' may not use a space '{shared}': its setting 'kv' does not name it")
            kv = KeyValues(_CursorWork(cursor))
            yield cursor, shared_space(shared) if shared else own_space(script_id), kv
            kv.settle()


class _CursorWork:
    """A transaction of the pool, for `KeyValues`."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def read(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        self._cursor.execute(statement, parameters)
        return self._cursor.fetchall() if self._cursor.description else []

    write = read

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Nothing that fails here is caught: the transaction is rolled back as a whole."""
        yield


def _locked(cursor: Cursor, space: str, key: str) -> int | None:
    cursor.execute(_LOCK, {"space": space, "key": key})
    row = cursor.fetchone()
    return row[0] if row else None


def _drop_some(cursor: Cursor, space: str) -> int:
    cursor.execute(_DROP_SOME, {"space": space})
    gone = cursor.rowcount
    cursor.execute(_DROP_USAGE, {"space": space})
    return gone + cursor.rowcount


def _missing(script: str, shared: str, key: str) -> str:
    return f"there is no '{key}' in the space '{shared}'" if shared else f"script '{script}' has no '{key}'"
