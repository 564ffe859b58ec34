"""The processes of an all-in-one PiCloud: started in order, each in a session of its own, stopped in reverse.

Ctrl-C signals a whole foreground group: PostgreSQL and the sandboxes would die before the last records are written.
So each part has its own session, and `up` alone tells it to stop. If `up` is killed, the kernel stops the parts.
"""

import contextlib
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import prctl

from picloud.errors import PlatformError
from picloud.settings import ServerSettings

_START_MS = 30_000
_STOP_S = 1.8  # beside the drain: the rest of a stop
_BACKLOG = 2048
_FIRST_PASSED = 3  # SD_LISTEN_FDS_START
_LISTENING = ("/bin/sh", "-c", 'LISTEN_PID=$$ exec "$0" "$@"')  # systemd's protocol wants the pid in the environment


class Part:
    """One Python process of ours that says READY=1 when it serves (the protocol of systemd's sd_notify)."""

    def __init__(
        self,
        name: str,
        module: str,
        environment: dict[str, str],
        notify: Path,
        stop_s: float,
        listener: int | None = None,
        arguments: Sequence[str] = (),
        log: IO[bytes] | None = None,
    ) -> None:
        self.name = name
        self._argv = [sys.executable, "-P", "-m", module, *arguments]  # -P: a folder's json.py is none of ours
        self._log = log  # where its stderr goes; None: to ours
        self._environment = {**environment, **_where_python_looks(), "NOTIFY_SOCKET": str(notify)}
        self._listener = listener
        if listener is not None:  # passed on as systemd does
            self._argv = [*_LISTENING, *self._argv]
            self._environment["LISTEN_FDS"] = "1"
        self._notify = notify
        self._stop_s = stop_s  # how long it may take to end
        self._stop_by = 0.0  # monotonic, s; 0: it was not asked to
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """0 if it does not run."""
        return self._process.pid if self._process and self._process.returncode is None else 0

    def start(self) -> None:
        """Start it and wait until it is ready; PlatformError if it ends instead."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            self._notify.unlink(missing_ok=True)
            ready.bind(str(self._notify))
            self._process = self._spawn()
            self._wait_until_ready(ready)

    def ask_to_stop(self) -> None:
        """Ask it to end, once."""
        if self._process and not self._stop_by:
            self._stop_by = time.monotonic() + self._stop_s
            self._process.terminate()

    def stop(self) -> None:
        """Ask it to end, wait, and end it by force if it takes too long."""
        process = self._process
        if process is None:
            return
        self.ask_to_stop()
        try:
            process.wait(max(0.0, self._stop_by - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None

    def reap(self) -> int:
        """Take note that it ended → its exit status."""
        assert self._process
        return self._process.wait()

    def _spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        listener = self._listener

        def before_exec() -> None:
            prctl.set_pdeathsig(signal.SIGTERM)
            if listener is not None:
                os.dup2(listener, _FIRST_PASSED)

        self._stop_by = 0.0
        passed = () if listener is None else (_FIRST_PASSED,)
        return subprocess.Popen(
            [*self._argv, *arguments], env=self._environment, start_new_session=True, preexec_fn=before_exec,
            pass_fds=passed, stderr=self._log,
        )  # fmt: skip

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


class Extra(Part):
    """A part that PiCloud does without: nobody waits for it a second time."""

    pause_s = 0  # that it takes itself after a few quick ends; 0: then it is given up

    def start_unawaited(self, after_s: int = 0) -> None:
        """Start it, to do nothing for so long; its end is the next that is heard of it."""
        self._process = self._spawn(*(("--after", str(after_s)) if after_s else ()))


class Tireless(Extra):
    """One that is never given up."""

    pause_s = 5


def _where_python_looks() -> dict[str, str]:
    """What was said of it to us holds for our parts."""
    return {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}


def executor_part(settings: ServerSettings, log: IO[bytes] | None = None) -> Part:
    """The pool of sandboxes. It is told nothing of the database."""
    known = settings.environment()
    del known["PICLOUD_DATABASE_URL"]
    return Part("executor", "picloud.executor.supervisor", known, settings.run_dir / "notify", stop_s=1.0, log=log)


def server_part(settings: ServerSettings, listener: socket.socket) -> Part:
    """HTTP: gunicorn with its workers."""
    notify = settings.run_dir / "notify"
    stop_s = settings.drain_ms / 1000 + _STOP_S
    return Part("server", "picloud.server", settings.environment(), notify, stop_s, listener=listener.fileno())


def dispatcher_part(settings: ServerSettings) -> Tireless:
    """What runs jobs. It reads the configuration's file, too: schedules stand there. Late, it speaks for no other."""
    known = settings.environment() | ({"PICLOUD_CONFIG": settings.config} if settings.config else {})
    stop_s = settings.drain_ms / 1000 + _STOP_S
    return Tireless("dispatcher", "picloud.dispatcher", known, settings.run_dir / "notify-dispatcher", stop_s)


def watcher_part(settings: ServerSettings, folder: Path) -> Extra:
    """What deploys a folder's scripts as they change."""
    known, notify = settings.environment(), settings.run_dir / "notify-watcher"  # late, it speaks for no other
    return Extra("watcher", "picloud.cli.watch", known, notify, stop_s=1.0, arguments=[str(folder.absolute())])


def stop_undisturbed(part: Any) -> None:
    """Stop a part; being asked again does not cut that short."""
    _be_undisturbed()
    part.stop()


def ask_undisturbed(*parts: Part) -> None:
    """Ask parts to stop, one after the other, and wait for none of them."""
    _be_undisturbed()
    for part in parts:
        part.ask_to_stop()


def _be_undisturbed() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def listening(bind: str) -> Iterator[socket.socket]:
    """The socket that HTTP comes in by. It is `up`'s: who calls while the server is started again waits in line."""
    path = bind.removeprefix("unix:") if bind.startswith("unix:") else None
    try:
        listener = _listen_on_path(Path(path)) if path else _listen_on_address(bind)
    except OSError as error:
        raise PlatformError(f"cannot listen on {bind}: {error.strerror or error}; set PICLOUD_BIND") from error
    try:
        yield listener
    finally:
        listener.close()
        if path:
            Path(path).unlink(missing_ok=True)


def _listen_on_address(bind: str) -> socket.socket:
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)


def _listen_on_path(path: Path) -> socket.socket:
    if path.is_socket() and not _answers(path):
        path.unlink()  # its server was killed
    elif path.exists() and not path.is_socket():
        raise FileExistsError(errno.EEXIST, "there is something that is no socket")
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o660)  # whoever may connect is a trusted proxy
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0
