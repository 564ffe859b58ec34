"""What is written of a run: its record, and in its log why it gave no answer.

Owns: how a run becomes an `Invocation`, and which of them an operator hears of: no script that keeps to the rules ends
like them. Knows nothing of when it is written: `record` does that.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from picloud.model import Invocation, Level, LogLine, Outcome, Program, Record, Request, Run
from picloud.orchestrator.masking import Mask
from picloud.orchestrator.metrics import NOBODY, Metrics
from picloud.orchestrator.recording import kept_request

_FOR_OPERATORS = (Outcome.SANDBOX_VIOLATION, Outcome.SANDBOX_CRASH, Outcome.EXECUTOR_LOST, Outcome.OUTCOME_UNKNOWN)

_log = logging.getLogger(__name__)


class RecordSink(Protocol):
    """What keeps the records."""

    def add(self, record: Record) -> None:
        """Take one; never waits."""

    def mark(self, invocation: Invocation) -> None:
        """Write one whose outcome is not known yet, before this returns; DatabaseUnavailable."""

    def wait_until_written(self, seconds: float) -> None:
        """Until those taken before can be read, or the time is up."""


class Journal:
    """Makes records, and has them kept."""

    def __init__(self, records: RecordSink, status_of: Callable[[Outcome], int], metrics: Metrics = NOBODY) -> None:
        self._records = records
        self._status_of = status_of  # the table of problems knows
        self._metrics = metrics

    def invocation(self, program: Program, request: Request, run: Run, started_at: datetime) -> Invocation:
        """The row of a run."""
        return Invocation(
            id=request.id,
            script=program.script,
            version=program.version,
            trigger=request.trigger,
            outcome=run.outcome,
            status=run.response.status if run.response else self._status_of(run.outcome),
            started_at=started_at,
            queue_ms=run.queue_ms,
            run_ms=run.run_ms,
            cpu_ms=run.cpu_ms,
            memory_bytes=run.memory_bytes,
            error=run.detail,
            http_calls=run.http_calls,
        )

    def record(
        self, program: Program, request: Request, run: Run, started_at: datetime, lines: Sequence[LogLine], mask: Mask
    ) -> Record:
        """The row and the log of a run, and its request if that is kept. `mask`: over the secrets that it got."""
        failed = () if run.outcome is Outcome.OK else (_failure_line(run),)
        return Record(
            self.invocation(program, request, run, started_at),
            (*lines, *failed),
            kept_request(program, request, run, mask),
            program.settings.secrets,
        )

    def mark(self, program: Program, request: Request, started_at: datetime) -> None:
        """Write now that a run is about to call out: whatever happens to us, it is known. DatabaseUnavailable."""
        unknown = Run(Outcome.OUTCOME_UNKNOWN, http_calls=1)
        self._records.mark(self.invocation(program, request, unknown, started_at))

    def keep(self, record: Record) -> None:
        """Have it written soon; it came to its end."""
        it = record.invocation
        if it.outcome in _FOR_OPERATORS:
            about = {"invocation": it.id, "script": it.script}
            _log.warning("'%s' version %d: %s: %s", it.script, it.version, it.outcome, it.error, extra=about)
        self._metrics.ended(it)
        self._records.add(record)

    def wait_until_written(self, seconds: float) -> None:
        """Until those kept before can be read, or the time is up."""
        self._records.wait_until_written(seconds)


def _failure_line(run: Run) -> LogLine:
    """Why a run gave no answer, in the script's own log. What its caller did wrong is no error of the script."""
    level = Level.WARN if run.outcome in (Outcome.INVALID_REQUEST, Outcome.CALLER_GONE) else Level.ERROR
    return LogLine(datetime.now(UTC), level, f"{run.outcome}: {run.detail}\n{run.traceback}".rstrip(), "")
