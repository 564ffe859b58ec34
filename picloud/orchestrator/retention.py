"""Tables stay small: what is too old or too much is deleted, because records were written and never by the clock.

Owns: when it is time, and the thread that does it. Knows nothing of tables but what to ask of them.
"""

import logging
import threading
from typing import Protocol

from picloud.errors import PicloudError

_EVERY_RECORDS = 10_000  # written by one worker

_log = logging.getLogger(__name__)


class ShrinkingTable(Protocol):
    """What is kept small."""

    def expire(self, keep_days: int, keep_rows: int) -> int:
        """Delete some of what is too old or too much → how many went; 0: nothing is left to do, or another does it."""

    def vacuum(self) -> None:
        """Give deleted rows' space back."""


class Retention:
    """One worker's share of the cleaning: after its first batch, then after every 10,000 records."""

    def __init__(self, table: ShrinkingTable, *, keep_days: int, keep_rows: int) -> None:
        self._table = table
        self._keep = (keep_days, keep_rows)
        self._since = _EVERY_RECORDS  # the first batch after a start cleans up
        self._thread: threading.Thread | None = None

    def wrote(self, records: int) -> None:
        """Take note of a batch; called by one thread. Cleans in another: writing goes on meanwhile."""
        self._since += records
        if self._since < _EVERY_RECORDS or (self._thread and self._thread.is_alive()):
            return
        self._since = 0
        self._thread = threading.Thread(target=self._clean, name="retention", daemon=True)
        self._thread.start()

    def _clean(self) -> None:
        gone = 0
        try:
            while some := self._table.expire(*self._keep):
                gone += some
            if gone:
                self._table.vacuum()
                _log.info("retention: %d rows deleted", gone)
        except PicloudError as error:  # we are stopping, or the database is away: the next turn goes on
            _log.warning("retention was cut short: %s", error)
