"""Records of invocations, written in batches off the request's path.

Owns: the buffer and its thread. Knows nothing of HTTP.

The thread blocks for ever while there is nothing to write. A first record starts a batch that is written BATCH_MS
later, or as soon as somebody waits for it; while the database is away batches wait in memory, up to a bound, and are
tried again. A power cut may lose what was answered within the last second: the documentation says so.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from picloud.background import Background
from picloud.errors import DatabaseUnavailable
from picloud.model import Invocation, Record

BATCH_MS = 200
_BATCH_RECORDS = 1_000
_BUFFER_BYTES_MAX = 32 * 1024 * 1024
_LINES_PER_RECORD = 10  # as retention keeps them
_RECORD_BYTES = 500  # about what one holds beside its lines
_KEPT_BYTES_PER_RECORD = 4096
_RETRY_S = 1.0

_log = logging.getLogger(__name__)


class RecordTable(Protocol):
    """Where records go."""

    def add(self, records: Sequence[Record]) -> None:
        """Write a batch; DatabaseUnavailable. A record that is there already is left as it is, but for a mark."""

    def mark(self, invocation: Invocation) -> None:
        """Write that one is under way, by itself; DatabaseUnavailable."""


class Recorder:
    """One worker's records on their way to the table."""

    def __init__(self, table: RecordTable, written: Callable[[int], None]) -> None:
        self._table = table
        self._written = written  # told of each batch's size, in records: see `_rows`
        self._buffer: deque[Record] = deque()
        self._buffer_bytes = 0
        self._without_lines = 0  # since the last batch
        self._dropped = 0
        self._taken = self._gone = 0  # records, ever: into the buffer, and out of it
        self._thread = Background("recorder", self._run)
        self._changed = self._thread.changed
        self._awaited = False  # somebody waits for what is in the buffer

    def start(self) -> None:
        """Start the thread, after fork."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left and end; what cannot be written now is counted in the log."""
        self._thread.stop()

    def add(self, record: Record) -> None:
        """Take one record; never waits for the database."""
        with self._changed:
            if self._buffer_bytes + weight(record) > _BUFFER_BYTES_MAX:  # the database is away, or slower than we are
                record = replace(record, lines=(), request=None)  # who keeps much loses it, and nobody else
                self._without_lines += 1
            if self._buffer_bytes > 2 * _BUFFER_BYTES_MAX:
                self._dropped += 1
                return
            self._buffer.append(record)
            self._buffer_bytes += weight(record)
            self._taken += 1
            if len(self._buffer) == 1:
                self._changed.notify_all()

    def mark(self, invocation: Invocation) -> None:
        """Write one whose outcome is not known yet, before this returns; DatabaseUnavailable."""
        self._table.mark(invocation)

    def wait_until_written(self, seconds: float) -> None:
        """Have what was taken until now written at once, and wait until it is, or lost, or the time is up."""
        with self._changed:
            taken = self._taken
            self._awaited = self._awaited or self._gone < taken
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._gone >= taken, seconds)

    def _run(self) -> None:
        while self._wait_for_batch():
            self._write_batch()

    def _wait_for_batch(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._buffer or self._thread.stopping)
            if not self._thread.stopping:
                self._changed.wait_for(lambda: self._awaited or self._thread.stopping, timeout=BATCH_MS / 1000)
            return bool(self._buffer)

    def _write_batch(self) -> None:
        with self._changed:
            self._awaited = False
            batch = [self._buffer[at] for at in range(min(len(self._buffer), _BATCH_RECORDS))]
        try:
            self._table.add(batch)
        except DatabaseUnavailable as error:
            self._database_away(error)
            return
        except Exception:  # noqa: BLE001 - one bad record must not end the thread that writes all others
            _log.exception("records that could not be written, and are lost: %d", len(batch))
        self._forget(batch)
        self._written(sum(map(_rows, batch)))

    def _database_away(self, error: DatabaseUnavailable) -> None:
        with self._changed:
            if self._thread.stopping:
                _log.error("records lost at stop, as the database is away: %d (%s)", len(self._buffer), error)
                self._gone = self._taken
                self._buffer.clear()
                self._changed.notify_all()
            else:
                self._changed.wait_for(lambda: self._thread.stopping, timeout=_RETRY_S)

    def _forget(self, batch: list[Record]) -> None:
        with self._changed:
            for record in batch:
                if self._buffer and self._buffer[0] is record:  # not dropped meanwhile
                    self._buffer.popleft()
                    self._buffer_bytes -= weight(record)
                    self._gone += 1
            self._changed.notify_all()
            lost = (self._without_lines, self._dropped)
            self._without_lines = self._dropped = 0
        if any(lost):
            _log.error("too much to write: %d invocations lost their log lines or request, %d their record", *lost)


def _rows(record: Record) -> int:
    """How much of the tables it takes, in records."""
    kept_bytes = _request_bytes(record) + record.kept_bytes
    return 1 + len(record.lines) // _LINES_PER_RECORD + kept_bytes // _KEPT_BYTES_PER_RECORD


def weight(record: Record) -> int:
    """About how many bytes one holds."""
    lines = sum(len(line.message) + len(line.fields) + _RECORD_BYTES for line in record.lines)
    return _RECORD_BYTES + lines + len(record.invocation.error) + _request_bytes(record)


def _request_bytes(record: Record) -> int:
    if record.request is None:
        return 0
    request = record.request.request
    fields = sum(len(name) + len(value) for name, value in (*request.headers, *request.params))
    return _RECORD_BYTES + len(request.path) + len(request.query_string) + fields + len(request.body)
