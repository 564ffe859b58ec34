"""picloud-dispatcher: the process that runs jobs when they are due.

Owns: its life. What is done in it is a `Service`, which `picloud.wiring.jobs` puts together. No HTTP is served here, so
no module of it is imported, and the process stays small.

It goes on while the database is away, and when it ends for another reason it is started again: what it was running is
nobody's from that moment on (a job is held by a lock, and by nothing else), and is claimed by the next one.
At rest it sleeps in polls without a timeout.
"""

import argparse
import logging
import os
import resource
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from picloud import log, readiness
from picloud import settings as settings_module
from picloud.errors import ConfigurationError
from picloud.executor.wakeups import Wakeups
from picloud.settings import ServerSettings
from picloud.wiring.jobs import build

_ABORT_S = 0.7  # for those that are ended then, to be put back
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_FILES = 65_536  # open at once: a job takes a few

_log = logging.getLogger("picloud.dispatcher")


class Service(Protocol):
    """What is done in it."""

    def start(self) -> None:
        """Before all else."""

    def run(self) -> None:
        """In a thread of its own: until `begin_stop`, and then until what is under way has ended."""

    def reload(self) -> None:
        """Read the configuration again, soon; must not wait."""

    def begin_stop(self) -> None:
        """Begin nothing more."""

    def abort(self) -> None:
        """End what is still under way."""

    def stop(self) -> None:
        """After all else: write what is left. What it does is cut short a second after that."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: runs jobs until SIGTERM or SIGINT; 2 if the configuration is not valid.

    SIGHUP: read it again. Schedules are applied; for other settings it ends, with 0, and is to be started again.
    """
    log.set_up()
    after_s = _parsed(arguments).after
    with Wakeups(_SIGNALS) as signals:
        if _told_to_stop_within(signals, after_s):
            return 0
        try:
            settings = settings_module.load()
            service = build(settings)
        except ConfigurationError as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
        _allow_files()
        life = Life(service, signals, drain_s=settings.drain_ms / 1000, is_outdated=partial(_is_outdated, settings))
        status = life.run()
    if not life.is_whole:  # a thread that still runs a job would be waited for
        logging.shutdown()
        os._exit(status)
    return status


class Life:
    """From the start of a service to its end."""

    def __init__(
        self, service: Service, signals: Wakeups, *, drain_s: float, is_outdated: Callable[[], bool] = lambda: False
    ) -> None:
        self._service = service
        self._is_outdated = is_outdated  # whether another one would be made of other settings
        self._drain_s = drain_s  # for jobs that run, when it is told to stop
        self._signals = signals
        self._ended = os.eventfd(0, os.EFD_CLOEXEC)  # readable when the service has ended
        self._has_ended = self._told_to_stop = False
        self.is_whole = True  # nothing is left of it that may still be at work
        self._poller = select.poll()
        for descriptor in (signals.reader, self._ended):
            self._poller.register(descriptor, select.POLLIN)

    def run(self) -> int:
        """Until it is told to stop → 0; or until the service ends by itself → 1."""
        self._service.start()
        threading.Thread(target=self._run, name="jobs", daemon=True).start()
        readiness.tell(readiness.READY)
        while not (self._told_to_stop or self._has_ended):
            self._turn(None)
        broken = self._has_ended
        self._stop()
        self.is_whole = self._has_ended and not broken
        return 1 if broken else 0

    def _stop(self) -> None:
        readiness.tell(readiness.STOPPING)
        self._service.begin_stop()
        if not self._ends_within(self._drain_s):
            self._service.abort()
            if not self._ends_within(_ABORT_S):
                _log.warning("stopping, though jobs have not ended: they run again later")
        self._service.stop()

    def _run(self) -> None:
        try:
            self._service.run()
        except Exception:  # noqa: BLE001 - whatever it was, who started this process is to know that it is over
            _log.exception("no job is run any more")
        finally:
            os.eventfd_write(self._ended, 1)

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self._has_ended and (left_s := deadline - time.monotonic()) > 0:
            self._turn(left_s)
        return self._has_ended

    def _turn(self, timeout_s: float | None) -> None:
        ready = [descriptor for descriptor, _ in self._poller.poll(None if timeout_s is None else timeout_s * 1000)]
        if self._ended in ready:
            self._has_ended = True
            self._poller.unregister(self._ended)
        numbers = self._signals.read()
        self._told_to_stop |= signal.SIGTERM in numbers or signal.SIGINT in numbers
        if signal.SIGHUP in numbers and not self._told_to_stop:
            self._told_to_stop = self._is_outdated()  # it ends once its jobs have, and is started again
            if not self._told_to_stop:
                self._service.reload()


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "picloud-dispatcher", description="Run jobs when they are due.", allow_abbrev=False
    )
    parser.add_argument(
        "--after", metavar="SECONDS", type=float, default=0.0, help="wait before anything else, so long"
    )
    return parser.parse_args(arguments)


def _is_outdated(settings: ServerSettings) -> bool:
    try:
        return settings_module.load() != settings
    except ConfigurationError as error:
        _log.error("the configuration is not used, that of before goes on: %s", error)
        return False


def _told_to_stop_within(signals: Wakeups, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    poller = select.poll()
    poller.register(signals.reader, select.POLLIN)
    while (left_s := deadline - time.monotonic()) > 0:
        poller.poll(left_s * 1000)
        if {signal.SIGTERM, signal.SIGINT} & {*signals.read()}:
            return True
    return False


def _allow_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES), hard))


if __name__ == "__main__":
    sys.exit(main())
