"""The caller's side of a sandbox: send a program, read what it says, and know how it ended.

Owns: the conversation, its two clocks, and what each end means as a `model.Outcome`. Knows nothing of HTTP or storage.
`queue_ms` runs from the call until a sandbox has accepted, the script's `wall_ms` from there. At a deadline we close,
and the zygote, which holds a duplicate of the connection, kills the sandbox.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from picloud.errors import DeadlinePassed, ExecutorLost, Overloaded, PicloudError, PlatformError
from picloud.executor import packing
from picloud.executor.breaches import BadAnswer, BadFrame
from picloud.executor.frames import Decoder
from picloud.executor.line import Line
from picloud.executor.outcomes import End, problem_of, run_of, too_much
from picloud.executor.parking import counts, parked, parking_socket
from picloud.executor.said import Accepted, Begun, Call, Chunk, Log, Message
from picloud.executor.stream import SandboxStream
from picloud.model import Limits, LogLine, Outcome, Program, Request, Response, Run, SandboxCounts, SyntaxProblem
from sandbox import protocol

CHECK_LIMITS = Limits(wall_ms=5_000, cpu_ms=2_000)  # of a compilation

OnLog = Callable[[LogLine], None]


class HostCallRefused(PicloudError):
    """What a script asked for is not done; the message is raised at its line."""


class HostCalls(Protocol):
    """What does a script's host calls, on the trusted side."""

    def call(self, name: str, arguments: Sequence[bytes], deadline: float) -> Sequence[bytes]:
        """Do it by the deadline (monotonic, s) → strings; HostCallRefused.

        More than REPLY_BYTES_MAX in all do not cross: the script is told so instead.
        The arguments come from a sandbox: nothing in them is to be believed.
        """


class NoHostCalls:
    """For a run that may only compute."""

    def call(self, name: str, _arguments: Sequence[bytes], _deadline: float) -> Sequence[bytes]:
        """HostCallRefused."""
        raise HostCallRefused(f"{name} is not available here")


NO_HOST_CALLS = NoHostCalls()


@dataclass(frozen=True, slots=True)
class _Handlers:
    """Who takes what a sandbox says while it runs."""

    on_log: OnLog
    host_calls: HostCalls


class SandboxClient:
    """Runs programs in sandboxes of the executor that listens on ``socket_path``; threads may share it."""

    def __init__(self, socket_path: Path, *, queue_ms: int) -> None:
        self._address = str(socket_path)
        self._parking = parking_socket(socket_path)
        self._queue_ms = queue_ms
        self._mutex = threading.Lock()  # over what follows
        self._running: set[Line] = set()
        self._aborted = False

    def run(
        self,
        program: Program,
        request: Request,
        on_log: OnLog,
        host_calls: HostCalls = NO_HOST_CALLS,
        caller: socket.socket | None = None,
    ) -> Run:
        """Run ``program`` once in a sandbox of its own. Raises nothing for what a script, sandbox or executor does.

        ``on_log`` is called in this thread with each line as it arrives; what it and ``host_calls`` raise ends the run,
        and so does a ``caller`` who hangs up: CallerGone. A run with a stream has not ended: its sandbox waits for who
        asks for the pieces, and is held until the stream is closed.
        """
        limits = program.settings.limits
        packets = protocol.frames(protocol.REQUEST, packing.run(program, request))
        started = time.monotonic()
        try:
            line, decoder = self._accepted_line(packets[0], limits)
        except Overloaded as error:
            return Run(Outcome.OVERLOADED, detail=str(error), queue_ms=_ms_since(started))
        except ExecutorLost as error:
            return Run(Outcome.EXECUTOR_LOST, detail=str(error), queue_ms=_ms_since(started))
        queue_ms, accepted = _ms_since(started), time.monotonic()
        with ExitStack() as held:
            held.enter_context(line)
            held.enter_context(self._abortable(line))
            line.deadline = accepted + limits.wall_ms / 1000
            if caller is not None:
                line.watch(caller)
            hear = partial(_hear, line, decoder, limits, _Handlers(on_log, host_calls))
            timed = partial(self._timed, queue_ms, accepted)
            heard = hear(packets[1:])
            if isinstance(heard, Begun):
                stream = SandboxStream(hear, timed, line.deadline, held.pop_all())
                heard = Run(Outcome.OK, Response(heard.status, heard.headers, b"", is_streamed=True), stream=stream)
            assert isinstance(heard, Run)  # no answer goes on before it begins
            return timed(heard)

    def _timed(self, queue_ms: float, accepted: float, run: Run) -> Run:
        if self._aborted and run.outcome in (Outcome.EXECUTOR_LOST, Outcome.CALLER_GONE):
            run = replace(run, outcome=Outcome.EXECUTOR_LOST, detail="the server was stopped while the script ran")
        return replace(run, queue_ms=queue_ms, run_ms=_ms_since(accepted))

    def abort(self) -> None:
        """End every run that is under way, and each that follows: EXECUTOR_LOST. For a server that stops."""
        with self._mutex:
            self._aborted = True
            for line in self._running:
                line.abort()

    def parked(self) -> AbstractContextManager[None]:
        """For the length of a block in which the script of one of our sandboxes waits for the world outside."""
        return parked(self._parking)

    def counts(self) -> SandboxCounts:
        """How many sandboxes there are at this moment, in the pool and lent; ExecutorLost."""
        return counts(self._parking)

    @contextmanager
    def _abortable(self, line: Line) -> Iterator[None]:
        with self._mutex:
            self._running.add(line)
            if self._aborted:
                line.abort()
        try:
            yield
        finally:
            with self._mutex:
                self._running.discard(line)

    def check(self, files: Mapping[str, bytes]) -> SyntaxProblem | None:
        """Compile every file in a sandbox, running nothing: the first problem, or None.

        A source that its sandbox does not survive has one, too. Raises Overloaded, ExecutorLost.
        """
        packets = protocol.frames(protocol.REQUEST, packing.compilation(files, CHECK_LIMITS))
        line, decoder = self._accepted_line(packets[0], CHECK_LIMITS)
        with line:
            line.deadline = time.monotonic() + CHECK_LIMITS.wall_ms / 1000
            try:
                end = _exchange(line, decoder, packets[1:], _COMPILING)
            except (BadFrame, DeadlinePassed) as error:
                return too_much(str(error))
        if isinstance(end, Begun | Chunk):
            return too_much("the sandbox ran what it should have compiled")
        return problem_of(end, CHECK_LIMITS)

    def ping(self) -> None:
        """Prove that a sandbox answers; raises as `check` does, and PlatformError if it does not survive a nothing."""
        if problem := self.check({"main.lua": b"return nil"}):
            raise PlatformError(f"a sandbox was asked for nothing and failed: {problem.message}")

    def _accepted_line(self, first: bytes, limits: Limits) -> tuple[Line, Decoder]:
        """A line that a sandbox has accepted, with ``first`` sent; Overloaded or ExecutorLost if there is none in time.

        Until ACCEPTED no byte of the script was read: a sandbox that dies there, with its zygote, costs a new try only.
        """
        deadline = time.monotonic() + self._queue_ms / 1000
        while True:
            line, decoder = Line(deadline), Decoder(limits)
            try:
                line.connect(self._address)
                if line.send(first) and isinstance(_next_message(line, decoder), Accepted):
                    return line, decoder
            except DeadlinePassed:
                line.close()
                raise Overloaded(f"no sandbox was free within {self._queue_ms} ms") from None
            except (OSError, BadFrame) as error:
                line.close()
                raise ExecutorLost from error  # its message is for anybody: no path of this machine
            line.close()


