"""Subscriptions in PostgreSQL. ``only``: the scripts that who asks may know of; None: all.

Nobody keeps a copy of them: who publishes an event reads those that could take it in the same transaction.
"""

from collections.abc import Collection, Sequence

from picloud.errors import Conflict, Forbidden
from picloud.model import Subscription
from picloud.storage.connection import Cursor
from picloud.storage.pool import Pool
from picloud.storage.rows import found
from picloud.subscriptions import SubscriptionWanted

_SUBSCRIPTION = """SELECT it.id, s.name, it.type, NULLIF(it.source, ''), NULLIF(it.subject, ''), it.declared
  FROM subscriptions it JOIN scripts s ON s.id = it.script_id"""

_PAGE = """WHERE it.id > %(after)s AND (%(only)s IS NULL OR s.name = ANY(%(only)s)) ORDER BY it.id LIMIT %(limit)s"""

_ONE = "WHERE it.id = %(id)s AND (%(only)s IS NULL OR s.name = ANY(%(only)s))"

_DELETE = f"DELETE FROM subscriptions it USING scripts s {_ONE} AND s.id = it.script_id RETURNING it.id"

_LOCK_SCRIPT = "SELECT id FROM scripts WHERE name = %s FOR KEY SHARE"  # it is there until the subscription is

_ADD = """INSERT INTO subscriptions (script_id, type, source, subject) VALUES (%s, %s, %s, %s)
  ON CONFLICT (script_id, type, source, subject) DO NOTHING RETURNING id"""

# One that was added by hand is declared from now on, and keeps its id.
_DECLARE = """INSERT INTO subscriptions AS it (script_id, type, source, subject, declared) VALUES (%s, %s, %s, %s, true)
  ON CONFLICT (script_id, type, source, subject) DO UPDATE SET declared = true WHERE NOT it.declared"""

_DECLARED = "SELECT id, type, source, subject FROM subscriptions WHERE script_id = %s AND declared FOR UPDATE"

_REMOVE = "DELETE FROM subscriptions WHERE script_id = %s AND type = %s AND source = %s AND subject = %s"

Key = tuple[str, str, str]  # type, source or '', subject or '': what a script can have once


class SubscriptionTable:
    """All of them; every method is one transaction, and DatabaseUnavailable if there is none."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def page(self, limit: int, after: int, only: Collection[str] | None = None) -> list[Subscription]:
        """At most limit subscriptions by id, those behind the id `after`."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"{_SUBSCRIPTION} {_PAGE}", {"after": after, "limit": limit, "only": _list(only)})
            return [Subscription(*row) for row in cursor.fetchall()]

    def get(self, identifier: int, only: Collection[str] | None = None) -> Subscription:
        """One; NotFound, also if it is of none of the scripts ``only``."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"{_SUBSCRIPTION} {_ONE}", {"id": identifier, "only": _list(only)})
            return Subscription(*found(cursor.fetchone(), _missing(identifier)))

    def add(self, script: str, wanted: SubscriptionWanted, only: Collection[str] | None = None) -> Subscription:
        """Store one; Conflict: the script has it; NotFound: no such script; Forbidden: it takes others' events."""
        _require_own(wanted, only)
        with self._pool.transaction() as cursor:
            cursor.execute(_LOCK_SCRIPT, (script,))
            (script_id,) = found(cursor.fetchone(), f"there is no script '{script}'")
            cursor.execute(_ADD, (script_id, *_key(wanted)))
            row = cursor.fetchone()
            if row is None:
                raise Conflict(f"script '{script}' is subscribed to '{wanted}' already")
            return Subscription(row[0], script, wanted.type, wanted.source, wanted.subject, declared=False)

    def delete(self, identifier: int, only: Collection[str] | None = None) -> None:
        """Drop one; NotFound, also if it is of none of the scripts ``only``."""
        with self._pool.transaction() as cursor:
            cursor.execute(_DELETE, {"id": identifier, "only": _list(only)})
            found(cursor.fetchone(), _missing(identifier))


def replace_declared(
    cursor: Cursor, script_id: int, wanted: Sequence[SubscriptionWanted], only: Collection[str] | None = None
) -> None:
    """Make the subscriptions that a script declares itself exactly these, in the caller's transaction.

    Forbidden: one that is not there yet takes others' events, and who asks may know of none but ``only``.
    """
    sought = {_key(it) for it in wanted}
    cursor.execute(_DECLARED, (script_id,))
    there = {tuple(key): identifier for identifier, *key in cursor.fetchall()}
    for it in wanted:
        if _key(it) not in there:
            _require_own(it, only)
    gone = [identifier for key, identifier in there.items() if key not in sought]
    cursor.execute("DELETE FROM subscriptions WHERE id = ANY(%s)", (gone,))
    for key in sorted(sought):
        cursor.execute(_DECLARE, (script_id, *key))


def put(cursor: Cursor, script_id: int, wanted: SubscriptionWanted, *, declared: bool) -> None:
    """Subscribe a script, unless it is, in the caller's transaction; one that it declares is noted as such."""
    cursor.execute(_DECLARE if declared else _ADD, (script_id, *_key(wanted)))


def remove(cursor: Cursor, script_id: int, wanted: SubscriptionWanted) -> None:
    """End a subscription, in the caller's transaction."""
    cursor.execute(_REMOVE, (script_id, *_key(wanted)))


def _require_own(wanted: SubscriptionWanted, only: Collection[str] | None) -> None:
    """Forbidden for what would tell a limited token's scripts of others."""
    if only is not None and not wanted.is_of(only):
        raise Forbidden(
            f"'{wanted}': with a token that is limited to scripts, source must be /scripts/NAME of one of them"
        )


def _key(wanted: SubscriptionWanted) -> Key:
    return wanted.type, wanted.source or "", wanted.subject or ""


def _list(only: Collection[str] | None) -> list[str] | None:
    return None if only is None else list(only)


def _missing(identifier: int) -> str:
    return f"there is no subscription {identifier}"
