"""One attempt at an invocation: its host calls, and the transaction that they share.

Owns: which binding does which call, when the transaction begins, and that it ends. Knows nothing of what a binding
does. The transaction begins with the first call that needs one, and is rolled back unless `settle` has committed it:
`dispatch` tells which of the two comes of a run.
"""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Protocol

from picloud.errors import CallerError, InvalidRequest, TransactionConflict
from picloud.executor.client import HostCallRefused, HostCalls
from picloud.model import Invocation, LogLine, Program, Request, Run
from picloud.orchestrator.invoked import Invoked
from picloud.orchestrator.masking import Mask
from picloud.orchestrator.reads import Reads
from picloud.orchestrator.streaming import ToldStream, is_behind
from picloud.orchestrator.work import Savepoint, Work, WorkSource


class Runner(Protocol):
    """What runs a program in a sandbox of its own."""

    def run(
        self,
        program: Program,
        request: Request,
        on_log: Callable[[LogLine], None],
        host_calls: HostCalls,
        caller: socket.socket | None,
    ) -> Run:
        """Run once, to one of the outcomes; raises what `host_calls` does, and nothing for what a script does.

        CallerGone: the ``caller`` hung up.
        """


Binding = Callable[["Attempt", Sequence[bytes]], Sequence[bytes]]
"""Does one host call: strings in → strings out. A CallerError is the script's to catch, all else ends its run."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an invocation asks of who runs it."""

    mark: Callable[[], None]  # make it known, to last, that it is about to call out; DatabaseUnavailable
    sandbox_parked: Callable[[], AbstractContextManager[None]]  # a sandbox of it waits while the block lasts
    place_parked: Callable[[], AbstractContextManager[bool]]  # all of it does; False: it keeps its place all the same
    caller: socket.socket | None = None  # who waits for the answer
    mask: Mask = field(default_factory=Mask)  # over the secrets that it gets, in this attempt or in one before


@dataclass(slots=True)
class Shared:
    """What an attempt and those that it invokes have in common: one transaction, and what was seen in it."""

    source: WorkSource
    surroundings: Surroundings
    work: Work | None = None
    http_calls: int = 0  # that began
    sent_bytes: int = 0  # of payloads of jobs
    reads: Reads = field(default_factory=Reads)
    invoked: Invoked = field(default_factory=Invoked)
    mask: Mask = field(default_factory=Mask)  # over the secrets that any of them got


@dataclass(slots=True)
class Attempt:
    """One run of a program, until it is settled. Used by one thread; as a context it rolls back what is not."""

    program: Program
    request: Request
    bindings: Mapping[str, Binding]
    shared: Shared
    depth: int = 0  # how many invoked each other to get here
    deadline: float = 0.0  # monotonic, s: of the call that is being done
    has_answered: bool = False  # its answer has begun: what it did is settled, and cannot become more

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.shared.work:
            self.shared.work.close()

    def invoking(self, program: Program, request: Request) -> "Attempt":
        """One of another program in the same transaction; who invokes ends it."""
        return Attempt(program, request, self.bindings, self.shared, self.depth + 1)

    def run(self, runner: Runner, on_log: Callable[[LogLine], None]) -> Run:
        """Run the program in a sandbox; no secret that it got is in its lines, nor in what is said of the run."""
        mask, calls_before = self.shared.mask, self.shared.http_calls
        caller = self.shared.surroundings.caller
        run = runner.run(self.program, self.request, lambda line: on_log(mask.line(line)), self, caller)
        if run.stream:
            stream = ToldStream(run.stream, lambda end: self.ended(end, calls_before), self._sending)
            run = replace(run, stream=stream)
        return self.ended(run, calls_before)

    def ended(self, run: Run, calls_before: int = 0) -> Run:
        """How it came to its end, with its calls, and without secrets."""
        return replace(self.shared.mask.run(run), http_calls=self.shared.http_calls - calls_before)

    def call(self, name: str, arguments: Sequence[bytes], deadline: float) -> Sequence[bytes]:
        """Do a host call, see `HostCalls`; what it raises beside HostCallRefused ends the run."""
        binding = self.bindings.get(name)
        if binding is None:
            raise HostCallRefused(f"{name} is not available here")
        self.deadline = deadline
        try:
            return binding(self, arguments)
        except TransactionConflict:
            raise
        except CallerError as error:
            raise HostCallRefused(f"{name}: {error}") from None

    def work(self, deadline: float | None = None) -> Work:
        """The transaction, begun if it has not, until the deadline of the call; Overloaded, DatabaseUnavailable.

        InvalidRequest: it is over.
        """
        if self.has_answered:
            raise InvalidRequest("the answer has begun, nothing can be read or stored any more")
        self.deadline = self.deadline if deadline is None else deadline
        if self.shared.work is None:
            self.shared.work = self.shared.source.begin(self.deadline)
        self.shared.work.deadline = self.deadline
        return self.shared.work

    @contextmanager
    def savepoint(self) -> Iterator[Savepoint]:
        """What is done in the block can be undone, and is if it raises; what was read in it is then forgotten, too."""
        reads = self.shared.reads.copy()
        with self.work().savepoint() as savepoint:
            try:
                yield savepoint
            except BaseException:
                self.shared.reads = reads
                raise
        if savepoint.restored:
            self.shared.reads = reads

    def call_out(self) -> None:
        """Before each thing that cannot be undone. The first is marked on the invocation, by itself."""
        if not self.shared.http_calls:
            self.shared.surroundings.mark()
        self.shared.http_calls += 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for the world outside: nothing of the invocation computes meanwhile, and others have its place."""
        around = self.shared.surroundings
        with around.place_parked() as parked, around.sandbox_parked() if parked else nullcontext():
            yield

    def _sending(self, piece: bytes) -> AbstractContextManager[None]:
        """For a block in which a piece of its answer is sent."""
        caller = None if self.depth else self.shared.surroundings.caller  # what is invoked sends nothing
        return self.waiting() if caller and is_behind(caller, piece) else nullcontext()

    def settle(self, invocation: Invocation) -> None:
        """Make what was done last, with the invocation's row. TransactionConflict, DatabaseUnavailable: nothing does;
        OutcomeUnknown."""
        self.has_answered = True
        if self.shared.work and self.shared.work.writes:
            self.shared.work.commit(invocation)


class Attempts:
    """Makes them."""

    def __init__(self, source: WorkSource, bindings: Mapping[str, Binding]) -> None:
        self._source = source
        self._bindings = bindings

    def begin(self, program: Program, request: Request, surroundings: Surroundings) -> Attempt:
        """An attempt that has done nothing yet."""
        return Attempt(program, request, self._bindings, Shared(self._source, surroundings, mask=surroundings.mask))
