"""Tokens and scopes: what a secret looks like, how it is kept, what it allows.

Owns: making, hashing and reading tokens. Knows nothing of HTTP or tables.
"""

import enum
import hashlib
import secrets
from dataclasses import dataclass

from picloud.errors import Forbidden, Unauthorized

PREFIX = "pc_"
_SECRET_BYTES = 32


class Scope(enum.StrEnum):
    """What a token may do; `admin` holds all others."""

    ADMIN = "admin"
    DEPLOY = "deploy"
    INVOKE = "invoke"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking."""

    name: str
    scopes: frozenset[Scope]

    def require(self, scope: Scope) -> None:
        """Forbidden unless the token holds the scope."""
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            raise Forbidden(f"this needs a token with the scope '{scope}'")


def new_secret() -> str:
    """A fresh token: a recognisable prefix, then 256 random bits."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


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
