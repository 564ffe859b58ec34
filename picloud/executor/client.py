"""The caller's side of a sandbox: send a program, read what it says, and know how it ended.

Owns: the conversation, its two clocks, and what each end means as a `model.Outcome`. Knows nothing of HTTP or storage.
`queue_ms` runs from the call until a sandbox has accepted, the script's `wall_ms` from there. At a deadline we close,
and the zygote, which holds a duplicate of the connection, kills the sandbox.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from signal import Signals

from picloud.errors import ExecutorLost, Overloaded, PlatformError
from picloud.executor import packing
from picloud.executor.frames import (
    Accepted,
    Answered,
    BadAnswer,
    BadFrame,
    Compiled,
    Decoder,
    Died,
    Failed,
    Log,
    Message,
)
from picloud.executor.line import DeadlinePassed, Line
from picloud.model import Limits, LogLine, Outcome, Program, Request, Response, Run, SyntaxProblem
from sandbox import protocol

CHECK_LIMITS = Limits(wall_ms=5_000, cpu_ms=2_000)  # of a compilation

_OF_FAILURE = {
    protocol.SCRIPT_ERROR: Outcome.SCRIPT_ERROR,
    protocol.SYNTAX_ERROR: Outcome.SCRIPT_ERROR,
    protocol.MEMORY_LIMIT: Outcome.MEMORY_LIMIT,
    protocol.BAD_RESPONSE: Outcome.BAD_RESPONSE,
    protocol.INVALID_REQUEST: Outcome.INVALID_REQUEST,
}

OnLog = Callable[[LogLine], None]
End = Answered | Compiled | Failed | Died | None
"""How a conversation ended; None: without last words, so the zygote died too."""


class SandboxClient:
    """Runs programs in sandboxes of the executor that listens on ``socket_path``; threads may share it."""

    def __init__(self, socket_path: Path, *, queue_ms: int) -> None:
        self._address = str(socket_path)
        self._queue_ms = queue_ms
        self._mutex = threading.Lock()  # over what follows
        self._running: set[Line] = set()
        self._aborted = False

    def run(self, program: Program, request: Request, on_log: OnLog) -> Run:
        """Run ``program`` once in a sandbox of its own. Raises nothing for what a script, sandbox or executor does.

        ``on_log`` is called in this thread with each line as it arrives; what it raises ends the run.
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
        with line, self._abortable(line):
            line.deadline = accepted + limits.wall_ms / 1000
            run = _run_outcome(line, decoder, packets[1:], limits, on_log)
        if self._aborted and run.outcome is Outcome.EXECUTOR_LOST:
            run = replace(run, detail="the server was stopped while the script ran")
        return replace(run, queue_ms=queue_ms, run_ms=_ms_since(accepted))

    def abort(self) -> None:
        """End every run that is under way, and each that follows: EXECUTOR_LOST. For a server that stops."""
        with self._mutex:
            self._aborted = True
            for line in self._running:
                line.abort()

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
                end = _exchange(line, decoder, packets[1:], _ignore)
            except (BadFrame, DeadlinePassed) as error:
                return _too_much(str(error) or "it takes too long")
        return _problem(end)

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


def _run_outcome(line: Line, decoder: Decoder, packets: list[bytes], limits: Limits, on_log: OnLog) -> Run:
    try:
        end = _exchange(line, decoder, packets, on_log)
    except DeadlinePassed:
        return Run(Outcome.TIMEOUT, detail=f"exceeded the wall clock limit of {limits.wall_ms} ms")
    except BadAnswer as error:
        return Run(Outcome.BAD_RESPONSE, detail=str(error))
    except BadFrame as error:
        return Run(Outcome.SANDBOX_CRASH, detail=f"the sandbox did not keep to the protocol: {error}")
    return _run_of(end, limits)


def _exchange(line: Line, decoder: Decoder, packets: Iterable[bytes], on_log: OnLog) -> End:
    """Send the rest of the request, then read to the end. DeadlinePassed, BadFrame."""
    for packet in packets:
        if not line.send(packet):
            break  # it died; why can still be read
    while True:
        message = _next_message(line, decoder)
        if isinstance(message, Log):
            on_log(LogLine(datetime.now(UTC), message.level, message.message, message.fields))
        elif isinstance(message, Accepted):
            raise BadFrame("accepted twice")
        else:
            return message


def _next_message(line: Line, decoder: Decoder) -> Message | None:
    while packet := line.receive():
        if message := decoder.feed(packet):
            return message
    return None


def _run_of(end: End, limits: Limits) -> Run:
    if isinstance(end, Answered):
        response = Response(end.status, end.headers, end.body)
        return _measured(Run(Outcome.OK, response, committed=end.committed), end)
    if isinstance(end, Failed):
        where = f"{end.file}:{end.line}: " if end.kind == protocol.SYNTAX_ERROR else ""  # the others carry their own
        return _measured(Run(_OF_FAILURE[end.kind], detail=where + end.message, traceback=end.traceback), end)
    if isinstance(end, Died):
        outcome, detail = death(end, limits)
        return _measured(Run(outcome, detail=detail), end)
    if isinstance(end, Compiled):
        return Run(Outcome.SANDBOX_CRASH, detail="the sandbox compiled what it should have run")
    return Run(Outcome.EXECUTOR_LOST, detail="the executor died while the script ran")


def _measured(run: Run, end: Answered | Failed | Died) -> Run:
    return replace(run, cpu_ms=end.cpu_us / 1000, memory_bytes=end.memory_bytes)


def death(end: Died, limits: Limits) -> tuple[Outcome, str]:
    """What a sandbox's end means, and the same for people.

    SIGKILL with last words is none of ours (who hangs up hears none): the kernel, out of memory, or an operator.
    We call it the former if the process had grown to what its script may use.
    """
    if end.signal in (Signals.SIGXCPU, Signals.SIGPROF):
        return Outcome.CPU_LIMIT, f"exceeded the CPU limit of {limits.cpu_ms} ms"
    if end.signal == Signals.SIGSYS:
        return Outcome.SANDBOX_VIOLATION, "the sandbox tried a system call that is forbidden"
    if end.signal == Signals.SIGKILL and end.memory_bytes >= limits.memory_bytes:
        return Outcome.MEMORY_LIMIT, f"killed by the kernel at {end.memory_bytes} bytes of memory"
    if end.signal:
        return Outcome.SANDBOX_CRASH, f"the sandbox was ended by {_signal_name(end.signal)}"
    return Outcome.SANDBOX_CRASH, f"the sandbox exited with status {end.status} without an answer"


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


def _problem(end: End) -> SyntaxProblem | None:
    if isinstance(end, Compiled):
        return None
    if isinstance(end, Failed) and end.kind == protocol.SYNTAX_ERROR:
        return SyntaxProblem(end.file, end.line, end.message)
    if end is None:
        raise ExecutorLost
    return _too_much(_run_of(end, CHECK_LIMITS).detail)


def _too_much(reason: str) -> SyntaxProblem:
    """The source is at fault: a sandbox that only compiles ends like that over a bomb."""
    return SyntaxProblem("main.lua", 1, f"it cannot be compiled within the limits: {reason}")


def _ms_since(started: float) -> float:
    return (time.monotonic() - started) * 1000


def _ignore(_: LogLine) -> None:
    """A compilation writes no logs."""
