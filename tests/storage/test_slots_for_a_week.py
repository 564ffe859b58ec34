"""A week in the life of the ledger: every due time has one end, whatever is done to the machine and to its clock.

Real PostgreSQL, and a clock of the test's own: it stands still while the machine works, goes on when it sleeps, and is
set. In the week, clocks are set back in Europe, and forward on an island by half an hour.
"""

import random
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from picloud.model import JobState, Missed, Origin, Overlap, Request, Schedule
from picloud.orchestrator.schedules import Schedules
from picloud.planning import rule_of
from picloud.storage.jobs import through
from picloud.storage.pool import Pool
from picloud.storage.slots import SlotTable, ended
from picloud.timetable import slots
from tests.fixtures_postgres import execute

WEEKS = {  # to the last minute before the clocks are set, and days after it
    "Europe/Berlin": datetime(2026, 10, 20, 22, 17, tzinfo=UTC),
    "America/New_York": datetime(2026, 3, 3, 22, 17, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2026, 9, 29, 22, 17, tzinfo=UTC),
}
WEEK = timedelta(days=7)
TICK = timedelta(microseconds=1)
RULES = (
    {"cron": "*/20 * * * *"}, {"cron": "30 1-3 * * *"}, {"cron": "0 */6 * * *"}, {"cron": "45 1,2 * * SUN"},
    {"every": "25 minutes"}, {"every": "day", "at": "02:15"}, {"every": "2 hours", "at": ":40"},
    {"every": "sunday", "at": "02:30"},
)  # fmt: skip
POLICIES = [(missed, overlap) for missed in Missed for overlap in Overlap]


@dataclass
class Machine:
    """What runs schedules, and its clock."""

    database: str
    pool: Pool
    chance: random.Random
    now: datetime
    schedules: Schedules

    def pass_by(self, **time: float) -> None:
        """Time passes, and nobody is there."""
        self.now += timedelta(**time)

    def look(self) -> None:
        """What is due is made; some of the jobs are run."""
        self.schedules.make_due(self.now)
        self.run_jobs(share=0.7)

    def restart(self) -> None:
        """Also what hears that the clock was set does this."""
        self.schedules = Schedules(SlotTable(self.pool, keep_days=14, keep_rows=1_000_000))
        self.schedules.rewind(self.now)
        self.look()

    def run_jobs(self, share: float) -> None:
        with self.pool.transaction() as cursor:
            cursor.execute("SELECT id::text FROM jobs WHERE state = 'queued' AND due_at <= %s ORDER BY id", (self.now,))
            for (job,) in cursor.fetchall():
                if self.chance.random() < share:
                    state = JobState.DEAD if self.chance.random() < 0.1 else JobState.DONE
                    cursor.execute("UPDATE jobs SET state = %s WHERE id = %s::uuid", (str(state), job))
                    ended(through(cursor), job, state)

    def work_until(self, end: datetime) -> None:
        """It is awake, and a little late at times."""
        while self.now < end:
            self.pass_by(seconds=self.chance.choice([1, 20, 59, 300, 1100]))
            self.look()


def add(machine: Machine, zone: str) -> list[Schedule]:
    """One schedule for each rule and policy, anchored now."""
    made = []
    for number, rule in enumerate(RULES):
        for missed, overlap in POLICIES:
            it = Schedule(
                f"{number}-{missed}-{overlap}", "script", rule.get("cron"), rule.get("every"), rule.get("at"), zone,
                b"null", overlap, missed, 6 * 3600, 30 if overlap is Overlap.ALLOW else 0, Origin.API, machine.now,
                None, "", machine.now, machine.now,
            )  # fmt: skip
            first = next(slots(rule_of(it), it.anchor, it.anchor, it.anchor + 2 * WEEK))
            made.append(replace(it, next_due=first))
    fields = [
        "name",
        "script",
        "cron",
        "every",
        "at",
        "timezone",
        "payload",
        "overlap",
        "missed",
        "missed_within_s",
        "jitter_s",
        "origin",
        "anchor",
        "next_due",
    ]
    with machine.pool.transaction() as cursor:
        for it in made:
            values = [getattr(it, field) for field in fields]
            texts = [str(value) if isinstance(value, str) else value for value in values]
            places = ", ".join(["%s"] * len(fields))
            cursor.execute(f"INSERT INTO schedules ({', '.join(fields)}) VALUES ({places})", texts)
    return made


def accounted(machine: Machine, it: Schedule) -> Counter[datetime]:
    """Each due time that the ledger has an end of, up to now, and how often."""
    rows: list[Any] = execute(
        machine.database,
        "SELECT due_at, coalesce(until_at, due_at), count, state FROM slots WHERE schedule = %s AND due_at <= %s",
        it.name,
        machine.now,
    )
    found = Counter[datetime]()
    for first, last, number, state in rows:
        assert state != "queued"
        assert last <= machine.now
        times = list(slots(rule_of(it), it.anchor, first - TICK, last))
        assert (len(times), times[0], times[-1]) == (number, first, last)
        assert number == 1 or state == "missed"
        found.update(times)
    return found


@pytest.mark.parametrize("zone", WEEKS)
def test_every_due_time_of_a_week_has_one_end_and_no_slot_runs_twice(database: str, pool: Pool, zone: str) -> None:
    start = WEEKS[zone]
    table = SlotTable(pool, keep_days=14, keep_rows=1_000_000)
    machine = Machine(database, pool, random.Random(zone), start, Schedules(table))
    made = add(machine, zone)
    machine.work_until(start + timedelta(hours=7))
    machine.pass_by(hours=9)  # no power
    machine.restart()
    machine.work_until(start + timedelta(hours=20))
    machine.pass_by(hours=-3)  # set back, and noticed
    machine.restart()
    machine.work_until(start + timedelta(hours=22))
    machine.pass_by(hours=-5)  # once more, and then there is no power
    machine.restart()
    machine.pass_by(hours=8)
    machine.restart()
    machine.work_until(start + timedelta(hours=30))
    machine.pass_by(days=4 * 365)  # a wrong clock
    machine.restart()
    machine.pass_by(seconds=40)
    machine.look()
    machine.pass_by(days=-4 * 365)
    machine.restart()
    machine.work_until(start + timedelta(days=3, hours=20))
    machine.pass_by(days=-2)  # a Pi without a clock wakes up in its past, and is told the time
    machine.restart()
    machine.pass_by(minutes=3)
    machine.look()
    machine.pass_by(days=2, minutes=30)
    machine.restart()
    machine.work_until(start + WEEK)
    machine.pass_by(hours=1)
    machine.run_jobs(share=1.0)
    execute(database, "UPDATE schedules SET next_due = NULL WHERE next_due > %s", machine.now)
    machine.schedules.make_due(machine.now)
    machine.pass_by(seconds=30)
    machine.run_jobs(share=1.0)
    for it in made:
        due = slots(rule_of(it), it.anchor, it.anchor, machine.now - timedelta(seconds=30))
        assert accounted(machine, it) == Counter(due), it.name
    runs = Counter(
        (event["schedule"], event["due_at"])
        for (stored,) in execute(database, "SELECT request FROM jobs")
        for event in [msgspec.json.decode(msgspec.msgpack.decode(bytes(stored), type=Request).event)]  # type: ignore[call-overload]
    )
    assert max(runs.values()) == 1
    states = {state for (state,) in execute(database, "SELECT DISTINCT state FROM slots")}
    assert states == {"ran", "failed", "skipped-overlap", "missed"}
