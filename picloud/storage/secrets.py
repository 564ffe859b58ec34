"""Secrets in PostgreSQL: sealed values, which nobody can open who has nothing but the database.

No statement here carries a value: neither the server's log nor its statistics can show one.
"""

from collections.abc import Callable
from typing import Any

from picloud.model import Secret
from picloud.storage.changes import Changed, announce
from picloud.storage.pool import Pool
from picloud.storage.rows import found

_LISTED = """SELECT it.name, it.created_at, it.updated_at,
    ARRAY(SELECT s.name FROM scripts s
      WHERE s.settings -> 'secrets' ? it.name OR s.settings -> 'webhook' ->> 'secret' = it.name ORDER BY s.name)
  FROM secrets it"""

_PUT = """INSERT INTO secrets (name, sealed) VALUES (%s, %s)
  ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, updated_at = now()
  RETURNING xmax = 0"""


class SecretTable:
    """The secrets of this platform; every method is one transaction, and DatabaseUnavailable if there is none."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def put(self, name: str, seal: Callable[[], str]) -> bool:
        """Store what `seal` gives → whether the name is new.

        It is called while `reseal` waits for this transaction, or after it: with keys that will be good.
        """
        with self._pool.transaction() as cursor:
            cursor.execute("LOCK TABLE secrets IN ROW EXCLUSIVE MODE")
            cursor.execute(_PUT, (name, seal()))
            (is_new,) = cursor.fetchall()[0]
            announce(cursor, Changed.SECRETS, name)
            return bool(is_new)

    def sealed(self, name: str) -> str | None:
        """What is stored of a value; None if there is no such secret."""
        with self._pool.transaction() as cursor:
            cursor.execute("SELECT sealed FROM secrets WHERE name = %s", (name,))
            row = cursor.fetchone()
            return str(row[0]) if row else None

    def any(self) -> bool:
        """Whether there is one at all."""
        with self._pool.transaction() as cursor:
            cursor.execute("SELECT 1 FROM secrets LIMIT 1")
            return cursor.fetchone() is not None

    def page(self, limit: int, after: str) -> list[Secret]:
        """At most limit secrets by name, those behind the name `after`."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"{_LISTED} WHERE it.name > %s ORDER BY it.name LIMIT %s", (after, limit))
            return [_secret(row) for row in cursor.fetchall()]

    def get(self, name: str) -> Secret:
        """One secret; NotFound."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"{_LISTED} WHERE it.name = %s", (name,))
            return _secret(found(cursor.fetchone(), f"there is no secret '{name}'"))

    def delete(self, name: str) -> None:
        """Forget one; NotFound."""
        with self._pool.transaction() as cursor:
            cursor.execute("DELETE FROM secrets WHERE name = %s RETURNING 1", (name,))
            found(cursor.fetchone(), f"there is no secret '{name}'")
            announce(cursor, Changed.SECRETS, name)

    def reseal(self, seal: Callable[[str, str], str]) -> int:
        """Replace what is stored of each value by what ``seal(name, sealed)`` makes of it → how many there are.

        All or none; what is being stored by others waits, or is waited for.
        """
        with self._pool.transaction() as cursor:
            cursor.execute("LOCK TABLE secrets IN SHARE ROW EXCLUSIVE MODE")
            cursor.execute("SELECT name, sealed FROM secrets ORDER BY name")
            rows = cursor.fetchall()
            for name, sealed in rows:
                cursor.execute("UPDATE secrets SET sealed = %s WHERE name = %s", (seal(name, sealed), name))
            announce(cursor, Changed.SECRETS)
            return len(rows)


def _secret(row: tuple[Any, ...]) -> Secret:
    name, created_at, updated_at, scripts = row
    return Secret(name, created_at, updated_at, tuple(scripts))
