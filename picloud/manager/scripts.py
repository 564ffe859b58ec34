"""Scripts: what an upload must be before it is stored, and which version is active.

Owns: the rules of names and sources. Knows nothing of HTTP, of PostgreSQL, or of how a source is checked.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from picloud.errors import BodyTooLarge, InvalidRequest, InvalidSource, NotFound
from picloud.model import ANYWAY, SCRIPT_NAME, Condition, Script, SyntaxProblem, Version, is_script_name

SOURCE_BYTES_MAX = 1024 * 1024
ENTRY = "main.lua"


class ScriptRepository(Protocol):
    """Where scripts are kept."""

    def put(
        self, name: str, files: Mapping[str, bytes], sha256: str, created_by: str, condition: Condition
    ) -> tuple[int, bool]:
        """Store a new active version → (its number, True); (the active one, False) if it has this sha256.

        PreconditionFailed.
        """

    def get(self, name: str) -> Script:
        """One script; NotFound."""

    def page(self, limit: int, after: str, only: Collection[str] | None) -> list[Script]:
        """Scripts by name, those behind `after`; of these alone, if any are given."""

    def delete(self, name: str) -> None:
        """Drop a script; NotFound."""

    def activate(self, name: str, version: int) -> None:
        """Make a version the active one; NotFound."""


class VersionRepository(Protocol):
    """Where versions are read."""

    def versions(self, name: str, limit: int, before: int) -> list[Version]:
        """Newest first, those below `before`; NotFound."""

    def version(self, name: str, version: int) -> Version:
        """One version; NotFound."""

    def files(self, name: str, version: int) -> dict[str, bytes]:
        """Path → text; empty if there is no such version."""


class SourceChecker(Protocol):
    """What compiles a source without running it."""

    def check(self, files: Mapping[str, bytes]) -> SyntaxProblem | None:
        """The first file that does not compile; Overloaded, ExecutorLost."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of an upload."""

    version: int
    created: bool  # False: the active version has the same source


class Scripts:
    """The control plane of scripts. `announce` tells this node's processes that something changed."""

    def __init__(self, repository: ScriptRepository, checker: SourceChecker, announce: Callable[[], None]) -> None:
        self._repository = repository
        self._checker = checker
        self._announce = announce

    def upload(self, name: str, source: bytes, created_by: str, condition: Condition = ANYWAY) -> Uploaded:
        """Check and store a source as the new active version.

        InvalidRequest, InvalidSource, BodyTooLarge, PreconditionFailed: nothing was stored.
        """
        check_name(name)
        files = {ENTRY: source}
        self._check_source(files)
        digest = hashlib.sha256(source).hexdigest()
        version, created = self._repository.put(name, files, digest, created_by, condition)
        if created:
            self._announce()
        return Uploaded(version, created)

    def get(self, name: str) -> Script:
        """One script; NotFound."""
        return self._repository.get(name)

    def page(self, limit: int, after: str, only: Collection[str] | None = None) -> list[Script]:
        """Scripts by name, those behind `after`; of these alone, if any are given."""
        return self._repository.page(limit, after, only)

    def activate(self, name: str, version: int) -> Script:
        """Make a version the active one; NotFound."""
        self._repository.activate(name, version)
        self._announce()
        return self._repository.get(name)

    def delete(self, name: str) -> None:
        """Drop a script and its versions; NotFound. Its invocations stay."""
        self._repository.delete(name)
        self._announce()

    def _check_source(self, files: Mapping[str, bytes]) -> None:
        size = sum(map(len, files.values()))
        if size > SOURCE_BYTES_MAX:
            raise BodyTooLarge(f"the source has {size} bytes, at most {SOURCE_BYTES_MAX} are taken")
        problem = self._checker.check(files)
        if problem:
            raise InvalidSource(problem.file, problem.line, problem.message)


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

    def source(self, name: str, version: int) -> bytes:
        """The text of a version's entry file; NotFound."""
        files = self._repository.files(name, version)
        if ENTRY not in files:
            raise NotFound(f"script '{name}' has no version {version}")
        return files[ENTRY]


def check_name(name: str) -> None:
    """InvalidRequest unless a script may have this name."""
    if not is_script_name(name):
        raise InvalidRequest(
            f"{name!r} cannot be a script's name: lower-case letters, digits and '-', at most 63, no '-' first",
            [{"field": "name", "message": f"must match {SCRIPT_NAME.pattern}"}],
        )
