"""Keys and values of scripts, in the transaction of whoever asks.

Owns: their SQL, how a guard guards a write, and what counts against a space's quota. Knows no script's name: a *space*
is a word that its caller chose.

Isolation is READ COMMITTED. A read is one statement, so `get` of many keys is one snapshot; a write of a key that was
read says which version it replaces, and waits for who holds the row; `increase` is one statement. A version is a
number of one sequence, so a key that was deleted and made again has another.

The quota (the record of a decision): a space's bytes are counted in rows of `kv_usage`, one for each connection that
writes, and changed once, right before COMMIT: no hot row. Every write looks whether it fits, and all of them are looked
at once more before COMMIT; two that commit in the very same moment can go over by what they write. What has expired
counts until it is deleted, which a write that would not fit does first.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from picloud.errors import InvalidRequest, SpaceFull, TransactionConflict
from picloud.model import (
    GET_BYTES_MAX,
    KEY_OVERHEAD_BYTES,
    SPACE_BYTES_MAX,
    WHATEVER,
    Entry,
    Guard,
    Value,
    ValueKind,
)

_SHARDS = 16
_UNBOUNDED = 1 << 62
_LIVE = "({it}.expires_at IS NULL OR {it}.expires_at > statement_timestamp())"
_OLD_LIVES, _IT_LIVES = _LIVE.format(it="old"), _LIVE.format(it="it")
_COLUMNS = "key, json, raw, number, version, expires_at"
_EXPIRES = "coalesce(%(expires_at)s::timestamptz, statement_timestamp() + %(ttl_ms)s * interval '1 ms')"
_USED = "(SELECT coalesce(sum(bytes), 0) FROM kv_usage WHERE space = %(space)s)"
_FITS = f"{_USED} + %(bytes)s <= %(room)s"
_STORED = "version, expires_at, bytes - replaced"

_GET = f"""SELECT {_COLUMNS}, total FROM (SELECT key, version, expires_at, number, sum(bytes) OVER () AS total,
    CASE WHEN sum(bytes) OVER () <= {GET_BYTES_MAX} THEN json END AS json,
    CASE WHEN sum(bytes) OVER () <= {GET_BYTES_MAX} THEN raw END AS raw
  FROM kv AS it WHERE space = %(space)s AND key = ANY(%(keys)s) AND {_IT_LIVES}) AS found"""

_LIST = f"""SELECT {_COLUMNS} FROM (SELECT *, sum(bytes) OVER (ORDER BY key) AS so_far
    FROM (SELECT * FROM kv AS it WHERE space = %(space)s AND key > %(after)s AND starts_with(key, %(prefix)s)
        AND {_IT_LIVES} ORDER BY key LIMIT %(limit)s) AS page) AS summed
  WHERE so_far <= {GET_BYTES_MAX} ORDER BY key"""

_EXPIRED = f"""SELECT 1 FROM kv AS it WHERE space = %(space)s AND key = %(key)s AND version = %(version)s
  AND NOT {_IT_LIVES}"""

_PUT = f"""INSERT INTO kv AS old (space, key, json, raw, number, bytes, version, expires_at)
  SELECT %(space)s, %(key)s, %(json)s, %(raw)s, (%(number)s)::bigint, %(bytes)s, nextval('kv_versions'), {_EXPIRES}
   WHERE {_FITS}
  ON CONFLICT (space, key) DO UPDATE SET json = excluded.json, raw = excluded.raw, number = excluded.number,
    bytes = excluded.bytes, version = excluded.version, expires_at = excluded.expires_at, replaced = old.bytes
   WHERE {{guard}}
  RETURNING {_STORED}"""

_SET = _PUT.format(guard="true")
_ADD = _PUT.format(guard=f"NOT {_OLD_LIVES}")

_IS_VERSION = f"version = %(version)s AND (%(expired_too)s OR {_OLD_LIVES})"

_REPLACE = f"""UPDATE kv AS old SET json = %(json)s, raw = %(raw)s, number = (%(number)s)::bigint, bytes = %(bytes)s,
    version = nextval('kv_versions'), expires_at = {_EXPIRES}, replaced = bytes
  WHERE space = %(space)s AND key = %(key)s AND {_IS_VERSION} AND {_FITS}
  RETURNING {_STORED}"""

_INCREASE = f"""INSERT INTO kv AS old (space, key, number, bytes, version, expires_at)
  SELECT %(space)s, %(key)s, %(by)s, %(bytes)s, nextval('kv_versions'), {_EXPIRES} WHERE {_FITS}
  ON CONFLICT (space, key) DO UPDATE SET json = NULL, raw = NULL, bytes = excluded.bytes, version = excluded.version,
    number = CASE WHEN {_OLD_LIVES} THEN old.number + %(by)s ELSE %(by)s END, replaced = old.bytes,
    expires_at = CASE WHEN {_OLD_LIVES} THEN old.expires_at ELSE excluded.expires_at END
  WHERE NOT {_OLD_LIVES} OR old.number BETWEEN -9223372036854775808 - least(%(by)s, 0)
    AND 9223372036854775807 - greatest(%(by)s, 0)
  RETURNING {_STORED}, number"""

_DELETE = f"""DELETE FROM kv AS old WHERE space = %(space)s AND key = %(key)s
    AND ((%(version)s)::bigint IS NULL OR {_IS_VERSION})
  RETURNING bytes, %(expired_too)s OR {_OLD_LIVES}"""

_DELETE_EXPIRED = f"""WITH gone AS (DELETE FROM kv WHERE (space, key) IN
    (SELECT space, key FROM kv AS it WHERE space = %(space)s AND NOT {_IT_LIVES} FOR UPDATE SKIP LOCKED)
    RETURNING bytes) SELECT coalesce(sum(bytes), 0) FROM gone"""

SHARD = f"pg_backend_pid() %% {_SHARDS}"
"""Which row of a space's usage this connection changes."""

