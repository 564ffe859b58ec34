"""One job, top to bottom: claimed → dispatched → its end committed.

A job runs as every invocation does (`dispatch`), with one thing in another place: its transaction is the one that
holds its claim (`storage.claims`), so that what it does and that it is done are one COMMIT. Jobs of this node take
their places among its other invocations (`admission`), and no more than a script's `concurrency` run at once.
"""

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from picloud.errors import CallerError, DatabaseUnavailable, NotFound
from picloud.model import (
    ClaimedJob,
    Invocation,
    JobEnd,
    JobState,
    LogLine,
    Outcome,
    Program,
    Request,
    Response,
    Run,
    new_id,
)
from picloud.orchestrator.attempt import Attempt, Attempts, Binding, Runner, Surroundings
from picloud.orchestrator.dispatch import Dispatcher
from picloud.orchestrator.job_ends import crash_end, end_of, gone
from picloud.orchestrator.journal import Journal
from picloud.orchestrator.streaming import whole
from picloud.orchestrator.work import WorkSource

_SETTLE_S = 10.0  # for a COMMIT
_LATE_MS = 5_000  # beyond its wall clock: waiting for a sandbox, and the COMMIT

_log = logging.getLogger(__name__)


class Claim(WorkSource, Protocol):
    """A job that nobody else runs."""

    job: ClaimedJob
    answer: Response | None  # of the run that is about to be committed
    is_over: bool  # what becomes of the job is committed

    def started(self, invocation: str, most_ms: int) -> None:
        """Write that a run begins; DatabaseUnavailable: it must not."""

    def leave(self, end: JobEnd, invocation: str | None = None) -> None:
        """Commit what becomes of the job after a run that did nothing; DatabaseUnavailable."""

    def close(self) -> None:
        """Let go of the job."""


class Resolver(Protocol):
    """What knows the active version of a script."""

    def resolve(self, name: str) -> Program:
        """NotFound, DatabaseUnavailable."""


class JobRunner:
    """Runs jobs that were claimed. `dispatcher` is the process's, which counts what is under way."""

    def __init__(
        self, dispatcher: Dispatcher, resolver: Resolver, bindings: Mapping[str, Binding], journal: Journal
    ) -> None:
        self._dispatcher = dispatcher
        self._resolver = resolver
        self._bindings = bindings
        self._journal = journal
        self.stopping = False  # what ends now was ended by us

    def limit(self, script: str) -> int:
        """How many jobs of a script may run at once on this node; DatabaseUnavailable."""
        try:
            return self._resolver.resolve(script).settings.limits.concurrency
        except NotFound:
            return 1

    def run(self, claim: Claim) -> bool:
        """Run a job once, commit what becomes of it, and let go of it.

        False: nothing ran, as the script runs as often as it may already, for others.
        """
        try:
            return self._run(claim) is not Outcome.CONCURRENCY_LIMIT
        except DatabaseUnavailable as error:  # the claim is gone with its connection: whoever is next runs it
            about = {"job": claim.job.id, "script": claim.job.script}
            _log.warning("job %s of '%s' is to run again: %s", claim.job.id, claim.job.script, error, extra=about)
            return True
        finally:
            claim.close()

    def _run(self, claim: Claim) -> Outcome | None:
        job = claim.job
        if job.new_crashes and (end := crash_end(job.crashes)):
            claim.leave(end)
            return None
        try:
            program = self._resolver.resolve(job.script)
        except NotFound as error:
            claim.leave(gone(error))
            return None
        invocation = new_id()
        claim.started(invocation, program.settings.limits.wall_ms + _LATE_MS)
        run = self._dispatched(claim, program, invocation)
        if not claim.is_over:
            claim.leave(self._end(run, job, program), invocation)
        return run.outcome

    def _dispatched(self, claim: Claim, program: Program, invocation: str) -> Run:
        dispatcher = self._dispatcher.with_others(_JobAttempts(claim, self._bindings), self._journal)
        with self._dispatcher.counted():
            try:
                return dispatcher.dispatch(program, invocation, _Stored(claim.job.request)).run
            except CallerError as error:
                return Run(Outcome.INVALID_REQUEST, detail=str(error))

    def _end(self, run: Run, job: ClaimedJob, program: Program) -> JobEnd:
        if self.stopping and run.outcome is Outcome.EXECUTOR_LOST:
            return JobEnd(JobState.QUEUED, run.outcome, "PiCloud was stopped")
        return end_of(run, job, program.settings.retry, random.random)


class _Stored:
    """The request of a job; see `dispatch.RequestSource`."""

    caller = None

    def __init__(self, request: Request) -> None:
        self._request = request

    def read(self, invocation_id: str, body_bytes_max: int) -> Request:  # noqa: ARG002 - see there
        """With the id of this run. Its size was right when it was sent; what ran then once runs again."""
        return replace(self._request, id=invocation_id, idempotency_key=None)


class _JobAttempts(Attempts):
    """Attempts at one job, in the transaction that holds its claim."""

    def __init__(self, claim: Claim, bindings: Mapping[str, Binding]) -> None:
        super().__init__(claim, bindings)
        self._claim = claim

    def begin(self, program: Program, request: Request, surroundings: Surroundings) -> Attempt:
        """An attempt that has done nothing yet."""
        attempt = super().begin(program, request, surroundings)
        return _JobAttempt(attempt.program, attempt.request, attempt.bindings, attempt.shared, claim=self._claim)


class _JobAttempt(Attempt):
    """An attempt whose answer is kept with its job."""

    def __init__(self, *fields: object, claim: Claim) -> None:
        super().__init__(*fields)  # type: ignore[arg-type]
        self._claim = claim

    def run(self, runner: Runner, on_log: Callable[[LogLine], None]) -> Run:
        """Run the program in a sandbox; a stream is made whole, since nobody waits for it."""
        run = super().run(runner, on_log)
        self.has_answered = self.has_answered or run.stream is not None
        run = whole(self.request, run)
        self._claim.answer = run.response
        return run

    def settle(self, invocation: Invocation) -> None:
        """Make last what was done, and that the job is done; see `Attempt.settle`."""
        self.has_answered = False
        self.work(time.monotonic() + _SETTLE_S)
        super().settle(invocation)
