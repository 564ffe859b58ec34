"""The records of scripts that one invocation invokes, until it is over: only then is known what becomes of them.

Owns: how much of them is held. There may be thousands, each with a log and a request of its own.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from picloud.model import Level, LogLine, Record
from picloud.orchestrator.record import weight

BYTES_MAX = 8 * 1024 * 1024
_ERROR_CHARACTERS_MAX = 200
_LEFT_OUT = (
    f"its log and its request are left out: those of all scripts that one invocation invokes have {BYTES_MAX} bytes"
)


class Invoked:
    """Records in the order in which the runs ended; those behind the bound without log and request."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._bytes = 0

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def add(self, record: Record) -> None:
        """Take one."""
        if self._bytes + weight(record) > BYTES_MAX:
            record = _short(record)
        self._bytes += weight(record)
        self._records.append(record)


def _short(record: Record) -> Record:
    if not record.lines and record.request is None:
        lines: tuple[LogLine, ...] = ()
    else:
        lines = (LogLine(datetime.now(UTC), Level.WARN, _LEFT_OUT, ""),)
    error = record.invocation.error[:_ERROR_CHARACTERS_MAX]
    return Record(replace(record.invocation, error=error), lines)
