"""When tokens were last used, written off the requests' path.

Owns: what is not written yet, and its thread. Knows nothing of HTTP or of secrets.

The thread blocks for ever while there is nothing to write: a token's first use wakes it, and then one a minute at
most. While the database is away it tries again every second; what was used stays noted until it is written.
"""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from picloud.background import Background
from picloud.errors import DatabaseUnavailable, TransactionConflict

_EVERY_S = 60.0  # of one token, in one worker
_REMEMBERED_MAX = 10_000  # tokens; forgetting when one was noted costs an UPDATE too many
_RETRY_S = 1.0

_log = logging.getLogger(__name__)


class UseTable(Protocol):
    """Where uses go."""

    def touch(self, used: Mapping[int, datetime]) -> None:
        """Token id → moment; DatabaseUnavailable, TransactionConflict."""


class TokenUses:
    """One worker's notes on their way to the table."""

    def __init__(self, table: UseTable, clock: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._clock = clock
        self._noted: dict[int, float] = {}  # token id → when it was last noted, by the clock
        self._pending: dict[int, datetime] = {}
        self._thread = Background("token-uses", self._run)
        self._changed = self._thread.changed

    def start(self) -> None:
        """Start the thread, after fork."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left and end."""
        self._thread.stop()

    def note(self, token_id: int) -> None:
        """A token is used now; never waits for the database. Mostly one look into a dictionary."""
        now = self._clock()
        noted = self._noted.get(token_id)
        if noted is not None and now - noted < _EVERY_S:
            return
        with self._changed:
            if len(self._noted) >= _REMEMBERED_MAX:
                self._noted.clear()
            self._noted[token_id] = now
            self._pending[token_id] = datetime.now(UTC)
            self._changed.notify()

    def _run(self) -> None:
        while used := self._next():
            self._write(used)

    def _next(self) -> dict[int, datetime]:
        """What is to be written; nothing only when it is time to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._thread.stopping)
            used, self._pending = self._pending, {}
            return used

    def _write(self, used: dict[int, datetime]) -> None:
        try:
            self._table.touch(used)
        except (DatabaseUnavailable, TransactionConflict) as error:
            self._later(used, error)
        except Exception:  # noqa: BLE001 - a thread that ends would note nothing any more
            _log.exception("when tokens were last used could not be written: %d", len(used))

    def _later(self, used: dict[int, datetime], error: Exception) -> None:
        with self._changed:
            if self._thread.stopping:
                _log.warning("the last use of %d tokens is lost, as the database is away: %s", len(used), error)
                return
            self._pending = used | self._pending
            self._changed.wait_for(lambda: self._thread.stopping, timeout=_RETRY_S)
