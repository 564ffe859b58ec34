"""gunicorn's arbiter, blocking: it wakes up for signals, of which a worker's death is one, and for nothing else.

Replaces the waiting in gunicorn 27.0.1's arbiter.py: `wait_for_signals` wakes up each second to look at its workers.
With `timeout=0` there is nothing to look at.
"""

import os
import select
import signal
import sys
from typing import Any

from gunicorn import systemd
from gunicorn.arbiter import Arbiter as GunicornArbiter
from gunicorn.errors import HaltServer


class Pipe:
    """Both ends, never blocking."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self.writer, False)

    def drain(self) -> None:
        """Forget what was written."""
        try:
            while os.read(self.reader, 4096):
                pass
        except BlockingIOError:
            pass


class Lifeline(Pipe):
    """Only the arbiter holds the write end, and writes nothing: the workers' ends say when it stops or dies."""

    def in_child(self) -> int:
        """Let go of the write end → the descriptor that becomes readable when the arbiter is gone."""
        os.close(self.writer)
        return self.reader

    def cut(self) -> None:
        """The arbiter stops."""
        os.close(self.writer)


def _status(code: object) -> int:
    return code & 0xFF if isinstance(code, int) else 0 if code is None else 1


class Arbiter(GunicornArbiter):  # type: ignore[misc] # gunicorn has no types
    """Starts workers and replaces the dead."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.lifeline = Lifeline()
        self._wakeup = Pipe()
        self._leaving: dict[int, Any] = {}  # workers that were told to go, while they finish their requests
        self._stopping = False

    # ── sleeping ────────────────────────────────────────────────────────────────────────────────────────────────────

    def init_signals(self) -> None:
        """Also have the kernel's side of each signal write to our pipe.

        A signal that lands just before the wait would be lost otherwise: Python runs its handlers between bytecodes.
        """
        super().init_signals()
        signal.set_wakeup_fd(self._wakeup.writer, warn_on_full_buffer=False)

    def wait_for_signals(self, timeout: float = 1.0) -> list[int]:  # noqa: ARG002 - gunicorn's signature
        """Block until there is a signal, without gunicorn's timeout of a second.

        Handlers fill SIG_QUEUE. One that is due runs before the loop's next turn, so an empty queue means that the
        next signal will find the pipe empty, too, and wake us.
        """
        poller = select.poll()
        poller.register(self._wakeup.reader, select.POLLIN)
        while self.SIG_QUEUE.empty():
            poller.poll()
            self._wakeup.drain()
        return list(super().wait_for_signals(timeout=0))

    def wakeup(self) -> None:
        """From other threads: gunicorn's puts into the queue, which nobody waits on here."""
        super().wakeup()
        os.write(self._wakeup.writer, b"\0")

    # ── workers ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def spawn_worker(self) -> Any:
        """Fork with signals held back, and end the child here.

        Until a worker has handlers of its own (Worker.init_signals lets signals in), the arbiter's are in force in it:
        a SIGTERM in that moment would be put into a queue that it never reads.
        gunicorn's child leaves by SystemExit through every frame of the arbiter and of whoever called it, and then
        waits for its threads.
        """
        arbiter = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, self.SIGNALS)
        try:
            return super().spawn_worker()
        except SystemExit as end:
            if os.getpid() != arbiter:
                sys.stderr.flush()
                os._exit(_status(end.code))
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self.SIGNALS)

    def kill_worker(self, pid: int, sig: int) -> None:
        """A worker that is told to go counts no longer.

        gunicorn tells it again at every event, does not replace the dead while it is there, and blocks in `reload`
        until it is gone: with requests of minutes, that matters.
        """
        super().kill_worker(pid, sig)
        if sig == signal.SIGTERM and not self._stopping and pid in self.WORKERS:
            self._leaving[pid] = self.WORKERS.pop(pid)

    def reap_workers(self) -> None:
        """Reap the leaving, too; a second worker that could not start is no reason to break off stopping."""
        self.WORKERS.update(self._leaving)
        try:
            super().reap_workers()
        except HaltServer:
            if not self._stopping:
                raise
        finally:
            self._leaving = {pid: self.WORKERS.pop(pid) for pid in self._leaving if pid in self.WORKERS}

    def stop(self, graceful: bool = True) -> None:
        """Cut the lifeline, which tells workers that time is short, and wait for the leaving, too."""
        if not self._stopping:
            self._stopping = True
            systemd.sd_notify("STOPPING=1", self.log)
            self.lifeline.cut()
        self.WORKERS.update(self._leaving)
        self._leaving.clear()
        super().stop(graceful)

    def handle_usr2(self) -> None:
        """gunicorn would start a second arbiter beside this one. A socket of systemd's makes a restart as seamless."""
        self.log.warning("SIGUSR2 is ignored: restart instead")
