"""The values of secrets, for scripts: sealed until the moment that one is asked for.

Owns: what is cached of them, which is never a value that can be read. `picloud.cache` has the rules of when an entry
is wrong; a look-up is one short transaction on the API's connections, and none of the invocation's own.
"""

from typing import Protocol

from picloud.cache import Cache, Generation
from picloud.sealing import CannotOpen

_SECRETS_MAX = 1024


class SecretSource(Protocol):
    """Where sealed values are kept."""

    def sealed(self, name: str) -> str | None:
        """What is stored of a value; None if there is no such secret; DatabaseUnavailable."""


class Opener(Protocol):
    """What has the keys."""

    def open(self, name: str, sealed: str) -> str:
        """CannotOpen; ConfigurationError: it has none."""


class SecretValues:
    """Values by name. Safe for threads."""

    def __init__(self, source: SecretSource, opener: Opener, generation: Generation) -> None:
        self._source = source
        self._opener = opener
        self.sealed: Cache[str, str] = Cache(generation, _SECRETS_MAX)

    def get(self, name: str) -> str | None:
        """The value; None if there is no such secret. DatabaseUnavailable, CannotOpen, ConfigurationError."""
        try:
            return self._open(name)
        except CannotOpen:  # the keys may have changed, and with them what is stored
            self.sealed.forget(name)
            return self._open(name)

    def _open(self, name: str) -> str | None:
        sealed = self.sealed.get(name, lambda: self._source.sealed(name))
        return None if sealed is None else self._opener.open(name, sealed)
