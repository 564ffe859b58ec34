"""Tokens in PostgreSQL: a hash and what it allows, never a secret."""

import hmac
from collections.abc import Iterable

from picloud.auth import Principal, Scope, digest
from picloud.storage.changes import Changed, announce
from picloud.storage.pool import Pool

_PUT = """INSERT INTO tokens (name, secret_hash, scopes) VALUES (%s, %s, %s)
    ON CONFLICT (name) DO UPDATE SET secret_hash = excluded.secret_hash, scopes = excluded.scopes"""

_FIND = "SELECT secret_hash, id, name, scopes, scripts, expires_at FROM tokens WHERE secret_hash = %s"


class TokenTable:
    """Who may use the API."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def find(self, secret: str) -> Principal | None:
        """Whose secret this is, if anyone's; it may have expired."""
        sought = digest(secret)
        with self._pool.transaction() as cursor:
            cursor.execute(_FIND, (sought,))
            row = cursor.fetchone()
        if row is None or not hmac.compare_digest(bytes(row[0]), sought):
            return None
        _, identifier, name, scopes, scripts, expires_at = row
        limited = None if scripts is None else frozenset(scripts)
        return Principal(identifier, name, frozenset(map(Scope, scopes)), limited, expires_at)

    def put(self, name: str, secret: str, scopes: Iterable[Scope]) -> None:
        """Store a token under its name, in the place of an older one of that name."""
        with self._pool.transaction() as cursor:
            cursor.execute(_PUT, (name, digest(secret), [str(scope) for scope in scopes]))
            announce(cursor, Changed.TOKENS)
