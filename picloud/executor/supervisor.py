"""picloud-executor: holds the listening socket and keeps a zygote behind it.

Owns: the zygote's life and the report of the protections. Reads no byte of a script; no PostgreSQL, no secrets.
The socket outlives the zygote: who waits in its backlog is served by the next one.
At rest it sleeps in one `select` without a timeout.
"""

import contextlib
import logging
import os
import selectors
import signal
import sys
import time

import prctl

from picloud import readiness
from picloud import settings as settings_module
from picloud.errors import ConfigurationError, PicloudError, PlatformError
from picloud.executor import launch, listener, protections
from picloud.executor.parking import parking_socket
from picloud.executor.wakeups import Wakeups
from picloud.settings import ServerSettings

EXIT_UNPROTECTED = 78  # the zygote's: a required layer is missing
_QUICK_DEATH_S = 1.0
_PAUSE_S = (0.0, 0.1, 0.5, 2.0, 10.0)  # before a start, after that many quick deaths in a row

log = logging.getLogger("picloud.executor")


def main() -> int:
    """Entry point of picloud-executor: serves until SIGTERM; 1 and a message if it cannot, 2 for a wrong setting."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(name)s: %(message)s")
    try:
        settings = settings_module.load()
        with Supervisor(settings) as supervisor:
            return supervisor.run()
    except ConfigurationError as error:
        log.error("cannot start: %s", error)  # noqa: TRY400 - a person reads this, not a traceback
        return 2
    except (PicloudError, OSError) as error:
        log.error("cannot start: %s", error)  # noqa: TRY400 - a person reads this, not a traceback
        return 1


class Supervisor:
    """One listening socket, one zygote at a time."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.identity = launch.identity(settings.sandbox_user)
        self.report_file = settings.protections_file
        self.stopping = False
        self.zygote: Zygote | None = None
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> "Supervisor":
        with contextlib.ExitStack() as undo:
            listener.own_folder(self.settings.executor_run)
            undo.callback(os.close, listener.only_one(self.settings.executor_run / "executor.lock"))
            sockets = listener.bound(
                (
                    self.settings.executor_socket,
                    parking_socket(self.settings.executor_socket),
                    self.settings.reserve_socket,
                ),
                undo,
            )
            self.listener, self.parking, self.reserve = sockets
            undo.callback(self.report_file.unlink, missing_ok=True)
            self.wakeups = undo.enter_context(Wakeups((signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)))
            self.selector = undo.enter_context(selectors.DefaultSelector())
            self._cleanup = undo.pop_all()
        prctl.set_child_subreaper(1)  # orphans of a dead zygote come to us: none can hide
        self.selector.register(self.wakeups.reader, selectors.EVENT_READ, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        with self._cleanup:
            if self.zygote:
                self.zygote.end()
                self.zygote = None
            _reap_all()

    def run(self) -> int:
        """Keep a zygote until told to stop; PlatformError if it may not serve on this machine."""
        quick_deaths = 0
        while not self._told_to_stop_within(_PAUSE_S[min(quick_deaths, len(_PAUSE_S) - 1)]):
            started_at = time.monotonic()
            self._live_through_one()
            quick_deaths = quick_deaths + 1 if time.monotonic() - started_at < _QUICK_DEATH_S else 0
        return 0

    def _live_through_one(self) -> None:
        """Start a zygote and stay until it has ended or we are told to stop."""
        zygote = self.zygote = Zygote(self._start())
        for descriptor, handler in ((zygote.started.status, self._on_status), (zygote.started.log, self._on_log)):
            self.selector.register(descriptor, selectors.EVENT_READ, handler)
        while not self.stopping and zygote.exit_status is None:
            self._handle(None)
        if self.stopping:
            return
        for descriptor in (zygote.started.status, zygote.started.log):
            self._drain(descriptor)
        self.zygote = None
        if os.waitstatus_to_exitcode(zygote.exit_status or 0) == EXIT_UNPROTECTED:
            raise PlatformError(_unprotected(zygote.protections))
        log.error("the zygote ended (%s); starting another", _ending(zygote.exit_status or 0))

    def _start(self) -> launch.Started:
        return launch.start(
            "zygote",
            self.identity,
            self.settings.policy.maxima,
            launch.Share(
                self.settings.pool_spare,
                self.settings.pool_max,
                self.settings.parked_max,
                self.settings.reserve,
                (self.listener.fileno(), self.parking.fileno(), self.reserve.fileno()),
            ),
        )

    def _told_to_stop_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self.stopping and (left := deadline - time.monotonic()) > 0:
            self._handle(left)
        return self.stopping

    def _handle(self, timeout_s: float | None) -> None:
        for key, _ in self.selector.select(timeout_s):
            key.data(key.fd)

    def _drain(self, descriptor: int) -> None:
        """Read what the dead left behind, then close."""
        while descriptor in self.selector.get_map():
            self.selector.get_map()[descriptor].data(descriptor)

    def _on_signal(self, _: int) -> None:
        for number in self.wakeups.read():
            self.stopping |= number in (signal.SIGTERM, signal.SIGINT)
        if self.zygote:
            self.zygote.bury_if_dead()
        _reap_orphans(self.zygote.started.pid if self.zygote and self.zygote.exit_status is None else 0)

    def _on_log(self, descriptor: int) -> None:
        for line in self._lines(descriptor):
            log.warning("%s", line)

    def _on_status(self, descriptor: int) -> None:
        assert self.zygote
        for line in self._lines(descriptor):
            if found := protections.parse(line):
                self.zygote.protections.append(found)
            elif line == "ready":
                self._ready(self.zygote.protections)

    def _lines(self, descriptor: int) -> list[str]:
        """The whole lines that arrived; at the end of the stream it is closed."""
        assert self.zygote
        chunk = os.read(descriptor, 65536)
        if not chunk:
            self.selector.unregister(descriptor)
            os.close(descriptor)
        *lines, self.zygote.unfinished[descriptor] = (self.zygote.unfinished.get(descriptor, b"") + chunk).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def _ready(self, found: list[protections.Protection]) -> None:
        protections.write(self.report_file, found)
        missing = [f"{item.name} ({item.reason})" for item in found if not item.active]
        held = ", ".join(item.name for item in found if item.active)
        log.info("serving on %s; protected by %s", self.settings.executor_socket, held)
        if missing:
            log.warning("weaker than it could be, without %s; see 'picloud doctor'", "; ".join(missing))
        readiness.tell(readiness.READY)


class Zygote:
    """One life of a zygote, as its supervisor sees it."""

    def __init__(self, started: launch.Started) -> None:
        self.started = started
        self.protections: list[protections.Protection] = []
        self.unfinished: dict[int, bytes] = {}  # descriptor → the beginning of a line
        self.exit_status: int | None = None  # as waitpid gives it: a wait status, not an exit code

    def end(self) -> None:
        """Kill it and its sandboxes, and wait."""
        os.kill(self.started.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.started.pid, os.WEXITED | os.WNOWAIT)
        self.bury_if_dead()

    def bury_if_dead(self) -> None:
        """If it has ended: kill who is left of its process group, then reap it; in that order the number is ours."""
        pid = self.started.pid
        if self.exit_status is not None or not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        self.exit_status = os.waitpid(pid, 0)[1]


def _reap_orphans(zygote: int) -> None:
    """Bury what dead zygotes left to us; the living one, if it ended just now, has a signal of its own under way."""
    with contextlib.suppress(ChildProcessError):
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)) and dead.si_pid != zygote:
            os.waitpid(dead.si_pid, 0)


def _reap_all() -> None:
    """Wait until no process of ours is left; all of them are killed already."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _unprotected(found: list[protections.Protection]) -> str:
    missing = [item for item in found if item.required and not item.active]
    reasons = "; ".join(f"{item.name}: {item.reason}" for item in missing) or "no report"
    advice = "; ".join(dict.fromkeys(item.advice for item in missing if item.advice))
    return f"refusing to run scripts unprotected ({reasons}). {advice or 'It is unknown why'}; see 'picloud doctor'"


def _ending(status: int) -> str:
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"


if __name__ == "__main__":
    sys.exit(main())
