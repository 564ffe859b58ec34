"""picloud-executor: holds the listening socket and keeps a zygote behind it.

Owns: the zygote's life and the report of the protections. Reads no byte of a script; no PostgreSQL, no secrets.
The socket outlives the zygote: who waits in its backlog is served by the next one.
At rest it sleeps in one `select` without a timeout.
"""

import contextlib
import dataclasses
import logging
import os
import selectors
import signal
import sys
import time
from functools import partial

import prctl

from picloud import readiness
from picloud import settings as settings_module
from picloud.errors import ConfigurationError, PicloudError, PlatformError
from picloud.executor import launch, listener, protections
from picloud.executor.parking import parking_socket
from picloud.executor.wakeups import Wakeups
from picloud.executor.zygote import Zygote
from picloud.settings import ServerSettings

EXIT_UNPROTECTED = 78  # the zygote's: a required layer is missing
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_QUICK_DEATH_S = 1.0
_PAUSE_S = (0.0, 0.1, 0.5, 2.0, 10.0)  # before a start, after that many quick deaths in a row

log = logging.getLogger("picloud.executor")


def main() -> int:
    """Entry point of picloud-executor: serves until SIGTERM; 1 and a message if it cannot, 2 for a wrong setting.

    SIGHUP: the sandboxes of new callers go by the settings as they are now.
    """
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
    """The listening sockets, and a zygote behind them; for a while two, when one is replaced."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.identity = launch.identity(settings.sandbox_user)
        self.report_file = settings.protections_file
        self.stopping = False
        self.zygotes: list[Zygote] = []  # the one that serves, and those that finish what they do
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
            self.wakeups = undo.enter_context(Wakeups(_SIGNALS))
            self.selector = undo.enter_context(selectors.DefaultSelector())
            self._cleanup = undo.pop_all()
        prctl.set_child_subreaper(1)  # orphans of a dead zygote come to us: none can hide
        self.selector.register(self.wakeups.reader, selectors.EVENT_READ, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        with self._cleanup:
            for zygote in self.zygotes:
                zygote.end()
            _reap_all()

    def run(self) -> int:
        """Keep a zygote until told to stop; PlatformError if it may not serve on this machine."""
        quick_deaths = 0
        while not self._told_to_stop_within(_PAUSE_S[min(quick_deaths, len(_PAUSE_S) - 1)]):
            started_at = time.monotonic()
            try:
                zygote = self._start()
            except OSError as error:
                if not self.zygotes:
                    raise
                log.error("no zygote can be started now, what runs goes on: %s", error)  # noqa: TRY400 - it says all
                quick_deaths += 1
                continue
            while not (self.stopping or zygote.is_retiring or zygote.exit_status is not None):
                self._handle(None)
            if not (self.stopping or zygote.is_retiring):
                self._after_death(zygote)
            is_quick = time.monotonic() - started_at < _QUICK_DEATH_S and not zygote.is_retiring
            quick_deaths = quick_deaths + 1 if is_quick else 0
        self._drain_all()
        return 0

    def _start(self) -> Zygote:
        share = launch.Share(
            self.settings.pool_spare,
            self.settings.pool_max,
            self.settings.parked_max,
            self.settings.reserve,
            (self.listener.fileno(), self.parking.fileno(), self.reserve.fileno()),
        )
        zygote = Zygote(launch.start("zygote", self.identity, self.settings.policy.maxima, share))
        self.zygotes.append(zygote)
        for descriptor, heed in ((zygote.status, self._on_status), (zygote.log, self._on_log)):
            self.selector.register(descriptor, selectors.EVENT_READ, partial(heed, zygote))
        return zygote

    def _after_death(self, zygote: Zygote) -> None:
        for descriptor in (zygote.status, zygote.log):  # read what the dead left behind
            while descriptor in self.selector.get_map():
                self.selector.get_map()[descriptor].data(descriptor)
        if os.waitstatus_to_exitcode(zygote.exit_status or 0) == EXIT_UNPROTECTED:
            raise PlatformError(_unprotected(zygote.protections))
        log.error("the zygote ended (%s); starting another", zygote.ending)

    def _drain_all(self) -> None:
        """Told to stop: what runs may finish. Told again, or when the time is up, the rest is killed at the exit."""
        deadline = time.monotonic() + self.settings.drain_ms / 1000
        self._retire_all()
        self.stopping = False
        while self.zygotes and not self.stopping and (left_s := deadline - time.monotonic()) > 0:
            self._handle(left_s)

    def _retire_all(self) -> None:
        for zygote in self.zygotes:
            if not zygote.is_retiring:
                zygote.retire()

    def _reload(self) -> None:
        """Have the next zygote go by the settings as they are now. The old one's sandboxes finish what they do."""
        try:
            self.settings = _fixed(settings_module.load(), self.settings)
        except ConfigurationError as error:
            log.error("the configuration is not used, that of before goes on: %s", error)  # noqa: TRY400 - it says all
        else:
            self._retire_all()

    def _told_to_stop_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self.stopping and (left := deadline - time.monotonic()) > 0:
            self._handle(left)
        return self.stopping

    def _handle(self, timeout_s: float | None) -> None:
        for key, _ in self.selector.select(timeout_s):
            key.data(key.fd)

    def _on_signal(self, _: int) -> None:
        numbers = self.wakeups.read()
        self.stopping |= signal.SIGTERM in numbers or signal.SIGINT in numbers
        for zygote in self.zygotes:
            zygote.bury_if_dead()
        self.zygotes = [zygote for zygote in self.zygotes if zygote.exit_status is None]
        if signal.SIGHUP in numbers:
            self._reload()
        _reap_orphans({zygote.pid for zygote in self.zygotes})

    def _on_log(self, zygote: Zygote, descriptor: int) -> None:
        for line in self._lines(zygote, descriptor):
            log.warning("%s", line)

    def _on_status(self, zygote: Zygote, descriptor: int) -> None:
        for line in self._lines(zygote, descriptor):
            if found := protections.parse(line):
                zygote.protections.append(found)
            elif line == "ready":
                self._ready(zygote.protections)

    def _lines(self, zygote: Zygote, descriptor: int) -> list[str]:
        lines = zygote.lines(descriptor)
        if lines is None:
            self.selector.unregister(descriptor)
        return lines or []

    def _ready(self, found: list[protections.Protection]) -> None:
        protections.write(self.report_file, found)
        missing = [f"{item.name} ({item.reason})" for item in found if not item.active]
        held = ", ".join(item.name for item in found if item.active)
        log.info("serving on %s; protected by %s", self.settings.executor_socket, held)
        if missing:
            log.warning("weaker than it could be, without %s; see 'picloud doctor'", "; ".join(missing))
        readiness.tell(readiness.READY)


def _fixed(new: ServerSettings, old: ServerSettings) -> ServerSettings:
    """The new ones, but for what holds for the life of this process: where its sockets and its report lie."""
    return dataclasses.replace(new, data=old.data, run=old.run, executor_dir=old.executor_dir)


def _reap_orphans(zygotes: set[int]) -> None:
    """Bury what dead zygotes left to us; a living one, if it ended just now, has a signal of its own under way."""
    with contextlib.suppress(ChildProcessError):
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)) and dead.si_pid not in zygotes:
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


if __name__ == "__main__":
    sys.exit(main())
