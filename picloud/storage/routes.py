"""Routes in PostgreSQL. ``only``: the scripts that who asks may know of; None: all.

Every change is announced in its transaction: the tables that workers keep are built anew from what is visible then.
"""

from collections.abc import Collection, Sequence
from typing import Any

from picloud.errors import Conflict, Forbidden
from picloud.model import Route
from picloud.patterns import RouteWanted
from picloud.storage.changes import Changed, announce
from picloud.storage.connection import Cursor
from picloud.storage.pool import Pool
from picloud.storage.rows import found

_ROUTE = """SELECT r.id, r.method, NULLIF(r.host, ''), r.path, s.name
  FROM routes r JOIN scripts s ON s.id = r.script_id"""

_PAGE = "WHERE r.id > %(after)s AND (%(only)s IS NULL OR s.name = ANY(%(only)s)) ORDER BY r.id LIMIT %(limit)s"

_ONE = "WHERE r.id = %(id)s AND (%(only)s IS NULL OR s.name = ANY(%(only)s))"

_DELETE = f"DELETE FROM routes r USING scripts s {_ONE} AND s.id = r.script_id RETURNING r.id"

_LOCK_SCRIPT = "SELECT id FROM scripts WHERE name = %s FOR KEY SHARE"  # it is there until the route is

_ADD = """INSERT INTO routes (script_id, method, host, path, shape, declared) VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (host, method, shape) DO NOTHING RETURNING id"""

_CLASHING = f"{_ROUTE} WHERE r.host = %s AND r.method = %s AND r.shape = %s"

_OWN = "SELECT host, method, shape, id, path, declared FROM routes WHERE script_id = %s FOR UPDATE"

_DECLARE = "UPDATE routes SET path = %s, declared = true WHERE id = %s"

_REMOVE = "DELETE FROM routes WHERE host = %s AND method = %s AND shape = %s"

_PUT = """INSERT INTO routes (script_id, host, method, shape, path, declared) VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (host, method, shape) DO UPDATE
    SET script_id = excluded.script_id, path = excluded.path, declared = excluded.declared"""

Key = tuple[str, str, str]  # host or '', method, shape: what can be there once


class RouteTable:
    """The routes of this platform; every method is one transaction, and DatabaseUnavailable if there is none."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def all(self) -> list[Route]:
        """Every route, in the order in which they were added."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"{_ROUTE} ORDER BY r.id")
            return [Route(*row) for row in cursor.fetchall()]

    def page(self, limit: int, after: int, only: Collection[str] | None = None) -> list[Route]:
        """At most limit routes by id, those behind the id `after`; of the scripts ``only``, unless it is None."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"{_ROUTE} {_PAGE}", {"after": after, "limit": limit, "only": _list(only)})
            return [Route(*row) for row in cursor.fetchall()]

    def get(self, identifier: int, only: Collection[str] | None = None) -> Route:
        """One route; NotFound, also if it is of none of the scripts ``only``."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"{_ROUTE} {_ONE}", {"id": identifier, "only": _list(only)})
            return Route(*found(cursor.fetchone(), f"there is no route {identifier}"))

    def add(self, script: str, wanted: RouteWanted, only: Collection[str] | None = None) -> Route:
        """Store a route to a script; Conflict names the one that it clashes with, NotFound: there is no such script."""
        with self._pool.transaction() as cursor:
            identifier = _insert(cursor, _script_id(cursor, script), wanted, only, declared=False)
            announce(cursor, Changed.ROUTES)
            return Route(identifier, wanted.method, wanted.host, wanted.path, script)

    def delete(self, identifier: int, only: Collection[str] | None = None) -> None:
        """Drop a route; NotFound, also if it is of none of the scripts ``only``."""
        with self._pool.transaction() as cursor:
            cursor.execute(_DELETE, {"id": identifier, "only": _list(only)})
            found(cursor.fetchone(), f"there is no route {identifier}")
            announce(cursor, Changed.ROUTES)


