"""Tokens in PostgreSQL: a hash and what it allows, never a secret."""

from collections.abc import Iterable

from picloud.auth import Principal, Scope, digest
from picloud.storage.pool import Pool

_PUT = """INSERT INTO tokens (name, secret_hash, scopes) VALUES (%s, %s, %s)
    ON CONFLICT (name) DO UPDATE SET secret_hash = excluded.secret_hash, scopes = excluded.scopes"""


class TokenTable:
    """Who may use the API."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def find(self, secret: str) -> Principal | None:
        """Whose secret this is, if anyone's."""
        with self._pool.transaction() as cursor:
            cursor.execute("SELECT name, scopes FROM tokens WHERE secret_hash = %s", (digest(secret),))
            row = cursor.fetchone()
        return Principal(row[0], frozenset(map(Scope, row[1]))) if row else None

    def put(self, name: str, secret: str, scopes: Iterable[Scope]) -> None:
        """Store a token under its name, in the place of an older one of that name."""
        with self._pool.transaction() as cursor:
            cursor.execute(_PUT, (name, digest(secret), [str(scope) for scope in scopes]))
