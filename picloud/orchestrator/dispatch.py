"""One invocation, top to bottom: read → admit → run → record.

Every trigger enters here, with the program that is to run: which one, and who may, was decided before (`ingress`).
This is the story to read first; each step has a file of its own.

One commit (the record of a decision): what a script does to the world becomes visible when its handler returns a
response, and not otherwise. Host calls with effects do not exist yet; when they do, the invocation's transaction is
opened by its first one, *settled* here between run and record, and the answer leaves after its COMMIT.
Until then every invocation is stateless: its record is batched, off this path.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from picloud.errors import ConcurrencyLimit, Overloaded
from picloud.model import Invocation, Level, LogLine, Outcome, Program, Record, Request, Run
from picloud.orchestrator.admission import Admission


class ExecutorClient(Protocol):
    """What runs a program in a sandbox of its own."""

    def run(self, program: Program, request: Request, on_log: Callable[[LogLine], None]) -> Run:
        """Run once, to one of the outcomes; never raises for what a script does."""


class RecordSink(Protocol):
    """What keeps the records."""

    def add(self, record: Record) -> None:
        """Take one; never waits."""

    def wait_until_written(self, seconds: float) -> None:
        """Until those taken before can be read, or the time is up."""


class RequestSource(Protocol):
    """What the caller sent, read before a sandbox is asked for: a slow sender holds none."""

    def read(self, invocation_id: str, body_bytes_max: int) -> Request:
        """BodyTooLarge, InvalidRequest; Overloaded: too many are being read."""


@dataclass(frozen=True, slots=True)
class Finished:
    """An invocation that came to its end."""

    id: str
    run: Run
    total_ms: float
    expose_errors: bool


class Dispatcher:
    """The node's one way to run a script."""

    def __init__(
        self,
        admission: Admission,
        executor: ExecutorClient,
        records: RecordSink,
        status_of: Callable[[Outcome], int],  # the table of problems knows
    ) -> None:
        self._admission = admission
        self._executor = executor
        self._records = records
        self._status_of = status_of
        self._changed = threading.Condition()  # of what follows
        self._under_way = 0

    def wait_until_idle(self, seconds: float) -> None:
        """Until every invocation that is under way has its record, or the time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self._under_way == 0, seconds)

    def wait_until_recorded(self, seconds: float) -> None:
        """Until the records of what has finished can be read, or the time is up."""
        self._records.wait_until_written(seconds)

    def dispatch(self, program: Program, invocation_id: str, source: RequestSource) -> Finished:
        """Run a program once. BodyTooLarge, InvalidRequest, Overloaded: it did not run."""
        with self._counted():
            return self._dispatch(program, invocation_id, source)

    def _dispatch(self, program: Program, invocation_id: str, source: RequestSource) -> Finished:
        started_at, started = datetime.now(UTC), time.monotonic()
        lines: list[LogLine] = []
        request = source.read(invocation_id, program.settings.limits.request_bytes)
        run = self._run(program, request, lines.append)
        if run.outcome is not Outcome.OK:
            lines.append(_failure_line(run))
        total_ms = (time.monotonic() - started) * 1000
        self._records.add(Record(self._invocation(program, request, run, started_at), tuple(lines)))
        return Finished(invocation_id, run, total_ms, program.settings.expose_errors)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._changed:
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                if self._under_way == 0:
                    self._changed.notify_all()

    def _run(self, program: Program, request: Request, on_log: Callable[[LogLine], None]) -> Run:
        try:
            with self._admission.node(), self._admission.script(program.script, program.settings.limits.concurrency):
                return self._executor.run(program, request, on_log)
        except Overloaded as error:
            return Run(Outcome.OVERLOADED, detail=str(error))
        except ConcurrencyLimit as error:
            return Run(Outcome.CONCURRENCY_LIMIT, detail=str(error))

    def _invocation(self, program: Program, request: Request, run: Run, started_at: datetime) -> Invocation:
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
        )


def _failure_line(run: Run) -> LogLine:
    """Why a run gave no answer, in the script's own log. What its caller did wrong is no error of the script."""
    level = Level.WARN if run.outcome is Outcome.INVALID_REQUEST else Level.ERROR
    return LogLine(datetime.now(UTC), level, f"{run.outcome}: {run.detail}\n{run.traceback}".rstrip(), "")
