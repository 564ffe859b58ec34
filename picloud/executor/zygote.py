"""One life of a zygote, as its supervisor sees it.

Owns: its process, and the two pipes on which it reports and says what people should read. Starts nothing by itself.
"""

import contextlib
import os
import signal

from picloud.executor import launch, protections


class Zygote:
    """From its start until it is buried."""

    def __init__(self, started: launch.Started) -> None:
        self.pid = started.pid
        self.status, self.log = started.status, started.log  # descriptors
        self.protections: list[protections.Protection] = []
        self.is_retiring = False
        self.exit_status: int | None = None  # as waitpid gives it: a wait status, not an exit code
        self._unfinished: dict[int, bytes] = {}  # descriptor → the beginning of a line

    def lines(self, descriptor: int) -> list[str] | None:
        """The whole lines that have arrived; None at the end of the stream, which is closed then."""
        chunk = os.read(descriptor, 65536)
        if not chunk:
            os.close(descriptor)
            return None
        *lines, self._unfinished[descriptor] = (self._unfinished.get(descriptor, b"") + chunk).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def retire(self) -> None:
        """Have it take nobody new, finish what runs, and end; see `sandbox.retiring`."""
        self.is_retiring = True
        os.kill(self.pid, signal.SIGTERM)

    def end(self) -> None:
        """Kill it and its sandboxes, and wait."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self.bury_if_dead()

    def bury_if_dead(self) -> None:
        """If it has ended: kill who is left of its process group, then reap it; in that order the number is ours."""
        if self.exit_status is not None or not os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.exit_status = os.waitpid(self.pid, 0)[1]

    @property
    def ending(self) -> str:
        """How it ended, for people."""
        status = self.exit_status or 0
        return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
