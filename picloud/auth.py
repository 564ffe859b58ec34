"""Tokens and scopes: what a secret looks like, how it is kept, what it allows.

Owns: making, hashing and reading tokens. Knows nothing of HTTP or tables.
"""

import enum
import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from picloud.errors import Forbidden, Unauthorized

PREFIX = "pc_"
SESSION_COOKIE = "picloud_session"  # of the page at `/`; ingress keeps it from scripts
_SECRET_BYTES = 32
_SECRET = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")  # 32 bytes in base64url


class Scope(enum.StrEnum):
    """What a token may do; `admin` holds all others."""

    ADMIN = "admin"
    DEPLOY = "deploy"
    INVOKE = "invoke"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking."""

    id: int  # the token's
    name: str
    scopes: frozenset[Scope]
    scripts: frozenset[str] | None = None  # those that the token is good for; None: all
    expires_at: datetime | None = None  # UTC

    def may(self, scope: Scope) -> bool:
        """Whether the token holds the scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def require(self, scope: Scope, script: str | None = None) -> None:
        """Forbidden unless the token holds the scope, for the script if one is named."""
        if not self.may(scope):
            raise Forbidden(f"this needs a token with the scope '{scope}'")
        if script is not None and self.scripts is not None and script not in self.scripts:
            raise Forbidden("this token is not good for this script")

    def expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is listed: what it allows, never its secret."""

    id: int
    name: str
    scopes: tuple[Scope, ...]
    scripts: tuple[str, ...] | None  # those that it is good for; None: all
    created_at: datetime  # UTC, as all that follow
    expires_at: datetime | None  # None: never
    last_used_at: datetime | None  # a use in the minute after it is not noted; None: never used


@dataclass(frozen=True, slots=True)
class Credential:
    """What proves who is asking, beside the secret itself: a session's key is made of it."""

    principal: Principal
    secret_hash: bytes  # see `digest`


class TokenFinder(Protocol):
    """What knows tokens."""

    def find(self, secret: str) -> Principal | None:
        """Whose secret this is; None if it is nobody's, or its time is over; DatabaseUnavailable."""


def new_secret() -> str:
    """A fresh token: a recognisable prefix, then 256 random bits."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def is_secret(text: str) -> bool:
    """Whether this could be a token of ours: what cannot is refused without a look-up."""
    return _SECRET.fullmatch(text) is not None


def carries_secret(text: str) -> bool:
    """Whether a token of ours stands somewhere in a text."""
    return _SECRET.search(text) is not None


def digest(secret: str) -> bytes:
    """What is stored of a token. It holds 256 random bits, so one plain SHA-256 cannot be searched through.

    The look-up compares digests, not secrets: its timing tells nothing of a secret.
    """
    return hashlib.sha256(secret.encode()).digest()


def bearer(header: str | None) -> str:
    """The secret in an Authorization header; Unauthorized if there is none."""
    scheme, _, secret = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthorized()
    return secret.strip()


def authenticate(header: str | None, find: Callable[[str], Principal | None]) -> Principal:
    """Who sent an Authorization header; Unauthorized unless its token is known and its time is not over."""
    principal = find(bearer(header))
    if principal is None or principal.expired():
        raise Unauthorized("the token is not known here: it was mistyped, replaced or revoked, or has expired")
    return principal
