"""Tells the dispatchers that there may be something to do, once for many things; or does another errand of the kind.

Owns: when. Rung after a commit, never in it. While one telling is under way, all that is rung for meanwhile is told
together. A worker that is killed in between has told nobody, so each one rings when it starts: it may be there in
place of such a one.
"""

import logging
from collections.abc import Callable

from picloud.background import Background
from picloud.errors import DatabaseUnavailable

_RETRY_S = 1.0

_log = logging.getLogger(__name__)


class Bell:
    """One process's. `tell` reaches every dispatcher, or raises DatabaseUnavailable; `name` is its thread's."""

    def __init__(self, tell: Callable[[], None], name: str = "bell") -> None:
        self._tell = tell
        self._name = name
        self._thread = Background(name, self._run)
        self._changed = self._thread.changed
        self._rung = True  # whoever was here before may not have come to it

    def start(self) -> None:
        """Start the thread, after fork."""
        self._thread.start()

    def stop(self) -> None:
        """Tell what was rung for, and end."""
        self._thread.stop()

    def ring(self) -> None:
        """Something was committed; never waits."""
        with self._changed:
            self._rung = True
            self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            try:
                self._tell()
            except DatabaseUnavailable as error:
                if self._again(error):
                    return

    def _wait(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._rung or self._thread.stopping)
            rung, self._rung = self._rung, False
            return rung

    def _again(self, error: DatabaseUnavailable) -> bool:
        """Whether it is given up: who starts next rings."""
        with self._changed:
            self._rung = True
            self._changed.wait_for(lambda: self._thread.stopping, timeout=_RETRY_S)
            if self._thread.stopping:
                _log.warning("the %s was rung in vain: %s", self._name, error)
            return self._thread.stopping
