"""Keys and values of scripts, in the transaction of the invocation that asks.

Owns: their SQL, how a version guards a write, and what counts against a space's quota. Knows no script's name: a
*space* is a word that its caller chose.

Isolation is READ COMMITTED. A read is one statement, so `get` of many keys is one snapshot; a write of a key that was
read says which version it replaces, and waits for who holds the row; `increase` is one statement. A version is a
number of one sequence, so a key that was deleted and made again has another.

The quota (the record of a decision): a space's bytes are counted in rows of `kv_usage`, one for each connection that
writes, and changed once, right before COMMIT: no hot row. Two invocations at once can so go over by what they
write. What has expired counts until it is deleted, which a write that would not fit does first.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from picloud.errors import SpaceFull
from picloud.model import KEY_OVERHEAD_BYTES, SPACE_BYTES_MAX, Entry, Value, ValueKind

_SHARDS = 16
_LIVE = "({it}.expires_at IS NULL OR {it}.expires_at > statement_timestamp())"
_OLD_LIVES = _LIVE.format(it="old")
_COLUMNS = "key, json, raw, number, version, expires_at"
_EXPIRES = "statement_timestamp() + %(ttl_ms)s * interval '1 ms'"
_FITS = """(SELECT coalesce(sum(bytes), 0) FROM kv_usage WHERE space = %(space)s) + %(pending)s + %(bytes)s
  <= %(bytes_max)s"""
_NEW = "number = excluded.number, bytes = excluded.bytes, version = excluded.version"

_GET = f"""SELECT {_COLUMNS} FROM kv WHERE space = %(space)s AND key = ANY(%(keys)s) AND {_LIVE.format(it="kv")}"""

_LIST = f"""SELECT {_COLUMNS} FROM kv WHERE space = %(space)s AND key > %(after)s AND key >= %(prefix)s
  AND starts_with(key, %(prefix)s) AND {_LIVE.format(it="kv")} ORDER BY key LIMIT %(limit)s"""

_PUT = f"""INSERT INTO kv AS old (space, key, json, raw, number, bytes, version, expires_at)
  SELECT %(space)s, %(key)s, %(json)s, %(raw)s, %(number)s::bigint, %(bytes)s, nextval('kv_versions'), {_EXPIRES}
   WHERE {{fits}}
  ON CONFLICT (space, key) DO UPDATE SET json = excluded.json, raw = excluded.raw, {_NEW},
    expires_at = excluded.expires_at, replaced = old.bytes WHERE {{guard}}
  RETURNING version, bytes - replaced"""

_SET = _PUT.format(fits=_FITS, guard="true")
_ADD = _PUT.format(fits=_FITS, guard=f"NOT {_OLD_LIVES}")

_REPLACE = f"""UPDATE kv AS old SET json = %(json)s, raw = %(raw)s, number = %(number)s::bigint, bytes = %(bytes)s,
    version = nextval('kv_versions'), expires_at = {_EXPIRES}, replaced = bytes
  WHERE space = %(space)s AND key = %(key)s AND version = %(version)s AND {_OLD_LIVES} AND {_FITS}
  RETURNING version, bytes - replaced"""

_INCREASE = f"""INSERT INTO kv AS old (space, key, number, bytes, version, expires_at)
  SELECT %(space)s, %(key)s, %(by)s, %(bytes)s, nextval('kv_versions'), {_EXPIRES} WHERE {_FITS}
  ON CONFLICT (space, key) DO UPDATE SET json = NULL, raw = NULL, bytes = excluded.bytes, version = excluded.version,
    number = CASE WHEN {_OLD_LIVES} THEN old.number + %(by)s ELSE %(by)s END, replaced = old.bytes,
    expires_at = CASE WHEN {_OLD_LIVES} THEN old.expires_at ELSE excluded.expires_at END
  WHERE NOT {_OLD_LIVES} OR old.number BETWEEN -9223372036854775808 - least(%(by)s, 0)
    AND 9223372036854775807 - greatest(%(by)s, 0)
  RETURNING number, version, bytes - replaced"""

_DELETE = f"""WITH gone AS (DELETE FROM kv AS old WHERE space = %(space)s AND key = %(key)s
    AND (%(version)s IS NULL OR (version = %(version)s AND {_OLD_LIVES})) RETURNING bytes, {_OLD_LIVES} AS live)
  SELECT live, bytes FROM gone"""

_DELETE_EXPIRED = f"""WITH gone AS (DELETE FROM kv WHERE (space, key) IN
    (SELECT space, key FROM kv WHERE space = %(space)s AND NOT {_LIVE.format(it="kv")} FOR UPDATE SKIP LOCKED)
    RETURNING bytes) SELECT coalesce(sum(bytes), 0) FROM gone"""

_ROOM = """SELECT %(bytes_max)s - %(pending)s - coalesce((SELECT sum(bytes) FROM kv_usage WHERE space = %(space)s), 0)
  + coalesce((SELECT bytes FROM kv WHERE space = %(space)s AND key = %(key)s), 0)"""

_COUNT = f"""INSERT INTO kv_usage AS it (space, shard, bytes)
  VALUES (%(space)s, pg_backend_pid() %% {_SHARDS}, %(bytes)s)
  ON CONFLICT (space, shard) DO UPDATE SET bytes = it.bytes + excluded.bytes"""


class Work(Protocol):
    """The transaction; see `UnitOfWork`."""

    def read(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run one statement → its rows."""

    def write(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The same for a statement whose effect is to last."""


class KeyValues:
    """What one invocation's transaction does to keys; every method may raise what `UnitOfWork.read` does."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._pending: dict[str, int] = {}  # space → bytes that this transaction adds

    def get(self, space: str, keys: Sequence[str]) -> dict[str, Entry]:
        """Those of the keys that are there, in one snapshot."""
        rows = self._work.read(_GET, {"space": space, "keys": list(keys)})
        return {row[0]: _entry(row) for row in rows}

    def page(self, space: str, prefix: str, after: str, limit: int) -> list[Entry]:
        """At most `limit` entries whose key begins with `prefix` and comes behind `after`, in the order of bytes."""
        given = {"space": space, "prefix": prefix, "after": after, "limit": limit}
        return [_entry(row) for row in self._work.read(_LIST, given)]

    def put(self, space: str, key: str, value: Value, ttl_ms: int | None, version: int | None) -> int | None:
        """Store a value → its version; None if it is not `version` that it would replace (0: none at all).

        Without a `version` whatever is there is replaced. SpaceFull.
        """
        statement = _SET if version is None else _REPLACE if version else _ADD
        given = {
            **self._given(space, key, value.size),
            "json": value.text if value.kind is ValueKind.JSON else None,
            "raw": value.raw if value.kind is ValueKind.BYTES else None,
            "number": value.number if value.kind is ValueKind.NUMBER else None,
            "ttl_ms": ttl_ms,
            "version": version,
        }
        rows = self._fitting(statement, given)
        if not rows:
            return None
        stored, grown = rows[0]
        self._grow(space, grown)
        return int(stored)

    def increase(self, space: str, key: str, by: int, ttl_ms: int | None) -> Entry | None:
        """Add to a number, 0 if there is none → what it is now; None: it is no whole number, or would leave 64 bits.

        `ttl_ms` is for one that begins. SpaceFull.
        """
        rows = self._fitting(_INCREASE, {**self._given(space, key, 8), "by": by, "ttl_ms": ttl_ms})
        if not rows:
            return None
        number, version, grown = rows[0]
        self._grow(space, grown)
        return Entry(key, Value.of_number(number), version)

    def delete(self, space: str, key: str, version: int | None) -> bool:
        """Remove a key → whether it was there, and was `version` if that is given."""
        rows = self._work.write(_DELETE, {"space": space, "key": key, "version": version})
        for _, size in rows:
            self._grow(space, -size)
        return bool(rows and rows[0][0])

    def settle(self) -> None:
        """Count what was written, right before COMMIT: in one order, so that nobody waits for each other."""
        for space, grown in sorted(self._pending.items()):
            if grown:
                self._work.write(_COUNT, {"space": space, "bytes": grown})

    def pending(self) -> dict[str, int]:
        """What is not counted yet, to `restore` after a savepoint was rolled back."""
        return dict(self._pending)

    def restore(self, pending: Mapping[str, int]) -> None:
        """Forget what was written since `pending`."""
        self._pending = dict(pending)

    def _given(self, space: str, key: str, value_bytes: int) -> dict[str, Any]:
        size = len(key.encode()) + value_bytes + KEY_OVERHEAD_BYTES
        return {"space": space, "key": key, "bytes": size, "bytes_max": SPACE_BYTES_MAX}

    def _fitting(self, statement: str, given: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Run a write that does nothing if it does not surely fit; SpaceFull if it really does not."""
        space = given["space"]
        rows = self._work.write(statement, {**given, "pending": self._pending.get(space, 0)})
        if rows or self._work.read("SELECT " + _FITS, {**given, "pending": self._pending.get(space, 0)})[0][0]:
            return rows
        ((freed,),) = self._work.write(_DELETE_EXPIRED, given)
        self._grow(space, -int(freed))
        ((room,),) = self._work.read(_ROOM, {**given, "pending": self._pending.get(space, 0)})
        if given["bytes"] > room:
            raise SpaceFull(f"{given['bytes']} bytes do not fit: at most {SPACE_BYTES_MAX} are kept in all")
        return self._work.write(statement, {**given, "pending": -(1 << 62)})

    def _grow(self, space: str, by: int) -> None:
        self._pending[space] = self._pending.get(space, 0) + by


def _entry(row: tuple[Any, ...]) -> Entry:
    key, text, raw, number, version, expires_at = row
    if number is not None:
        value = Value.of_number(number)
    else:
        value = Value.of_json(text) if text is not None else Value.of_bytes(bytes(raw))
    return Entry(key, value, version, expires_at)
