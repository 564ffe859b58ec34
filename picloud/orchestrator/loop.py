"""What a dispatcher does all day: look for jobs that are due, have them run, and sleep until there may be more.

Owns: when to look, and how many run at once. One thread looks; each job that it finds has a thread, which goes on with
the next one until there is none. The loop then asks the database when there will be something, and sleeps until then
or until somebody rings: at rest nothing runs, and no SQL is sent.

No ring is lost: who commits a job rings after it; who rings while every place is taken is remembered, and whoever has
ended looks again.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from picloud.errors import DatabaseUnavailable, PicloudError, TransactionConflict
from picloud.orchestrator.clock import Clock, Woken
from picloud.orchestrator.jobs import Claim

_RETRY_S = (1.0, 15.0)  # while the database is away: the first pause and the longest
_FULL_S = 1.0  # until jobs are begun again of a script that had no place for one

_log = logging.getLogger(__name__)


class Queue(Protocol):
    """Where jobs wait."""

    def claim(self, busy: Collection[str]) -> Claim | None:
        """One that is due, of a script that is not `busy`; DatabaseUnavailable."""

    def next_in_s(self, busy: Collection[str]) -> float | None:
        """When to look again, if nobody rings; None: never. DatabaseUnavailable."""


class Timetable(Protocol):
    """What makes jobs of schedules."""

    def make_due(self) -> None:
        """Make those that are due; DatabaseUnavailable."""

    def rewind(self) -> None:
        """The clock was set; DatabaseUnavailable."""

    def next_in_s(self) -> float | None:
        """When one is due; None: never. DatabaseUnavailable."""


class Jobs(Protocol):
    """What runs them."""

    stopping: bool  # those that end now are ended by us

    def limit(self, script: str) -> int:
        """How many jobs of a script may run at once here; DatabaseUnavailable."""

    def run(self, claim: Claim) -> bool:
        """Run one, and let go of it → False: its script runs as often as it may already, for others."""


class Loop:
    """One dispatcher's, from `run` to `stop`."""

    def __init__(self, queue: Queue, timetable: Timetable, jobs: Jobs, clock: Clock, *, concurrency: int) -> None:
        self._queue = queue
        self._timetable = timetable
        self._jobs = jobs
        self._clock = clock
        self._places = threading.Semaphore(concurrency)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="job")
        self._mutex = threading.Lock()  # over what follows
        self._running: Counter[str] = Counter()
        self._limits: dict[str, int] = {}
        self._full_until: dict[str, float] = {}  # monotonic, s: scripts that others fill

    def run(self) -> None:
        """Until `stop`."""
        woken, failures = Woken.RUNG, 0
        is_set = True  # what the clock was set to while nobody looked is unknown
        while woken is not Woken.STOPPED:
            try:
                pause_s = self._look(is_set=is_set)
                is_set, failures = False, 0
            except (DatabaseUnavailable, TransactionConflict) as error:
                pause_s = min(_RETRY_S[0] * 2**failures, _RETRY_S[1])
                if not failures:
                    _log.warning("no jobs are run for now: %s", error)
                failures += 1
            woken = self._clock.wait(pause_s)
            is_set = is_set or woken is Woken.CLOCK_SET

    def stop(self) -> None:
        """Begin no more; what runs goes on."""
        self._jobs.stopping = True
        self._clock.stop()

    def close(self) -> None:
        """Wait for the threads: to be called once nothing runs any more."""
        self._threads.shutdown()

    def _look(self, *, is_set: bool) -> float | None:
        """Begin all that is due and finds a place → when to look again."""
        if is_set:
            self._timetable.rewind()
        self._timetable.make_due()
        while self._places.acquire(blocking=False):
            claim = self._begun()
            if claim is None:
                break
            self._threads.submit(self._chain, claim)
        else:
            return self._timetable.next_in_s()  # who ends looks for the next job
        return _sooner(self._full_s(), _sooner(self._queue.next_in_s(self._busy()), self._timetable.next_in_s()))

    def _begun(self) -> Claim | None:
        """A job for the place that was taken, or nothing, and the place is free again."""
        claim = None
        try:
            claim = self._claimed()
        finally:
            if claim is None:
                self._places.release()
        return claim

    def _chain(self, claim: Claim | None) -> None:
        """Run one job after the other in one place."""
        try:
            while claim:
                script = claim.job.script
                had_place = True
                try:
                    had_place = self._jobs.run(claim)
                finally:
                    self._ended(script, had_place=had_place)
                claim = None if self._jobs.stopping else self._claimed()
        except PicloudError as error:
            _log.warning("a place for jobs is given up for now: %s", error)
        except Exception:  # noqa: BLE001 - the others are to be run all the same
            _log.exception("a job ended otherwise than it can")
        finally:
            self._places.release()
            self._clock.ring()  # something may have become due meanwhile, or is to be tried again

    def _claimed(self) -> Claim | None:
        """A job of a script that may run once more; it counts from now on."""
        while claim := self._queue.claim(self._busy()):
            may_run = False
            try:
                may_run = self._may_run(claim.job.script)
            finally:
                if not may_run:
                    claim.close()
            if may_run:
                return claim
        return None

    def _may_run(self, script: str) -> bool:
        limit = self._jobs.limit(script)
        with self._mutex:
            self._limits[script] = limit
            if self._running[script] >= limit:
                return False
            self._running[script] += 1
            return True

    def _ended(self, script: str, *, had_place: bool) -> None:
        with self._mutex:
            if not had_place:
                self._full_until[script] = time.monotonic() + _FULL_S
            self._running[script] -= 1
            if not self._running[script]:
                del self._running[script], self._limits[script]

    def _busy(self) -> list[str]:
        with self._mutex:
            now = time.monotonic()
            self._full_until = {script: until for script, until in self._full_until.items() if until > now}
            return [script for script, count in self._running.items() if count >= self._limits[script]] + [
                *self._full_until
            ]

    def _full_s(self) -> float | None:
        """When a script that others fill is to be tried again."""
        with self._mutex:
            return min(self._full_until.values()) - time.monotonic() if self._full_until else None


def _sooner(one: float | None, other: float | None) -> float | None:
    return one if other is None else other if one is None else min(one, other)
