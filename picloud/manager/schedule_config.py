"""The schedules of the server's own `picloud.toml`: read when a process starts, and when it is told to again.

Owns: when they are read and applied. A file that cannot be used changes nothing; a server without a file has no say:
what another one's declared stays.
"""

import difflib
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from picloud.errors import ConfigurationError, InvalidRequest
from picloud.manager.schedule_tables import of_server
from picloud.model import NewSchedule
from picloud.settings import document

_TABLES = ("server", "schedule")

_log = logging.getLogger(__name__)


class DeclaredSchedules(Protocol):
    """Where schedules are kept."""

    def declare(self, wanted: Sequence[NewSchedule]) -> list[str]:
        """Make the configuration's exactly these, but for names that others have → what is to be said of those."""


def read(path: str) -> tuple[NewSchedule, ...] | None:
    """What a file declares; None: there is no file. ConfigurationError names each table and field that is wrong."""
    if not path:
        return None
    tables = document(path)
    for name in tables:
        if name not in _TABLES:
            near = difflib.get_close_matches(name, _TABLES, n=1)
            raise ConfigurationError(f"{path}: {name} is not known" + (f"; did you mean '{near[0]}'?" if near else ""))
    try:
        return of_server(tables.get("schedule", []))
    except InvalidRequest as error:
        wrong = "\n".join(f"{path}: {one['field']}: {one['message']}" for one in error.errors)
        raise ConfigurationError(wrong) from error


class ConfiguredSchedules:
    """The schedules of one file. `ring` tells the dispatchers that something may be due, after the commit."""

    def __init__(self, path: str, repository: DeclaredSchedules, ring: Callable[[], None]) -> None:
        self._path = path
        self._repository = repository
        self._ring = ring

    def apply(self) -> None:
        """Make what the file declares, change it, remove what it does not declare any more.

        ConfigurationError: it cannot be used, and nothing was changed; DatabaseUnavailable. A schedule whose name
        somebody else's has is logged, and left out.
        """
        wanted = read(self._path)
        if wanted is None:
            return
        for clash in self._repository.declare(wanted):
            _log.error("%s: %s; the one in this file is not applied", self._path, clash)
        self._ring()
