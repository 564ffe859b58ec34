"""Scripts and their versions: what there is, and which version is active.

Owns: the rules of names. How a version comes to be is `uploads`, what it may hold `files`.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from picloud.declared import Declared
from picloud.errors import InvalidRequest, NotFound
from picloud.manager import manifest
from picloud.manager.settings import SettingsRules
from picloud.messages.wrong import SCRIPT_NAME_RULE
from picloud.model import ANYWAY, Condition, Script, Version, is_script_name


class ScriptRepository(Protocol):
    """Where scripts are kept."""

    def get(self, name: str) -> Script:
        """One script; NotFound."""

    def page(self, limit: int, after: str, only: Collection[str] | None) -> list[Script]:
        """Scripts by name, those behind `after`; of these alone, if any are given."""

    def delete(self, name: str, condition: Condition) -> None:
        """Drop a script; NotFound, PreconditionFailed."""

    def unapplied(self, name: str, version: int) -> dict[str, bytes]:
        """The files of a version that never was active: path → content; empty for any other."""

    def activate(
        self,
        name: str,
        version: int,
        condition: Condition,
        declared: Declared,
        only: Collection[str] | None,
    ) -> None:
        """Make a version the active one; and, if it never was, apply what it declares.

        All or nothing: NotFound, PreconditionFailed, InvalidRequest; Conflict, which names no script but ``only``,
        if given.
        """


class VersionRepository(Protocol):
    """Where versions are read."""

    def versions(self, name: str, limit: int, before: int) -> list[Version]:
        """Newest first, those below `before`; NotFound."""

    def version(self, name: str, version: int) -> Version:
        """One version; NotFound."""

    def files(self, name: str, version: int) -> dict[str, bytes]:
        """Path → text; empty if there is no such version."""


class Scripts:
    """The control plane of scripts.

    `announce` tells this node's processes that something changed, and the dispatchers that there may be jobs.
    """

    def __init__(
        self,
        repository: ScriptRepository,
        rules: SettingsRules,
        announce: Callable[[], None],
    ) -> None:
        self._repository = repository
        self._rules = rules
        self._announce = announce

    def get(self, name: str) -> Script:
        """One script; NotFound."""
        return self._repository.get(name)

    def page(self, limit: int, after: str, only: Collection[str] | None = None) -> list[Script]:
        """Scripts by name, those behind `after`; of these alone, if any are given."""
        return self._repository.page(limit, after, only)

    def activate(
        self, name: str, version: int, condition: Condition = ANYWAY, only: Collection[str] | None = None
    ) -> Script:
        """Make a version the active one; the first time, with what its picloud.toml declares.

        NotFound, PreconditionFailed. InvalidRequest, Conflict: that cannot be applied any more, and nothing was
        changed. ``only``: the scripts that the caller's token is limited to, or None; a conflict names no other.
        """
        files = self._repository.unapplied(name, version)
        declared = manifest.read(files, self._rules, script=name, limited=only is not None)
        self._repository.activate(name, version, condition, declared, only)
        self._announce()
        return self._repository.get(name)

    def delete(self, name: str, condition: Condition = ANYWAY) -> None:
        """Drop a script and its versions; NotFound, PreconditionFailed. Its invocations stay."""
        self._repository.delete(name, condition)
        self._announce()


class Versions:
    """The uploads of a script."""

    def __init__(self, repository: VersionRepository) -> None:
        self._repository = repository

    def page(self, name: str, limit: int, before: int) -> list[Version]:
        """Versions, newest first, below the number `before`; NotFound."""
        return self._repository.versions(name, limit, before)

    def get(self, name: str, version: int) -> Version:
        """One version; NotFound."""
        return self._repository.version(name, version)

    def files(self, name: str, version: int) -> dict[str, bytes]:
        """What a version holds: path → content; NotFound."""
        files = self._repository.files(name, version)
        if not files:
            raise NotFound(f"script '{name}' has no version {version}")
        return files


def check_name(name: str) -> None:
    """InvalidRequest unless a script may have this name."""
    if not is_script_name(name):
        raise InvalidRequest.of("name", f"{name!r} cannot be a script's name: {SCRIPT_NAME_RULE}")