_COMPILING = _Handlers(lambda _: None, NO_HOST_CALLS)  # which writes no logs and calls nobody


def _hear(
    line: Line, decoder: Decoder, limits: Limits, handlers: _Handlers, packets: Iterable[bytes]
) -> Run | Begun | Chunk:
    """How a run ended; or its answer has begun, or goes on."""
    try:
        heard = _exchange(line, decoder, packets, handlers)
    except DeadlinePassed:
        return Run(Outcome.TIMEOUT, detail=f"exceeded the wall clock limit of {limits.wall_ms} ms")
    except BadAnswer as error:
        return Run(Outcome.BAD_RESPONSE, detail=str(error))
    except BadFrame as error:
        return Run(Outcome.SANDBOX_CRASH, detail=f"the sandbox did not keep to the protocol: {error}")
    return heard if isinstance(heard, Begun | Chunk) else run_of(heard, limits)


def _exchange(line: Line, decoder: Decoder, packets: Iterable[bytes], handlers: _Handlers) -> End | Begun | Chunk:
    """Send the packets, then read to the end or to a part of the answer, doing what is asked for.

    DeadlinePassed, BadFrame.
    """
    _send_all(line, packets)
    while True:
        message = _next_message(line, decoder)
        if isinstance(message, Log):
            handlers.on_log(LogLine(datetime.now(UTC), message.level, message.message, message.fields))
        elif isinstance(message, Call):
            _send_all(line, protocol.frames(protocol.REPLY, _reply(handlers.host_calls, message, line.deadline)))
        elif isinstance(message, Accepted):
            raise BadFrame("accepted twice")
        else:
            return message


def _send_all(line: Line, packets: Iterable[bytes]) -> None:
    for packet in packets:
        if not line.send(packet):
            return  # it died; why can still be read


def _reply(host_calls: HostCalls, call: Call, deadline: float) -> bytes:
    try:
        values = host_calls.call(call.name, call.arguments, deadline)
    except HostCallRefused as refused:
        return packing.refusal(str(refused))
    size, most = sum(map(len, values)), protocol.REPLY_BYTES_MAX
    if size > most:
        return packing.refusal(f"{call.name}: {size} bytes are more than it may bring back ({most})")
    return packing.reply(values)


def _next_message(line: Line, decoder: Decoder) -> Message | None:
    while packet := line.receive():
        if message := decoder.feed(packet):
            return message
    return None


def _ms_since(started: float) -> float:
    return (time.monotonic() - started) * 1000
