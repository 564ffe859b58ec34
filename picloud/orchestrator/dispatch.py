"""One invocation, top to bottom: read → admit → run → settle → record.

Every trigger enters here, with the program that is to run: which one, and who may, was decided before (`ingress`).
This is the story to read first; each step has a file of its own.

One commit (the record of a decision): what a script does to the world becomes visible when its handler returns a
response, and not otherwise. Its first host call that needs one opens the invocation's transaction (`attempt`). A run
that ends with a response is settled: one COMMIT takes all that it wrote and its own row, and the answer leaves after
it. Any other end rolls back: an error, `error{…}`, a limit, a kill, an answer that is not valid, a caller who hung up.

A run that clashes with another invocation (it was faster, or they would wait for each other for ever) has done nothing
yet, so it runs again, until its deadline: unless it has called out, which cannot be undone.

An invocation that writes nothing is stateless: its record is batched, off this path.

An answer that is a stream is settled before its first byte, while its sandbox waits. All that the invocation holds is
then held by the answer's body (`streaming`), until that is sent or cut off; the record is replaced when it is known.
"""

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from picloud.errors import DeadlinePassed, TransactionConflict
from picloud.model import Invocation, LogLine, Outcome, Program, Request, Run, Stream, Trigger
from picloud.orchestrator import idempotency
from picloud.orchestrator.admission import Admission
from picloud.orchestrator.attempt import Attempt, Attempts, Runner, Surroundings
from picloud.orchestrator.endings import ENDING, ended
from picloud.orchestrator.idempotency import Claim, Twins
from picloud.orchestrator.journal import Journal
from picloud.orchestrator.masking import Mask
from picloud.orchestrator.streaming import Body, Streams, has_no_body, unmade

_PAUSE_S = (0.001, 0.1)  # before it runs again: half of the first to half of the last at least, and at random


class ExecutorClient(Runner, Protocol):
    """What runs programs in sandboxes."""

    def parked(self) -> AbstractContextManager[None]:
        """For a block in which the sandbox of a run waits, and takes no place from those that compute."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be done, and the lines that come of it."""

    program: Program
    request: Request
    claim: Claim | None  # it is to run once
    caller: socket.socket | None  # who may hang up
    started_at: datetime
    lines: list[LogLine]
    held: ExitStack  # until the answer is over
    mask: Mask = field(default_factory=Mask)  # over the secrets that it got


class RequestSource(Protocol):
    """What the caller sent, read before a sandbox is asked for: a slow sender holds none."""

    @property
    def caller(self) -> socket.socket | None:
        """Who waits for the answer: if it hangs up, nobody does."""

    def read(self, invocation_id: str, body_bytes_max: int) -> Request:
        """BodyTooLarge, InvalidRequest; Overloaded: too many are being read."""


@dataclass(frozen=True, slots=True)
class Finished:
    """An invocation that came to its end."""

    id: str
    run: Run
    total_ms: float
    expose_errors: bool
    body: Body | None = None  # of an answer that has begun; whoever gets it closes it


