"""The processes of an all-in-one PiCloud: started in order, each in a session of its own, stopped in reverse.

Ctrl-C signals a whole foreground group: PostgreSQL and the sandboxes would die before the last records are written.
So each part has its own session, and `up` alone tells it to stop. If `up` is killed, the kernel stops the parts.
"""

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import prctl

from picloud.errors import PlatformError
from picloud.settings import ServerSettings

_START_MS = 30_000


class Part:
    """One Python process of ours that says READY=1 when it serves (the protocol of systemd's sd_notify)."""

    def __init__(self, name: str, module: str, environment: dict[str, str], notify: Path, stop_s: float) -> None:
        self.name = name
        self._argv = [sys.executable, "-m", module]
        self._environment = {**environment, "NOTIFY_SOCKET": str(notify)}
        self._notify = notify
        self._stop_s = stop_s  # how long it may take to end
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """0 if it does not run."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it and wait until it is ready; PlatformError if it ends instead."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            self._notify.unlink(missing_ok=True)
            ready.bind(str(self._notify))
            self._process = subprocess.Popen(
                self._argv, env=self._environment, start_new_session=True, preexec_fn=_stop_with_parent
            )
            self._wait_until_ready(ready)

    def stop(self) -> None:
        """Ask it to end, wait, and end it by force if it takes too long."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(self._stop_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None

    def reap(self) -> int:
        """Take note that it ended → its exit status."""
        assert self._process
        return self._process.wait()

    def _wait_until_ready(self, ready: socket.socket) -> None:
        assert self._process
        ended = os.pidfd_open(self._process.pid)
        try:
            poller = select.poll()
            for descriptor in (ready.fileno(), ended):
                poller.register(descriptor, select.POLLIN)
            while True:
                events = dict(poller.poll(_START_MS))
                if ready.fileno() in events and b"READY=1" in ready.recv(4096):
                    return
                if ended in events:
                    raise PlatformError(
                        f"the {self.name} did not start (exit status {self._process.wait()}); see above"
                    )
                if not events:
                    raise PlatformError(f"the {self.name} was not ready after {_START_MS // 1000} s; see above")
        finally:
            os.close(ended)
            self._notify.unlink(missing_ok=True)


def executor_part(settings: ServerSettings) -> Part:
    """The pool of sandboxes. It is told nothing of the database."""
    known = settings.environment()
    del known["PICLOUD_DATABASE_URL"]
    return Part("executor", "picloud.executor.supervisor", known, settings.run_dir / "notify", stop_s=1.0)


def server_part(settings: ServerSettings) -> Part:
    """HTTP: gunicorn with its workers."""
    return Part("server", "picloud.server", settings.environment(), settings.run_dir / "notify", stop_s=4.0)


def _stop_with_parent() -> None:
    prctl.set_pdeathsig(signal.SIGTERM)
