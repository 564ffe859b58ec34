"""Tokens in PostgreSQL: a hash and what it allows, never a secret."""

import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from picloud.auth import Credential, Principal, Scope, Token, digest
from picloud.errors import Conflict
from picloud.storage.changes import Changed, announce
from picloud.storage.pool import Pool
from picloud.storage.rows import found

_TOKEN = "id, name, scopes, scripts, created_at, expires_at, last_used_at"  # noqa: S105 - columns

_PUT = """INSERT INTO tokens (name, secret_hash, scopes) VALUES (%s, %s, %s)
    ON CONFLICT (name) DO UPDATE SET secret_hash = excluded.secret_hash, scopes = excluded.scopes,
      scripts = NULL, created_at = now(), expires_at = NULL, last_used_at = NULL"""

_ADD = f"""INSERT INTO tokens (name, secret_hash, scopes, scripts, expires_at) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (name) DO NOTHING RETURNING {_TOKEN}"""

_CREDENTIAL = "SELECT secret_hash, id, name, scopes, scripts, expires_at FROM tokens"

_REVOKE = "DELETE FROM tokens WHERE id = %s RETURNING 'admin' = ANY(scopes) AND expires_at IS NULL"

_LASTING_ADMIN = "SELECT 1 FROM tokens WHERE 'admin' = ANY(scopes) AND expires_at IS NULL LIMIT 1"

_TOUCH = """UPDATE tokens SET last_used_at = used.at
  FROM unnest(%s::bigint[], %s::timestamptz[]) AS used (id, at)
 WHERE tokens.id = used.id AND (last_used_at IS NULL OR last_used_at < used.at)"""


class TokenTable:
    """Who may use the API; every method is one transaction, and DatabaseUnavailable if there is none."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def find(self, secret: str) -> Principal | None:
        """Whose secret this is, if anyone's; it may have expired."""
        sought = digest(secret)
        found = self._credential("secret_hash", sought)
        return found.principal if found and hmac.compare_digest(found.secret_hash, sought) else None

    def credential(self, identifier: int) -> Credential | None:
        """What a token's sessions are checked with; it may have expired."""
        return self._credential("id", identifier)

    def put(self, name: str, secret: str, scopes: Iterable[Scope]) -> None:
        """Store a token under its name, in the place of an older one of that name."""
        with self._pool.transaction() as cursor:
            cursor.execute(_PUT, (name, digest(secret), _texts(scopes)))
            announce(cursor, Changed.TOKENS)

    def add(
        self,
        name: str,
        secret: str,
        scopes: Iterable[Scope],
        scripts: Iterable[str] | None = None,
        expires_at: datetime | None = None,
    ) -> Token:
        """Store a token under a new name; Conflict. No cache has what is not there yet, so nothing is announced."""
        limited = None if scripts is None else list(scripts)
        with self._pool.transaction() as cursor:
            cursor.execute(_ADD, (name, digest(secret), _texts(scopes), limited, expires_at))
            row = cursor.fetchone()
        if row is None:
            raise Conflict(f"there is a token named {name!r} already: choose another name, or delete that one first")
        return _token(row)

    def page(self, limit: int, after: int) -> list[Token]:
        """At most limit tokens, oldest first, those with a number above `after`."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"SELECT {_TOKEN} FROM tokens WHERE id > %s ORDER BY id LIMIT %s", (after, limit))
            return [_token(row) for row in cursor.fetchall()]

    def get(self, identifier: int) -> Token:
        """One token; NotFound."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"SELECT {_TOKEN} FROM tokens WHERE id = %s", (identifier,))
            return _token(found(cursor.fetchone(), f"there is no token {identifier}"))

    def any_lasting_admin(self) -> bool:
        """Whether there is a token that may administer for ever."""
        with self._pool.transaction() as cursor:
            cursor.execute(_LASTING_ADMIN)
            return cursor.fetchone() is not None

    def revoke(self, identifier: int) -> None:
        """Delete a token; NotFound; Conflict if no admin token without an expiry would be left."""
        with self._pool.transaction() as cursor:
            cursor.execute("LOCK TABLE tokens IN SHARE ROW EXCLUSIVE MODE")  # two at once could each leave the other's
            cursor.execute(_REVOKE, (identifier,))
            (was_lasting_admin,) = found(cursor.fetchone(), f"there is no token {identifier}")
            if was_lasting_admin:
                cursor.execute(_LASTING_ADMIN)
                if cursor.fetchone() is None:
                    raise Conflict(
                        "this is the last token with the scope 'admin' that does not expire, and without one you would"
                        " be locked out: make another first"
                    )
            announce(cursor, Changed.TOKENS)

    def touch(self, used: Mapping[int, datetime]) -> None:
        """Note when tokens were used: id → moment; never back."""
        with self._pool.transaction() as cursor:
            cursor.execute(_TOUCH, (list(used), list(used.values())))

    def _credential(self, column: str, value: object) -> Credential | None:
        with self._pool.transaction() as cursor:
            cursor.execute(f"{_CREDENTIAL} WHERE {column} = %s", (value,))
            row = cursor.fetchone()
        if row is None:
            return None
        secret_hash, identifier, name, scopes, scripts, expires_at = row
        limited = None if scripts is None else frozenset(scripts)
        return Credential(
            Principal(identifier, name, frozenset(map(Scope, scopes)), limited, expires_at), bytes(secret_hash)
        )


def _texts(scopes: Iterable[Scope]) -> list[str]:
    return [str(scope) for scope in scopes]


def _token(row: Any) -> Token:
    identifier, name, scopes, scripts, created_at, expires_at, last_used_at = row
    limited = None if scripts is None else tuple(scripts)
    return Token(identifier, name, tuple(map(Scope, scopes)), limited, created_at, expires_at, last_used_at)