_COUNT = f"""INSERT INTO kv_usage AS it (space, shard, bytes) VALUES (%(space)s, {SHARD}, %(bytes)s)
  ON CONFLICT (space, shard) DO UPDATE SET bytes = it.bytes + excluded.bytes RETURNING {_USED}"""


class Work(Protocol):
    """The transaction; see `UnitOfWork`."""

    def read(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run one statement → its rows."""

    def write(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The same for a statement whose effect is to last."""

    def savepoint(self) -> AbstractContextManager[object]:
        """What is done in the block is undone if it raises."""


class KeyValues:
    """What one transaction does to keys; every method may raise what `UnitOfWork.read` does."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._pending: dict[str, int] = {}  # space → bytes that this transaction adds

    def get(self, space: str, keys: Sequence[str]) -> dict[str, Entry]:
        """Those of the keys that are there, in one snapshot; InvalidRequest if they are too much at once."""
        rows = self._work.read(_GET, {"space": space, "keys": list(keys)})
        if rows and rows[0][-1] > GET_BYTES_MAX:
            raise InvalidRequest(f"they have {rows[0][-1]} bytes, at most {GET_BYTES_MAX} are read at once")
        return {row[0]: _entry(row[:-1]) for row in rows}

    def page(self, space: str, prefix: str, after: str, limit: int) -> list[Entry]:
        """At most `limit` entries whose key begins with `prefix` and comes behind `after`, in the order of bytes.

        Fewer if all of them would be too much at once; none only if there is none.
        """
        given = {"space": space, "prefix": prefix, "after": after, "limit": limit}
        return [_entry(row) for row in self._work.read(_LIST, given)]

    def expired(self, space: str, key: str, version: int) -> bool:
        """Whether this version is still the last one, and is absent because its time is over."""
        return bool(self._work.read(_EXPIRED, {"space": space, "key": key, "version": version}))

    def put(
        self, space: str, key: str, value: Value, expiry: datetime | int | None, guard: Guard = WHATEVER
    ) -> Entry | None:
        """Store a value → its entry; None if it is not what the guard says that it would replace. SpaceFull.

        `expiry`: when it is gone, or in how many ms; None: never.
        """
        statement = _SET if guard.version is None else _REPLACE if guard.version else _ADD
        given = {
            **_given(space, key, value.size, expiry),
            "json": value.text if value.kind is ValueKind.JSON else None,
            "raw": value.raw if value.kind is ValueKind.BYTES else None,
            "number": value.number if value.kind is ValueKind.NUMBER else None,
            "version": guard.version,
            "expired_too": guard.expired_too,
        }
        row = self._write(statement, given)
        return None if row is None else Entry(key, value, row[0], row[1])

    def increase(self, space: str, key: str, by: int, ttl_ms: int | None) -> Entry | None:
        """Add to a number, 0 if there is none → what it is now; None: it is no whole number, or would leave 64 bits.

        `ttl_ms` is for one that begins. SpaceFull.
        """
        row = self._write(_INCREASE, {**_given(space, key, Value.of_number(by).size, ttl_ms), "by": by})
        return None if row is None else Entry(key, Value.of_number(row[3]), row[0], row[1])

    def delete(self, space: str, key: str, guard: Guard = WHATEVER) -> bool:
        """Remove a key → whether it was there, and was what the guard says."""
        given = {"space": space, "key": key, "version": guard.version, "expired_too": guard.expired_too}
        rows = self._work.write(_DELETE, given)
        for size, _ in rows:
            self._grow(space, -size)
        return bool(rows and rows[0][1])

    def settle(self) -> None:
        """Count what was written, right before COMMIT: in one order, so that nobody waits for each other.

        TransactionConflict: others have meanwhile taken the room that there was.
        """
        for space, grown in sorted(self._pending.items()):
            if grown:
                ((used,),) = self._work.write(_COUNT, {"space": space, "bytes": grown})
                if grown > 0 and used + grown > SPACE_BYTES_MAX:
                    raise TransactionConflict("another invocation filled the space meanwhile")
        self._pending.clear()

    def pending(self) -> dict[str, int]:
        """What is not counted yet, to `restore` after a savepoint was rolled back."""
        return dict(self._pending)

    def restore(self, pending: Mapping[str, int]) -> None:
        """Forget what was written since `pending`."""
        self._pending = dict(pending)

    def _write(self, statement: str, given: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Run a write of one key → what was stored; None if its guard did not hold. SpaceFull."""
        space = given["space"]
        room = SPACE_BYTES_MAX - self._pending.get(space, 0)
        rows = self._work.write(statement, {**given, "room": room})
        if not rows:  # of the guard, or because it would not surely fit
            return self._squeeze(statement, given)
        self._grow(space, rows[0][2])
        return rows[0]

    def _squeeze(self, statement: str, given: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The same where room may lack: write, then see whether it fits without what has expired."""
        space, freed = given["space"], 0
        with self._work.savepoint():
            rows = self._work.write(statement, {**given, "room": _UNBOUNDED})
            if not rows:
                return None
            grown = rows[0][2]
            if self._is_over(space, grown):
                ((freed,),) = self._work.write(_DELETE_EXPIRED, {"space": space})
                if self._is_over(space, grown - int(freed)):
                    raise SpaceFull(f"{grown} bytes more do not fit: at most {SPACE_BYTES_MAX} are kept in all")
        self._grow(space, grown - int(freed))
        return rows[0]

    def _is_over(self, space: str, by: int) -> bool:
        """Whether growing by so much goes over the limit; what does not grow never does."""
        ((used,),) = self._work.read(f"SELECT {_USED}", {"space": space})
        return by > 0 and used + self._pending.get(space, 0) + by > SPACE_BYTES_MAX

    def _grow(self, space: str, by: int) -> None:
        self._pending[space] = self._pending.get(space, 0) + by


def _given(space: str, key: str, value_bytes: int, expiry: datetime | int | None) -> dict[str, Any]:
    return {
        "space": space,
        "key": key,
        "bytes": len(key.encode()) + value_bytes + KEY_OVERHEAD_BYTES,
        "expires_at": expiry if isinstance(expiry, datetime) else None,
        "ttl_ms": None if isinstance(expiry, datetime) else expiry,
    }


def _entry(row: tuple[Any, ...]) -> Entry:
    key, text, raw, number, version, expires_at = row
    if number is not None:
        value = Value.of_number(number)
    else:
        value = Value.of_json(text) if text is not None else Value.of_bytes(bytes(raw))
    return Entry(key, value, version, expires_at)
