"""Tokens: what a new one must be, and whose secret it is that a request carries.

Owns: the rules of tokens and the workers' memory of them. Knows nothing of HTTP or of PostgreSQL.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from picloud.auth import Credential, Principal, Scope, Token, digest, is_secret, new_secret
from picloud.cache import Cache, Generation
from picloud.errors import InvalidRequest
from picloud.model import is_script_name

NAME_CHARACTERS_MAX = 100
_KNOWN_MAX = 4096

Wrong = tuple[str, str]  # field, what is wrong with it


class TokenRepository(Protocol):
    """Where tokens are kept."""

    def add(
        self,
        name: str,
        secret: str,
        scopes: Iterable[Scope],
        scripts: Iterable[str] | None,
        expires_at: datetime | None,
    ) -> Token:
        """Store one; Conflict if the name is taken."""

    def page(self, limit: int, after: int) -> list[Token]:
        """Oldest first, those with a number above `after`."""

    def get(self, identifier: int) -> Token:
        """One; NotFound."""

    def revoke(self, identifier: int) -> None:
        """NotFound; Conflict if nobody could administer any more."""


class TokenSource(Protocol):
    """Where whose secret it is is looked up."""

    def find(self, secret: str) -> Principal | None:
        """Whose it is, expired or not; DatabaseUnavailable."""

    def credential(self, identifier: int) -> Credential | None:
        """A token's, expired or not; DatabaseUnavailable."""


class Tokens:
    """The tokens of this platform. `announce` tells the node's processes that one was revoked."""

    def __init__(self, repository: TokenRepository, announce: Callable[[], None]) -> None:
        self._repository = repository
        self._announce = announce

    def create(
        self,
        name: str,
        scopes: Collection[Scope],
        scripts: Collection[str] | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[Token, str]:
        """Make a token → it and its secret, which nobody can show again. InvalidRequest, Conflict."""
        wrong = [*_wrong_name(name), *_wrong_scripts(scripts, scopes), *_wrong_scopes(scopes), *_wrong_end(expires_at)]
        if wrong:
            raise InvalidRequest.of_all(wrong)
        secret = new_secret()
        limited = None if scripts is None else sorted(set(scripts))
        ordered = [scope for scope in Scope if scope in scopes]
        return self._repository.add(name, secret, ordered, limited, expires_at), secret

    def page(self, limit: int, after: int) -> list[Token]:
        """Tokens, oldest first, those with a number above `after`."""
        return self._repository.page(limit, after)

    def get(self, identifier: int) -> Token:
        """One token; NotFound."""
        return self._repository.get(identifier)

    def revoke(self, identifier: int) -> None:
        """Delete a token: it opens nothing any more, on any node. NotFound, Conflict."""
        self._repository.revoke(identifier)
        self._announce()


class KnownTokens:
    """Whose secret it is: a cached look-up by digest, with no SQL on a hit, nor for what cannot be a secret.

    `used` is told of each use: it must not wait. While the database is away, tokens that are known go on working.
    """

    def __init__(self, source: TokenSource, generation: Generation, used: Callable[[int], None]) -> None:
        self._source = source
        self._used = used
        self.principals: Cache[bytes, Principal] = Cache(generation, _KNOWN_MAX)

    def find(self, secret: str) -> Principal | None:
        """Whose it is; None if it is nobody's, or its time is over; DatabaseUnavailable."""
        if not is_secret(secret):
            return None
        return self._usable(self.principals.get(digest(secret), lambda: self._source.find(secret)))

    def credential(self, identifier: int) -> Credential | None:
        """What a token's sessions are checked with: read anew each time; None if it is revoked or its time is over."""
        found = self._source.credential(identifier)
        return found if found and self._usable(found.principal) else None

    def _usable(self, principal: Principal | None) -> Principal | None:
        if principal is None or principal.expired():
            return None
        self._used(principal.id)
        return principal


def _wrong_name(name: str) -> Sequence[Wrong]:
    if 1 <= len(name) <= NAME_CHARACTERS_MAX and name.isprintable() and name.strip():
        return ()
    return (("name", f"must be 1 to {NAME_CHARACTERS_MAX} printable characters"),)


def _wrong_scopes(scopes: Collection[Scope]) -> Sequence[Wrong]:
    return () if scopes else (("scopes", f"must name one of {', '.join(Scope)} at least"),)


def _wrong_scripts(scripts: Collection[str] | None, scopes: Collection[Scope]) -> Sequence[Wrong]:
    if scripts is None:
        return ()
    if not scripts:
        return (("scripts", "must name one script at least; leave it out for all"),)
    if Scope.ADMIN in scopes:
        return (("scripts", "a token with the scope 'admin' is good for every script"),)
    return [
        (f"scripts[{at}]", f"{name!r} cannot be a script's name")
        for at, name in enumerate(scripts)
        if not is_script_name(name)
    ]


def _wrong_end(expires_at: datetime | None) -> Sequence[Wrong]:
    if expires_at is None or expires_at > datetime.now(UTC):
        return ()
    return (("expires_at", "must be in the future"),)