class Dispatcher:
    """The node's one way to run a script."""

    def __init__(
        self,
        admission: Admission,
        executor: ExecutorClient,
        attempts: Attempts,
        journal: Journal,
        streams: Streams,
    ) -> None:
        self._admission = admission
        self._executor = executor
        self._attempts = attempts
        self._journal = journal
        self._twins = Twins()
        self._streams = streams
        self._changed = threading.Condition()  # of what follows
        self._under_way = 0

    def with_others(self, attempts: Attempts, journal: Journal) -> "Dispatcher":
        """The same place and the same sandboxes, for runs that do something else and are told elsewhere."""
        return Dispatcher(self._admission, self._executor, attempts, journal, self._streams)

    def wait_until_idle(self, seconds: float) -> None:
        """Until every invocation that is under way has its record, or the time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self._under_way == 0, seconds)

    def wait_until_recorded(self, seconds: float) -> None:
        """Until the records of what has finished can be read, or the time is up."""
        self._journal.wait_until_written(seconds)

    def dispatch(self, program: Program, invocation_id: str, source: RequestSource) -> Finished:
        """Run a program once. BodyTooLarge, InvalidRequest, Overloaded: it did not run."""
        with ExitStack() as held:
            held.enter_context(self.counted())
            return self._dispatch(program, invocation_id, source, held)

    def refusal(self, script: str) -> Run | None:
        """How a run would end that a flood of others has no place for; None: dispatch it. Never waits."""
        error = self._admission.refusal(script)
        return None if error is None else ended(error)

    def _dispatch(self, program: Program, invocation_id: str, source: RequestSource, held: ExitStack) -> Finished:
        started_at, started = datetime.now(UTC), time.monotonic()
        request = source.read(invocation_id, program.settings.limits.request_bytes)
        claim = idempotency.claim_of(program, request)
        asked = _Asked(program, request, claim, source.caller, started_at, lines=[], held=held)
        run = self._admitted(asked)
        total_ms = (time.monotonic() - started) * 1000
        finished = Finished(run.replays or invocation_id, run, total_ms, program.settings.expose_errors)
        keep = partial(self._keep, asked)
        if run.stream:
            return replace(finished, body=self._streams.body(run, run.stream, source.caller, keep, held.pop_all()))
        keep(run)
        return finished

    def _keep(self, asked: _Asked, run: Run) -> None:
        if not run.replays:
            record = self._journal.record(asked.program, asked.request, run, asked.started_at, asked.lines, asked.mask)
            self._journal.keep(replace(record, kept_bytes=_kept_bytes(asked, run)))

    @contextmanager
    def counted(self) -> Iterator[None]:
        """For a block that `wait_until_idle` is to wait for."""
        with self._changed:
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                if self._under_way == 0:
                    self._changed.notify_all()

    def _admitted(self, asked: _Asked) -> Run:
        program = asked.program
        mark = partial(self._journal.mark, program, asked.request, asked.started_at)
        try:
            # who is over the script's limit takes no place in the node from others
            with ExitStack() as places:
                places.enter_context(self._twins.turn(asked.claim, self._admission.waiting))
                places.enter_context(self._admission.script(program.script, program.settings.limits.concurrency))
                place = places.enter_context(self._admission.node())
                parked = self._executor.parked, place.parked
                run = self._settled(asked, Surroundings(mark, *parked, asked.caller, asked.mask))
                if run.stream:
                    asked.held.push(places.pop_all())
                return run
        except ENDING as error:
            return ended(error)

    def _settled(self, asked: _Asked, surroundings: Surroundings) -> Run:
        """Run and settle; again after a clash, until the deadline."""
        deadline = time.monotonic() + asked.program.settings.limits.wall_ms / 1000
        for pause_s in _pauses():
            asked.lines.clear()
            with self._attempts.begin(_until(asked.program, deadline), asked.request, surroundings) as attempt:
                try:
                    return idempotency.find(attempt, asked.claim) or self._run(attempt, asked)
                except TransactionConflict as clash:
                    if attempt.shared.http_calls:
                        detail = f"{clash}; it has called out, so it was not run again"
                        return attempt.ended(Run(Outcome.CONFLICT, detail=detail))
            time.sleep(min(pause_s, max(0.0, deadline - time.monotonic())))
        raise AssertionError

    def _run(self, attempt: Attempt, asked: _Asked) -> Run:
        """Run and settle once; TransactionConflict."""
        try:
            run = attempt.run(self._executor, asked.lines.append)
            if run.stream and has_no_body(asked.request, run):
                run = unmade(run)
            if run.stream:
                self._begin(attempt, asked, run, run.stream)
            elif run.outcome is Outcome.OK and run.committed:
                idempotency.keep(attempt, asked.claim, run)
                attempt.settle(self._row(asked, run))
        except ENDING as error:
            run = attempt.ended(ended(error))
        if run.outcome is Outcome.TIMEOUT and attempt.program is not asked.program:  # it had what was left
            run = replace(run, detail=_clashed(asked.program))
        for invoked in attempt.shared.invoked:
            self._journal.keep(invoked)
        return run

    def _begin(self, attempt: Attempt, asked: _Asked, run: Run, stream: Stream) -> None:
        """Settle before the first byte of an answer; what becomes of the rest is not known yet."""
        with ExitStack() as begun:
            begun.callback(stream.close)
            begun.enter_context(self._streams.place())
            idempotency.keep(attempt, asked.claim, run)
            attempt.settle(self._row(asked, replace(run, outcome=Outcome.OUTCOME_UNKNOWN)))
            asked.held.push(begun.pop_all())

    def _row(self, asked: _Asked, run: Run) -> Invocation:
        return self._journal.invocation(asked.program, asked.request, run, asked.started_at)


def _kept_bytes(asked: _Asked, run: Run) -> int:
    """Of what is kept of it beside its record: its job's request, its answer for a key."""
    of_job = len(asked.request.body) if asked.request.trigger not in (Trigger.HTTP, Trigger.INVOKE) else 0
    return of_job + (len(run.response.body) if asked.claim and run.response else 0)


def _until(program: Program, deadline: float) -> Program:
    """A program that may run until then, and no longer than its limit; DeadlinePassed."""
    left_ms = int((deadline - time.monotonic()) * 1000) + 1
    limits = program.settings.limits
    if left_ms >= limits.wall_ms:
        return program
    if left_ms <= 1:
        raise DeadlinePassed(_clashed(program))
    return replace(program, settings=replace(program.settings, limits=replace(limits, wall_ms=left_ms)))


def _clashed(program: Program) -> str:
    return f"exceeded the wall clock limit of {program.settings.limits.wall_ms} ms: it clashed with other invocations"


def _pauses() -> Iterator[float]:
    pause_s, longest_s = _PAUSE_S
    while True:
        yield pause_s * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        pause_s = min(2 * pause_s, longest_s)
