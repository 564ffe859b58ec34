"""The ledger: each due time once, in one commit with its job, whoever makes it and whatever the clock does."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import psycopg2
import pytest

from picloud.model import JobState, Request, Trigger
from picloud.orchestrator.metrics import Metrics
from picloud.orchestrator.schedules import Schedules
from picloud.storage.job_table import JobTable
from picloud.storage.jobs import through
from picloud.storage.pool import Pool
from picloud.storage.slots import SlotTable, ended
from tests.fixtures_postgres import execute

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AddSchedule = Callable[..., None]


@pytest.fixture
def ledger(pool: Pool) -> SlotTable:
    return SlotTable(pool, keep_days=14, keep_rows=100_000)


@pytest.fixture
def schedules(ledger: SlotTable) -> Schedules:
    return Schedules(ledger)


@pytest.fixture
def add(database: str) -> AddSchedule:
    """Makes a schedule of every minute, due at noon."""

    def put(name: str = "s", **fields: object) -> None:
        row = {
            "name": name, "script": "script", "cron": "* * * * *", "timezone": "UTC", "payload": b"1",
            "overlap": "skip", "missed": "run-once", "missed_within_s": 86_400, "origin": "api", "anchor": NOON,
            "next_due": NOON, **fields,
        }  # fmt: skip
        places = ", ".join(["%s"] * len(row))
        execute(database, f"INSERT INTO schedules ({', '.join(row)}) VALUES ({places})", *row.values())

    return put


def slots(database: str, name: str = "s") -> list[tuple[object, ...]]:
    """(minute after noon, last minute of a range, count, state), in order."""
    return execute(
        database,
        """SELECT extract(epoch FROM due_at - %s)::int / 60, extract(epoch FROM until_at - %s)::int / 60, count, state
           FROM slots WHERE schedule = %s ORDER BY due_at""",
        NOON, NOON, name,
    )  # fmt: skip


def next_due(database: str, name: str = "s") -> object:
    return execute(database, "SELECT next_due FROM schedules WHERE name = %s", name)[0][0]


def end(pool: Pool, state: JobState = JobState.DONE) -> None:
    """End all jobs that are to run."""
    with pool.transaction() as cursor:
        cursor.execute("UPDATE jobs SET state = %s, attempts = 1 WHERE state = 'queued' RETURNING id::text", (state,))
        for (job,) in cursor.fetchall():
            ended(through(cursor), job, state)


def test_a_slot_and_its_job_are_made_together(database: str, schedules: Schedules, add: AddSchedule) -> None:
    add(jitter_s=0)
    schedules.make_due(NOON + timedelta(seconds=2))
    assert slots(database) == [(0, None, 1, "queued")]
    assert next_due(database) == NOON + MINUTE
    row = execute(
        database,
        """SELECT jobs.script, trigger, jobs.due_at, request, lateness_ms, slots.ended_at
           FROM jobs JOIN slots ON slots.job = jobs.id""",
    )
    assert row[0][:3] == ("script", "schedule", NOON)
    assert row[0][4:] == (2000, None)
    stored = row[0][3]
    assert isinstance(stored, memoryview)
    request = msgspec.msgpack.decode(stored, type=Request)
    assert (request.trigger, request.body) == (Trigger.SCHEDULE, b"1")
    schedules.make_due(NOON + timedelta(seconds=3))
    assert len(slots(database)) == 1


@pytest.mark.parametrize(
    ("state", "slot"), [(JobState.DONE, "ran"), (JobState.DEAD, "failed"), (JobState.CANCELLED, "failed")]
)
def test_a_slot_ends_as_its_job_does(
    database: str, pool: Pool, schedules: Schedules, add: AddSchedule, state: JobState, slot: str
) -> None:
    add()
    schedules.make_due(NOON)
    end(pool, state)
    assert slots(database) == [(0, None, 1, slot)]
    assert execute(database, "SELECT ended_at IS NOT NULL FROM slots") == [(True,)]


def test_a_job_that_runs_again_leaves_its_slot_as_it_is(
    database: str, pool: Pool, schedules: Schedules, add: AddSchedule
) -> None:
    add()
    schedules.make_due(NOON)
    (job,) = execute(database, "SELECT id::text FROM jobs")[0]
    with pool.transaction() as cursor:
        ended(through(cursor), str(job), JobState.QUEUED)
    assert slots(database) == [(0, None, 1, "queued")]


def test_a_slot_ends_when_its_job_is_cancelled(
    database: str, pool: Pool, schedules: Schedules, add: AddSchedule
) -> None:
    add()
    schedules.make_due(NOON)
    (job,) = execute(database, "SELECT id::text FROM jobs")[0]
    JobTable(pool, lambda: None).cancel(str(job))
    assert slots(database) == [(0, None, 1, "failed")]


def test_a_slot_is_skipped_while_an_earlier_ones_job_is_not_over(
    database: str, pool: Pool, schedules: Schedules, add: AddSchedule
) -> None:
    add()
    schedules.make_due(NOON)
    schedules.make_due(NOON + MINUTE)
    end(pool)
    schedules.make_due(NOON + 2 * MINUTE)
    assert slots(database) == [(0, None, 1, "ran"), (1, None, 1, "skipped-overlap"), (2, None, 1, "queued")]


def test_a_job_that_is_gone_holds_nothing_up(database: str, schedules: Schedules, add: AddSchedule) -> None:
    add()
    schedules.make_due(NOON)
    execute(database, "DELETE FROM jobs")
    schedules.make_due(NOON + MINUTE)
    assert [row[3] for row in slots(database)] == ["queued", "queued"]


def test_an_outage_is_one_range_and_one_event(database: str, schedules: Schedules, add: AddSchedule) -> None:
    add()
    schedules.make_due(NOON + 600.5 * MINUTE)
    assert slots(database) == [(0, 598, 599, "missed"), (599, None, 1, "queued"), (600, None, 1, "skipped-overlap")]
    rows: list[Any] = execute(database, "SELECT subject, data FROM events WHERE type = 'picloud.schedule.missed'")
    ((subject, data),) = rows
    told = msgspec.json.decode(bytes(data))
    moments = [datetime.fromisoformat(told[end]) for end in ("first", "last")]
    assert (subject, *moments, told["count"]) == ("s", NOON, NOON + 598 * MINUTE, 599)


def test_a_schedule_that_cannot_be_computed_is_marked_and_holds_up_no_other(
    database: str, schedules: Schedules, add: AddSchedule
) -> None:
    add("broken", timezone="Europe/Atlantis", next_due=NOON - MINUTE)
    add("whole")
    schedules.make_due(NOON)
    assert slots(database, "whole") == [(0, None, 1, "queued")]
    marked = execute(database, "SELECT next_due, error FROM schedules WHERE name = 'broken'")
    assert marked == [(None, "timezone: there is no time zone 'Europe/Atlantis'; did you mean 'Europe/Athens'?")]
    execute(database, "UPDATE schedules SET timezone = 'Europe/Berlin' WHERE name = 'broken'")
    schedules.rewind(NOON)  # a start: its tables of zones are new
    assert execute(database, "SELECT next_due, error FROM schedules WHERE name = 'broken'") == [(NOON + MINUTE, "")]


def test_one_that_somebody_holds_is_passed_by_and_looked_at_again_soon(
    database: str, pool: Pool, ledger: SlotTable, schedules: Schedules, add: AddSchedule
) -> None:
    add("held")
    add("free")
    with pool.transaction() as cursor:
        cursor.execute("SELECT 1 FROM schedules WHERE name = 'held' FOR UPDATE")
        schedules.make_due(NOON)
        assert slots(database, "held") == []
        assert slots(database, "free") == [(0, None, 1, "queued")]
        execute(database, "UPDATE schedules SET next_due = 'infinity' WHERE name = 'free'")
        assert ledger.next_in_s() == 1.0
    assert ledger.next_in_s() == 0.0


def test_the_next_slot_is_told_by_the_databases_clock(database: str, ledger: SlotTable, add: AddSchedule) -> None:
    assert ledger.next_in_s() is None
    add()
    execute(database, "UPDATE schedules SET next_due = now() + interval '1 hour'")
    left_s = ledger.next_in_s()
    assert left_s
    assert 0 < left_s <= 3600


def test_a_clock_set_back_runs_nothing_twice(database: str, pool: Pool, schedules: Schedules, add: AddSchedule) -> None:
    add()
    for minute in range(6):
        schedules.make_due(NOON + minute * MINUTE)
        end(pool)
    schedules.rewind(NOON + 2.5 * MINUTE)
    assert next_due(database) == NOON + 3 * MINUTE
    for minute in range(3, 8):
        schedules.make_due(NOON + minute * MINUTE)
        end(pool)
    assert slots(database) == [(minute, None, 1, "ran") for minute in range(8)]
    assert execute(database, "SELECT count(*) FROM jobs") == [(8,)]


def test_what_was_not_begun_comes_again_in_its_time(
    database: str, pool: Pool, schedules: Schedules, add: AddSchedule
) -> None:
    add()
    schedules.make_due(NOON)
    schedules.make_due(NOON + MINUTE)
    schedules.rewind(NOON - MINUTE)
    assert slots(database) == []
    assert execute(database, "SELECT count(*) FROM jobs") == [(0,)]
    schedules.make_due(NOON)
    assert slots(database) == [(0, None, 1, "queued")]


def test_a_clock_set_far_forward_and_back_leaves_no_future_but_what_ran(
    database: str, pool: Pool, schedules: Schedules, add: AddSchedule
) -> None:
    add(cron="*/10 * * * *")
    schedules.make_due(NOON)
    end(pool)
    later = NOON + timedelta(days=4 * 365)
    schedules.make_due(later)
    end(pool)
    schedules.rewind(NOON + 25 * MINUTE)
    assert slots(database)[:2] == [(0, None, 1, "ran"), (10, 20, 2, "missed")]
    assert [row[3] for row in slots(database)[2:]] == ["ran"]  # the newest late one, four years from now
    assert next_due(database) == NOON + 30 * MINUTE
    schedules.make_due(NOON + 30 * MINUTE)
    assert slots(database)[2] == (30, None, 1, "queued")


def test_a_run_of_a_time_to_come_holds_nothing_up(
    database: str, pool: Pool, schedules: Schedules, add: AddSchedule
) -> None:
    add()
    schedules.make_due(NOON + timedelta(days=365))
    execute(database, "UPDATE jobs SET attempts = 1")  # it has begun
    schedules.rewind(NOON)
    schedules.make_due(NOON + MINUTE)
    assert slots(database)[:2] == [(0, None, 1, "missed"), (1, None, 1, "queued")]


def test_a_board_without_a_clock_begins_in_1970_and_nothing_is_taken_back(
    database: str, schedules: Schedules, add: AddSchedule
) -> None:
    add()
    schedules.make_due(NOON + 10.5 * MINUTE)
    before = slots(database), execute(database, "SELECT next_due FROM schedules")
    schedules.rewind(datetime(1970, 1, 1, 0, 1, tzinfo=UTC))
    schedules.make_due(datetime(1970, 1, 1, 0, 1, tzinfo=UTC))
    assert (slots(database), execute(database, "SELECT next_due FROM schedules")) == before


def test_nothing_is_put_back_if_the_clock_was_not(
    database: str, pool: Pool, ledger: SlotTable, schedules: Schedules, add: AddSchedule
) -> None:
    add()
    add("overdue", cron="0 * * * *")
    add("never", next_due=None)
    schedules.make_due(NOON)
    before = execute(database, "SELECT name, next_due, xmin::text FROM schedules WHERE name <> 'never' ORDER BY name")
    schedules.rewind(NOON + timedelta(seconds=59))
    schedules.rewind(NOON + timedelta(days=30))
    after = execute(database, "SELECT name, next_due, xmin::text FROM schedules WHERE name <> 'never' ORDER BY name")
    assert after == before


def test_old_slots_go_and_those_whose_jobs_are_to_run_stay(database: str, pool: Pool, add: AddSchedule) -> None:
    add()
    ledger = SlotTable(pool, keep_days=14, keep_rows=3)
    for minute in range(6):
        Schedules(ledger).make_due(NOON + minute * MINUTE)
    now = datetime.now(UTC)
    execute(database, "UPDATE slots SET due_at = due_at + (%s - timestamptz '2026-05-01T12:06Z')", now)
    assert ledger.expire() == 2  # of six, three are kept, and the one whose job is to run
    assert ledger.expire() == 0
    execute(database, "UPDATE slots SET due_at = due_at - interval '15 days'")
    assert ledger.expire() == 3
    ledger.vacuum()
    assert [row[3] for row in slots(database)] == ["queued"]


def test_ten_thousand_slots_of_a_thousand_schedules_are_each_one_makers(database: str, add: AddSchedule) -> None:
    execute(
        database,
        """INSERT INTO schedules
             (name, script, cron, timezone, payload, overlap, missed, missed_within_s, origin, next_due)
           SELECT 's' || n, 'script', '* * * * *', 'UTC', 'null', CASE n %% 2 WHEN 0 THEN 'queue' ELSE 'allow' END,
             'run-all', 86400, 'api', %s FROM generate_series(1, 1000) AS n""",
        NOON,
    )
    made = Counter[str]()

    def make(maker: str) -> None:
        with closing(Pool(database, size=1, wait_ms=10_000)) as own:
            ledger = SlotTable(own, keep_days=14, keep_rows=100_000)
            schedules = Schedules(ledger)
            both.wait()
            schedules.make_due(NOON + 9 * MINUTE)
            made[maker] += 1

    both = threading.Barrier(2)
    makers = [threading.Thread(target=make, args=(name,)) for name in ("one", "other")]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert made == {"one": 1, "other": 1}
    counted = execute(database, "SELECT state, count(*), count(DISTINCT job) FROM slots GROUP BY state")
    assert counted == [("queued", 10_000, 10_000)]
    assert execute(database, "SELECT count(*) FROM jobs JOIN slots ON slots.job = jobs.id") == [(10_000,)]
    assert execute(database, "SELECT DISTINCT count(*) FROM slots GROUP BY schedule") == [(10,)]
    assert execute(database, "SELECT DISTINCT next_due FROM schedules") == [(NOON + 10 * MINUTE,)]


class Lateness:
    """Takes what is told of jobs that were made."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def late(self, seconds: Sequence[float]) -> None:
        self.seconds += seconds


def test_how_late_a_job_is_is_told_once_it_is_made(ledger: SlotTable, add: AddSchedule) -> None:
    heard = Lateness()
    schedules = Schedules(ledger, cast(Metrics, heard))
    add(cron="0 12 * * *")
    add("other", cron="0 12 * * *", missed="skip", next_due=NOON - MINUTE * 60 * 24)
    schedules.make_due(NOON + timedelta(seconds=1.5))
    assert heard.seconds == [1.5, 1.5]
    schedules.make_due(NOON + timedelta(seconds=2))
    assert len(heard.seconds) == 2


def test_of_a_job_that_could_not_be_made_nothing_is_told(database: str, ledger: SlotTable, add: AddSchedule) -> None:
    heard = Lateness()
    add(cron="0 12 * * *")
    execute(database, "ALTER TABLE slots ADD CHECK (schedule <> 's')")
    with pytest.raises(psycopg2.Error):
        Schedules(ledger, cast(Metrics, heard)).make_due(NOON)
    assert heard.seconds == []
