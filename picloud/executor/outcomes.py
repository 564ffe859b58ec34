"""What the end of a conversation with a sandbox means, as a run or as a problem of a source.

Owns: the meaning of answers, failures, signals and silence. Pure. Knows nothing of sockets and clocks.
"""

from dataclasses import replace
from signal import Signals

from picloud.errors import ExecutorLost
from picloud.executor.said import Answered, Compiled, Died, Ended, Failed
from picloud.model import Limits, Outcome, Response, Run, SyntaxProblem
from sandbox import protocol

End = Answered | Ended | Compiled | Failed | Died | None
"""How a conversation ended; None: without last words, so the zygote died too."""

_OF_FAILURE = {
    protocol.SCRIPT_ERROR: Outcome.SCRIPT_ERROR,
    protocol.FINAL_ERROR: Outcome.SCRIPT_ERROR,
    protocol.SYNTAX_ERROR: Outcome.SCRIPT_ERROR,
    protocol.MEMORY_LIMIT: Outcome.MEMORY_LIMIT,
    protocol.BAD_RESPONSE: Outcome.BAD_RESPONSE,
    protocol.INVALID_REQUEST: Outcome.INVALID_REQUEST,
}


def run_of(end: End, limits: Limits) -> Run:
    """The end of a run as what became of it; its two clocks are for the caller to read."""
    if isinstance(end, Answered):
        response = Response(end.status, end.headers, end.body)
        return _measured(Run(Outcome.OK, response, committed=end.committed, retry=end.retry), end)
    if isinstance(end, Ended):
        return _measured(Run(Outcome.OK), end)
    if isinstance(end, Failed):
        where = f"{end.file}:{end.line}: " if end.kind == protocol.SYNTAX_ERROR else ""  # the others carry their own
        retry = end.kind != protocol.FINAL_ERROR
        run = Run(_OF_FAILURE[end.kind], retry=retry, detail=where + end.message, traceback=end.traceback)
        return _measured(run, end)
    if isinstance(end, Died):
        outcome, detail = death(end, limits)
        return _measured(Run(outcome, detail=detail), end)
    if isinstance(end, Compiled):
        return Run(Outcome.SANDBOX_CRASH, detail="the sandbox compiled what it should have run")
    return Run(Outcome.EXECUTOR_LOST, detail="the executor died while the script ran")


def _measured(run: Run, end: Answered | Ended | Failed | Died) -> Run:
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


def problem_of(end: End, limits: Limits) -> SyntaxProblem | None:
    """The end of a compilation as what is wrong with the source, or None; ExecutorLost."""
    if isinstance(end, Compiled):
        return None
    if isinstance(end, Failed) and end.kind == protocol.SYNTAX_ERROR:
        return SyntaxProblem(end.file, end.line, end.message)
    if end is None:
        raise ExecutorLost
    return too_much(run_of(end, limits).detail)


def too_much(reason: str) -> SyntaxProblem:
    """The source is at fault: a sandbox that only compiles ends like that over a bomb."""
    return SyntaxProblem("main.lua", 1, f"it cannot be compiled within the limits: {reason}")
