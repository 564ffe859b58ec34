"""All that is configured of scripts, as one: shown whole, and changed whole or not at all.

Owns: the order of the checks, and what is decided by whom. `config_document` has the form, `config_plan` what is
different. Knows nothing of HTTP, of PostgreSQL, or of folders: those are the command line's.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from picloud.configuration import Plan, Snapshot
from picloud.errors import InvalidSource, PreconditionFailed, TransactionConflict
from picloud.manager import webhooks
from picloud.manager.config_document import ConfigDocument, Wanted, document_of, wanted_of
from picloud.manager.config_plan import ConfigChange, decided
from picloud.manager.settings import SettingsRules
from picloud.manager.uploads import SourceChecker

_TRIES = 3


class ConfigurationRepository(Protocol):
    """Where it is kept."""

    def read(self, names: Collection[str] | None) -> Snapshot:
        """What stands now, with the files of these scripts; None: of all. Conflict: too large."""

    def apply(self, plan: Plan, tag: str, *, keep: bool) -> None:
        """Change all of it or nothing; unless it is to be kept, only try. TransactionConflict: it is another's turn."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a configuration that was applied."""

    changes: tuple[ConfigChange, ...]
    missing_secrets: tuple[
        str, ...
    ]  # that its scripts are granted, or webhooks are signed with, and that have no value
    tag: str  # of what stands now


class Configuration:
    """What is configured. `announce` tells this node's processes and the dispatchers, after the commit."""

    def __init__(
        self,
        repository: ConfigurationRepository,
        checker: SourceChecker,
        rules: SettingsRules,
        announce: Callable[[], None],
    ) -> None:
        self._repository = repository
        self._checker = checker
        self._rules = rules
        self._announce = announce

    def export(self) -> tuple[ConfigDocument, str]:
        """All of it, and its tag; Conflict: it is too large for one document."""
        snapshot = self._repository.read(None)
        return document_of(snapshot, self._rules), snapshot.tag

    def apply(
        self,
        document: ConfigDocument,
        created_by: str,
        *,
        only_if: Collection[str] | None = None,
        prune: bool = False,
        dry_run: bool = False,
    ) -> Applied:
        """Make the scripts of a document what it says; with ``prune``, remove what it has not.

        InvalidRequest, InvalidSource, Conflict, PreconditionFailed (the tag of what stands is none of ``only_if``):
        nothing was changed. What does not compile is found before anything is stored.
        """
        compiled: set[str] = set()
        for _ in range(_TRIES):
            now = self._repository.read(document.scripts)
            if only_if is not None and now.tag not in only_if:
                raise PreconditionFailed(f'the configuration\'s ETag is "{now.tag}": it was changed meanwhile')
            wanted = wanted_of(document, now, self._rules)
            plan, changes = decided(now, wanted, created_by, prune=prune)
            self._compile(plan, compiled)
            if not changes:
                return Applied((), _missing(wanted, now), now.tag)
            try:
                self._repository.apply(plan, now.tag, keep=not dry_run)
            except TransactionConflict:
                continue
            if not dry_run:
                self._announce()
            return Applied(changes, _missing(wanted, now), now.tag if dry_run else self._repository.read(()).tag)
        raise TransactionConflict

    def _compile(self, plan: Plan, compiled: set[str]) -> None:
        """InvalidSource names the script's folder, too; what was compiled is not compiled again."""
        for name, upload in plan.uploads:
            if upload.sha256 in compiled:
                continue
            if problem := self._checker.check(upload.files):
                raise InvalidSource(f"scripts/{name}/{problem.file}", problem.line, problem.message)
            compiled.add(upload.sha256)


def _missing(wanted: Collection[Wanted], now: Snapshot) -> tuple[str, ...]:
    used: set[str] = set()
    for it in wanted:
        used.update(it.state.settings.get("secrets") or ())
        if signed := webhooks.secret_of(it.state.settings):
            used.add(signed)
    return tuple(sorted(used - now.secrets))
