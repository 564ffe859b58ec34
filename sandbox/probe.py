"""What this machine gives: proves the layers that can only be proven by breaking them, and reports all of them.

Owns: the proofs, the report's form, and `main`: lock down as the zygote does, report, exit. `picloud doctor` runs that
in a process of its own, since a feature is only known where it is applied.
"""

from __future__ import annotations

import os
import signal

import prctl

from sandbox import limits, seccomp
from sandbox.init import start_init
from sandbox.lockdown import Layer, LockDown, lock_down
from sandbox.options import Options

TYPE_CHECKING = False  # importing typing would cost each fork
if TYPE_CHECKING:
    from collections.abc import Callable

_UNHARMED = 255  # the exit status of one that did what it should not be able to; no errno is as large


def main(words: list[str]) -> int:
    """Apply every layer to this process, tell the status pipe, and exit: 0 if it would be enough to serve."""
    options = Options(words)
    filter_ = seccomp.Filter()
    children_max = options.most + options.parked
    locked = lock_down(options.uid, options.gid, options.supervisor, options.memory_bytes_max, children_max)
    prove(locked, filter_, options.cpu_seconds_max)
    report(locked.layers, options.status)
    return 0 if locked.sufficient else 1


def prove(locked: LockDown, filter_: seccomp.Filter, cpu_seconds_max: int) -> int:
    """Fork some that misbehave, and see that each is stopped as a sandbox would be.

    → pid of the pid namespace's init, which must be there before any other fork; 0 where there is none.
    """
    init = 0
    if locked.holds("pid-namespace"):
        try:
            init = start_init()
        except OSError as error:  # now the namespace is dead, and nothing can be forked to prove the rest
            locked.layers.append(Layer("init", active=False, required=True, reason=str(error)))
            return 0
    locked.attempt("sandbox-limits", lambda: _prove_limits(cpu_seconds_max), required=True)
    locked.attempt("seccomp", lambda: _prove_seccomp(filter_), required=True)
    locked.attempt("kill", _prove_kill, required=True)
    return init


def report(layers: list[Layer], status: int) -> None:
    """Write each layer's state as a line of five words between tabs: ``layer``, name, active, required, reason."""
    for layer in layers:
        reason = " ".join(layer.reason.split())
        os.write(status, f"layer\t{layer.name}\t{layer.active:d}\t{layer.required:d}\t{reason}\n".encode())


def _prove_limits(cpu_seconds_max: int) -> str:
    def misbehave() -> None:
        limits.limit_child(cpu_seconds_max)
        try:
            os.fork()
        except OSError:
            return
        os._exit(_UNHARMED)

    status = _end_of_one_that(misbehave)
    if os.waitstatus_to_exitcode(status) == _UNHARMED:
        raise PermissionError("a process under a sandbox's limits could fork")
    _raise_its_error(status, "the kernel refuses them")
    return "no processes, and the operator's maximum of CPU in each sandbox"


def _prove_seccomp(filter_: seccomp.Filter) -> str:
    def misbehave() -> None:
        filter_.install()
        os.getppid()

    status = _end_of_one_that(misbehave)
    _raise_its_error(status, "the kernel refuses the filter")
    if os.WTERMSIG(status) != signal.SIGSYS:
        raise PermissionError("a forbidden system call did not end the process")
    return f"{len(seccomp.POLICY)} system calls allowed; any other ends the sandbox"


def _prove_kill() -> str:
    pid = _one_that(signal.pause)
    os.kill(pid, signal.SIGKILL)
    if os.WTERMSIG(os.waitpid(pid, 0)[1]) != signal.SIGKILL:
        raise PermissionError("a sandbox could not be killed")
    return "a sandbox can be ended at any time"


def _end_of_one_that(act: Callable[[], object]) -> int:
    """Its wait status: it exits with 0, or with the number of the OSError that it met."""
    return os.waitpid(_one_that(act), 0)[1]


def _one_that(act: Callable[[], object]) -> int:
    """Fork one; it ends with us, whatever it waits for."""
    pid = os.fork()
    if pid == 0:
        status = _UNHARMED - 1
        try:
            prctl.set_pdeathsig(signal.SIGKILL)
            act()
            status = 0
        except OSError as error:
            status = error.errno or status
        finally:
            os._exit(status)
    return pid


def _raise_its_error(status: int, what: str) -> None:
    if os.WIFEXITED(status) and (number := os.WEXITSTATUS(status)):
        raise OSError(number, f"{what}: {os.strerror(number)}")
