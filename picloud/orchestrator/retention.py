"""Tables stay small: what is too old or too much is deleted, because records were written and never by the clock.

Owns: when it is time, and the thread that does it. Knows nothing of tables but what to ask of them.
"""

import logging
import threading
from collections.abc import Callable, Sequence
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


class ExpiringTable(Protocol):
    """What knows itself what it is rid of, and is replaced so often that it wants its space back at every turn."""

    def expire(self) -> int:
        """Delete some of what nobody can see any more → how many went; 0: nothing is left to do, or another does it."""

    def vacuum(self) -> None:
        """Give deleted and replaced rows' space back."""


class Retention:
    """One worker's share of the cleaning: after its first batch, then after every 10,000 records."""

    def __init__(
        self, table: ShrinkingTable, *, keep_days: int, keep_rows: int, also: Sequence[ExpiringTable] = ()
    ) -> None:
        self._table = table
        self._keep = (keep_days, keep_rows)
        self._also = also
        self._lock = threading.Lock()  # over what follows
        self._since = _EVERY_RECORDS  # the first batch after a start cleans up
        self._thread: threading.Thread | None = None

    def wrote(self, records: int) -> None:
        """Take note of a batch. Cleans in a thread of its own: writing goes on meanwhile."""
        with self._lock:
            self._since += records
            if self._since < _EVERY_RECORDS or (self._thread and self._thread.is_alive()):
                return
            self._since = 0
            self._thread = threading.Thread(target=self._clean, name="retention", daemon=True)
            self._thread.start()

    def _clean(self) -> None:
        try:
            gone = _until_nothing(lambda: self._table.expire(*self._keep))
            if gone:
                self._table.vacuum()
            for table in self._also:
                gone += _until_nothing(table.expire)
                table.vacuum()
            if gone:
                _log.info("retention: %d rows deleted", gone)
        except PicloudError as error:  # we are stopping, or the database is away: the next turn goes on
            _log.warning("retention was cut short: %s", error)


def _until_nothing(expire: Callable[[], int]) -> int:
    gone = 0
    while some := expire():
        gone += some
    return gone
