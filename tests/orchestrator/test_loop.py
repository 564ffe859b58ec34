"""The dispatcher's day: what is due runs, no more at once than may, and nothing that somebody rang for is forgotten."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from picloud.errors import DatabaseUnavailable, PicloudError, TransactionConflict
from picloud.model import JobEnd, JobState, NewJob, Outcome, Request, Trigger
from picloud.orchestrator.clock import Clock
from picloud.orchestrator.jobs import Claim
from picloud.orchestrator.loop import Loop
from picloud.storage.claims import Claims
from picloud.storage.jobs import send, through
from picloud.storage.pool import Pool
from picloud.storage.unit_of_work import UnitsOfWork
from tests.fixtures_postgres import execute
from tests.running import eventually

REQUEST = Request("", "POST", "/", "", (), b"7", trigger=Trigger.JOB)
PLACES = 3


class Jobs:
    """Ends a job when it is let go."""

    def __init__(self, limits: dict[str, int]) -> None:
        self.stopping = False
        self._limits = limits
        self._changed = threading.Condition()
        self._may_end = 0
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()  # at once
        self.ran: list[str] = []
        self.full: set[str] = set()  # scripts that others run as often as they may

    def limit(self, script: str) -> int:
        return self._limits.get(script, 100)

    def run(self, claim: Claim) -> bool:
        script = claim.job.script
        with self._changed:
            self.running[script] += 1
            self.most[script] = max(self.most[script], self.running[script])
            self.most[""] = max(self.most[""], self.running.total())
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._may_end > 0)
            self._may_end -= 1
            self.running[script] -= 1
            self.ran.append(script)
            self._changed.notify_all()
        is_full = script in self.full
        if is_full:
            claim.leave(JobEnd(JobState.QUEUED, Outcome.CONCURRENCY_LIMIT, delay_ms=100))
        else:
            claim.leave(JobEnd(JobState.DONE, Outcome.OK))
        claim.close()
        return not is_full

    def let_go(self, count: int) -> None:
        with self._changed:
            self._may_end += count
            self._changed.notify_all()

    def await_running(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.running.total() == count, 60)

    def ran_of(self, script: str) -> int:
        with self._changed:
            return self.ran.count(script)

    def await_ran_of(self, script: str, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.ran.count(script) == count, 60)

    def await_ran(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ran) == count, 60)


class NoTimetable:
    """There are no schedules."""

    def __init__(self) -> None:
        self.rewound = 0
        self.failures = 0  # that are still to come
        self.failure: type[PicloudError] = DatabaseUnavailable

    def make_due(self) -> None:
        if self.failures:
            self.failures -= 1
            raise self.failure

    def rewind(self) -> None:
        self.rewound += 1

    def next_in_s(self) -> float | None:
        return None


class Day:
    """A loop at work, and what it is given to do."""

    def __init__(self, database: str, limits: dict[str, int]) -> None:
        self.jobs, self.timetable, self.clock = Jobs(limits), NoTimetable(), Clock()
        self._database = database
        self._pool = Pool(database, size=1, wait_ms=10_000)
        self._units = UnitsOfWork(database, size=1, wait_ms=10_000)
        self._claims = Claims(self._units, database, size=PLACES + 1, node="here")
        self.loop = Loop(self._claims, self.timetable, self.jobs, self.clock, concurrency=PLACES)
        self.thread = threading.Thread(target=self.loop.run)

    def send(self, script: str = "s", count: int = 1, **fields: object) -> None:
        with self._pool.transaction() as cursor:
            for _ in range(count):
                send(through(cursor), NewJob(script, REQUEST, **fields))  # type: ignore[arg-type]
        self.clock.ring()

    def await_done(self, count: int) -> None:
        eventually(
            lambda: execute(self._database, "SELECT count(*) FROM jobs WHERE state = 'done'"),
            lambda got: got == [(count,)],
        )

    def close(self) -> None:
        self.jobs.let_go(1_000)
        self.loop.stop()
        self.thread.join(60)
        self.loop.close()
        self.clock.close()
        for it in (self._claims, self._units, self._pool):
            it.close()


NewDay = Callable[..., Day]


@pytest.fixture
def new_day(database: str) -> Iterator[NewDay]:
    days: list[Day] = []

    def begin(**limits: int) -> Day:
        days.append(Day(database, limits))
        return days[-1]

    yield begin
    for day in days:
        day.close()


def test_all_that_is_due_runs_and_no_more_at_once_than_there_are_places(new_day: NewDay) -> None:
    day = new_day()
    day.send(count=10)
    day.thread.start()
    day.jobs.await_running(PLACES)
    day.jobs.let_go(10)
    day.jobs.await_ran(10)
    day.await_done(10)
    assert day.jobs.most[""] == PLACES


def test_a_script_runs_as_often_at_once_as_it_may_and_others_pass_it(new_day: NewDay) -> None:
    day = new_day(slow=1)
    day.send("slow", 5)
    day.send("other", 5)
    day.thread.start()
    day.jobs.await_running(PLACES)
    assert day.jobs.running == {"slow": 1, "other": 2}
    day.jobs.let_go(10)
    day.jobs.await_ran(10)
    assert day.jobs.most["slow"] == 1


def test_who_rings_while_every_place_is_taken_is_not_forgotten(new_day: NewDay) -> None:
    day = new_day()
    day.send(count=PLACES)
    day.thread.start()
    day.jobs.await_running(PLACES)
    day.send("late", 2)
    day.jobs.let_go(PLACES + 2)
    day.jobs.await_ran(PLACES + 2)
    assert Counter(day.jobs.ran)["late"] == 2


def test_a_job_runs_when_it_is_due_and_nobody_need_ring(new_day: NewDay) -> None:
    day = new_day()
    day.jobs.let_go(2)
    day.thread.start()
    asked = time.monotonic()
    day.send(delay_ms=1_000)
    day.jobs.await_ran(1)
    assert time.monotonic() - asked > 0.9
    day.send()
    day.jobs.await_ran(2)


def test_what_is_there_when_it_starts_runs(new_day: NewDay) -> None:
    day = new_day()
    day.send()
    day.jobs.let_go(1)
    day.thread.start()
    day.jobs.await_ran(1)


def test_when_it_stops_what_runs_goes_on_and_nothing_more_begins(new_day: NewDay, database: str) -> None:
    day = new_day()
    day.send(count=PLACES + 5)
    day.thread.start()
    day.jobs.await_running(PLACES)
    day.loop.stop()
    day.thread.join(60)
    day.jobs.let_go(PLACES + 5)
    day.loop.close()
    assert len(day.jobs.ran) == PLACES
    assert execute(database, "SELECT count(*) FROM jobs WHERE state = 'queued'") == [(5,)]


def test_while_the_database_is_away_it_tries_again_by_itself(new_day: NewDay) -> None:
    day = new_day()
    day.send()
    day.jobs.let_go(1)
    day.timetable.failures = 2
    day.thread.start()
    day.jobs.await_ran(1)
    assert day.timetable.failures == 0
    assert day.timetable.rewound == 3  # until it could see to what is due


def test_whom_somebody_s_transaction_clashed_with_tries_again(new_day: NewDay) -> None:
    day = new_day()
    day.send()
    day.jobs.let_go(1)
    day.timetable.failures, day.timetable.failure = 1, TransactionConflict
    day.thread.start()
    day.jobs.await_ran(1)


def test_a_script_that_others_fill_is_left_alone_for_a_moment(new_day: NewDay) -> None:
    """Its requests over HTTP may last: each of its jobs would be begun and refused, over and over."""
    day = new_day()
    day.jobs.full = {"full"}
    day.send("full", 20)
    day.send("free", 5)
    day.jobs.let_go(200)
    day.thread.start()
    day.jobs.await_ran_of("free", 5)
    time.sleep(0.5)
    assert day.jobs.ran_of("full") <= PLACES
    day.jobs.full = set()
    day.await_done(25)


def test_two_of_them_share_the_work(new_day: NewDay) -> None:
    one, other = new_day(), new_day()
    one.send(count=2 * PLACES)
    one.thread.start()
    other.thread.start()
    for day in (one, other):  # both: who is let go takes what the other has not claimed yet
        day.jobs.await_running(PLACES)
    for day in (one, other):
        day.jobs.let_go(PLACES)
    one.await_done(2 * PLACES)
    assert len(one.jobs.ran) == len(other.jobs.ran) == PLACES


@pytest.mark.parametrize("moment", range(20))
def test_a_ring_at_any_moment_finds_its_job(new_day: NewDay, moment: int) -> None:
    day = new_day()
    day.jobs.let_go(100)
    day.thread.start()
    day.send(count=1 + moment % 4)
    time.sleep(moment / 2_000)  # not in hope: another moment each time
    day.send(count=2)
    day.await_done(3 + moment % 4)
