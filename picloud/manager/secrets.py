"""Secrets: what one may be called, how its value gets to where it is kept, and how the key behind all is replaced.

Owns: these rules. A value comes in, is sealed, and never comes out here: `orchestrator.secrets` alone opens it, for a
script. Knows nothing of HTTP, of PostgreSQL or of how it is sealed.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from picloud.errors import InvalidRequest, NotFound
from picloud.model import Secret, is_variable_name

NAME_RULE = "letters, digits and '_', at most 64, no digit first"


class SecretRepository(Protocol):
    """Where sealed values are kept."""

    def put(self, name: str, seal: Callable[[], str]) -> bool:
        """Store what `seal` gives, while nobody reseals → whether the name is new."""

    def page(self, limit: int, after: str) -> list[Secret]:
        """Secrets by name, those behind `after`."""

    def get(self, name: str) -> Secret:
        """One; NotFound."""

    def delete(self, name: str) -> None:
        """NotFound."""


class Sealer(Protocol):
    """What has the keys."""

    def seal(self, name: str, value: str) -> str:
        """Seal a value; ConfigurationError."""


class Resealable(Protocol):
    """Sealed values, all at once."""

    def reseal(self, seal: Callable[[str, str], str]) -> int:
        """Replace each by what ``seal(name, sealed)`` makes of it, all or none → how many there are."""


class Keys(Protocol):
    """The key file, as far as it is changed."""

    def locked(self) -> AbstractContextManager[None]:
        """Nobody else changes it in the block."""

    def add(self) -> Sequence[bytes]:
        """Put a new key before the old ones → those."""

    def reseal(self, name: str, sealed: str) -> str:
        """The same value under the first key; CannotOpen."""

    def drop(self, old: Sequence[bytes]) -> None:
        """Take keys out."""


class Secrets:
    """The secrets of this platform. `announce` tells this node's processes that one changed."""

    def __init__(self, repository: SecretRepository, sealer: Sealer, announce: Callable[[], None]) -> None:
        self._repository = repository
        self._sealer = sealer
        self._announce = announce

    def page(self, limit: int, after: str) -> list[Secret]:
        """Secrets by name, those behind `after`."""
        return self._repository.page(limit, after)

    def get(self, name: str) -> Secret:
        """One secret, without its value; NotFound."""
        return self._repository.get(_possible(name))

    def put(self, name: str, value: str) -> tuple[Secret, bool]:
        """Set a value → the secret, and whether it is new; InvalidRequest."""
        if not is_variable_name(name):
            raise InvalidRequest.of("name", f"cannot be a secret's name: {NAME_RULE}")
        is_new = self._repository.put(name, lambda: self._sealer.seal(name, value))
        self._announce()
        return self._repository.get(name), is_new

    def delete(self, name: str) -> None:
        """Forget a secret: scripts get nil for it from now on. NotFound."""
        self._repository.delete(_possible(name))
        self._announce()


def rotate(keys: Keys, sealed: Resealable) -> int:
    """Replace the key that everything is sealed with → how many values there are.

    A crash at any point loses nothing: until all values are known to be sealed with the new key, the file has both;
    what is set meanwhile is sealed with the new one, or waited for. Whatever went wrong, the next call puts it right.
    """
    with keys.locked():
        old = keys.add()
        count = sealed.reseal(keys.reseal)
        keys.drop(old)
    return count


def _possible(name: str) -> str:
    """What cannot be a secret's name is none: no SQL for it."""
    if not is_variable_name(name):
        raise NotFound("there is no secret of this name, and there cannot be one")
    return name