def replace_declared(
    cursor: Cursor, script_id: int, wanted: Sequence[RouteWanted], only: Collection[str] | None = None
) -> None:
    """Make the routes that a script declares itself exactly these, in the caller's transaction.

    What is there already keeps its id, also if it was added by hand before. Conflict names the clash: two of these,
    or one with another script's. Announced if anything changed.
    """
    sought = _by_key(wanted)
    cursor.execute(_OWN, (script_id,))
    own = {(host, method, shape): tuple(rest) for host, method, shape, *rest in cursor.fetchall()}
    gone = [identifier for key, (identifier, _, declared) in own.items() if declared and key not in sought]
    cursor.execute("DELETE FROM routes WHERE id = ANY(%s)", (gone,))
    changed = bool(gone)
    for key, route in sorted(sought.items()):  # in one order: two that clash wait for each other, and not in a circle
        identifier, path, declared = own.get(key, (None, "", False))
        if (path, declared) == (route.path, True):
            continue
        changed = True
        if identifier is None:
            _insert(cursor, script_id, route, only, declared=True)
        else:
            cursor.execute(_DECLARE, (route.path, identifier))
    if changed:
        announce(cursor, Changed.ROUTES)


def remove(cursor: Cursor, keys: Sequence[Key]) -> None:
    """Remove routes, whosever they are, in the caller's transaction."""
    for key in sorted(keys):
        cursor.execute(_REMOVE, key)
    announce(cursor, Changed.ROUTES)


def put(cursor: Cursor, script_id: int, wanted: RouteWanted, *, declared: bool) -> None:
    """Make a route, or take over the one of its shape, whosever it is, in the caller's transaction."""
    cursor.execute(_PUT, (script_id, *_key(wanted), wanted.path, declared))
    announce(cursor, Changed.ROUTES)


def _script_id(cursor: Cursor, name: str) -> int:
    cursor.execute(_LOCK_SCRIPT, (name,))
    return int(found(cursor.fetchone(), f"there is no script '{name}'")[0])


def _insert(
    cursor: Cursor, script_id: int, wanted: RouteWanted, only: Collection[str] | None, *, declared: bool
) -> int:
    if only is not None:
        _require_own_ground(cursor, wanted, only)
    key = _key(wanted)
    host, method, shape = key
    cursor.execute(_ADD, (script_id, method, host, wanted.path, shape, declared))
    row = cursor.fetchone()
    if row is None:
        cursor.execute(_CLASHING, key)
        raise Conflict(_clash(wanted, cursor.fetchone()))
    return int(row[0])


def _require_own_ground(cursor: Cursor, wanted: RouteWanted, only: Collection[str]) -> None:
    """Forbidden for what a token that is limited to scripts could take from others: paths and hosts are everybody's."""
    if not wanted.is_modest:
        raise Forbidden(
            f"'{wanted}': a token that is limited to scripts adds routes below a first word of their own only"
        )
    cursor.execute(f"{_ROUTE} WHERE NOT s.name = ANY(%s)", (list(only),))
    if any(wanted.meets(RouteWanted(method, host, path)) for _, method, host, path, _ in cursor.fetchall()):
        raise Forbidden(f"'{wanted}' meets a route of a script that this token is not good for")


def _clash(wanted: RouteWanted, row: Any) -> str:
    if row is None:  # it was deleted in this moment
        return f"'{wanted}' clashed with a route that is gone now: try again"
    _, method, host, path, script = row
    return f"'{wanted}' clashes with '{RouteWanted(method, host, path)}' of script '{script}'"


def _by_key(wanted: Sequence[RouteWanted]) -> dict[Key, RouteWanted]:
    found: dict[Key, RouteWanted] = {}
    for route in wanted:
        other = found.setdefault(_key(route), route)
        if other is not route:
            raise Conflict(f"'{route}' clashes with '{other}', which is declared as well")
    return found


def _key(wanted: RouteWanted) -> Key:
    return wanted.host or "", wanted.method, wanted.shape


def _list(only: Collection[str] | None) -> list[str] | None:
    return None if only is None else list(only)
