"""An upload: what it must be before anything is stored, and everything that it changes, at once.

Owns: the order of the checks. Knows nothing of HTTP, of PostgreSQL, or of how a source is compiled.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from picloud.declared import Declared
from picloud.errors import InvalidSource
from picloud.manager import bundle, manifest
from picloud.manager.scripts import check_name
from picloud.manager.settings import SettingsRules
from picloud.model import ANYWAY, Condition, SyntaxProblem, Upload, Uploaded


class UploadRepository(Protocol):
    """Where uploads are kept."""

    def put(
        self,
        name: str,
        upload: Upload,
        condition: Condition,
        declared: Declared,
        only: Collection[str] | None,
    ) -> Uploaded:
        """Store a new version, unless the active one is the same; and, if it is to be active, what it declares.

        All or nothing: PreconditionFailed, InvalidRequest, Conflict, which names no script but ``only``, if given.
        """


class SourceChecker(Protocol):
    """What compiles a source without running it."""

    def check(self, files: Mapping[str, bytes]) -> SyntaxProblem | None:
        """The first file that does not compile; Overloaded, ExecutorLost."""


class Uploads:
    """New versions of scripts.

    `announce` tells this node's processes that something changed, and the dispatchers that there may be jobs.
    """

    def __init__(
        self,
        repository: UploadRepository,
        checker: SourceChecker,
        rules: SettingsRules,
        announce: Callable[[], None],
    ) -> None:
        self._repository = repository
        self._checker = checker
        self._rules = rules
        self._announce = announce

    def upload(
        self,
        name: str,
        files: Mapping[str, bytes],
        created_by: str,
        condition: Condition = ANYWAY,
        *,
        activate: bool = True,
        only: Collection[str] | None = None,
    ) -> Uploaded:
        """Check files and store them as a new version, the active one unless told otherwise.

        InvalidRequest, InvalidSource, Forbidden, PreconditionFailed, Conflict: nothing was stored. ``only``: the
        scripts that the caller's token is limited to, or None; a conflict names no other, and no grant is added.
        """
        check_name(name)
        declared = manifest.read(files, self._rules, script=name, limited=only is not None)
        if problem := self._checker.check(files):
            raise InvalidSource(problem.file, problem.line, problem.message)
        upload = Upload(files, bundle.digest(files), created_by, activate)
        done = self._repository.put(name, upload, condition, declared, only)
        if activate:
            self._announce()
        return done
