"""What this machine gives: proves the layers that can only be proven by breaking them, and reports all of them.

Owns: the proofs, the report's form, and `main`: lock down as the zygote does, report, exit. `picloud doctor` runs that
in a process of its own, since a feature is only known where it is applied.
"""

import os
import signal

from sandbox import seccomp
from sandbox.init import start_init
from sandbox.lockdown import Layer, LockDown, lock_down
from sandbox.options import Options


def main(words: list[str]) -> int:
    """Apply every layer to this process, tell the status pipe, and exit: 0 if it would be enough to serve."""
    options = Options(words)
    filter_ = seccomp.Filter()
    locked = lock_down(options.uid, options.gid, options.supervisor, options.memory_bytes_max, options.most)
    if locked.holds("pid-namespace"):
        start_init()
    prove(locked, filter_)
    report(locked.layers, options.status)
    return 0 if locked.sufficient else 1


def prove(locked: LockDown, filter_: seccomp.Filter) -> None:
    """Fork two that misbehave: one makes a forbidden call and must die of it, one waits and must be killable."""
    locked.attempt("seccomp", lambda: _prove_seccomp(filter_), required=True)
    locked.attempt("kill", _prove_kill, required=True)


def report(layers: list[Layer], status: int) -> None:
    """Write each layer's state as a line of five words between tabs: ``layer``, name, active, required, reason."""
    for layer in layers:
        reason = " ".join(layer.reason.split())
        os.write(status, f"layer\t{layer.name}\t{layer.active:d}\t{layer.required:d}\t{reason}\n".encode())


def _prove_seccomp(filter_: seccomp.Filter) -> str:
    pid = os.fork()
    if pid == 0:
        try:
            filter_.install()
            os.getppid()
        finally:
            os._exit(1)
    if os.WTERMSIG(os.waitpid(pid, 0)[1]) != signal.SIGSYS:
        raise PermissionError("a forbidden system call did not end the process")
    return f"{len(seccomp.POLICY)} system calls allowed; any other ends the sandbox"


def _prove_kill() -> str:
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(1)
    os.kill(pid, signal.SIGKILL)
    if os.WTERMSIG(os.waitpid(pid, 0)[1]) != signal.SIGKILL:
        raise PermissionError("a sandbox could not be killed")
    return "a sandbox can be ended at any time"
