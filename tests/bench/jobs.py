"""How many jobs a second run to their durable ends, and how late schedules are."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picloud.model import NewJob, Request, Trigger
from picloud.storage.jobs import ring, send, through
from picloud.storage.pool import Pool
from tests.bench.contenders import SCRIPT
from tests.bench.report import Figure
from tests.running import Running, eventually, running

GOAL = 400  # jobs/s, on two processors
SCHEDULES = 20
_TIMEOUT_S = 300.0

_DONE = "SELECT count(*) FROM jobs WHERE state = 'done' AND id = ANY(%s::uuid[])"

# From the first run's start to the last commit: what it takes to send them is not counted.
_SECONDS = """SELECT extract(epoch FROM max(jobs.ended_at) - min(job_attempts.started_at))::float8
  FROM jobs JOIN job_attempts ON job_attempts.job = jobs.id WHERE jobs.id = ANY(%s::uuid[])"""

# By how much a slot's first run began after the slot was due.
_LATENESS = """SELECT
    percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - due_at) * 1000)::float8
  FROM (SELECT min(job_attempts.started_at) AS started_at, slots.due_at
    FROM slots JOIN job_attempts USING (job) GROUP BY slots.schedule, slots.due_at) AS runs"""

_RAN = "SELECT count(*) FROM slots WHERE state = 'ran'"


@dataclass(frozen=True)
class Jobs:
    """What was measured."""

    per_s: Figure
    lateness_p99_ms: float

    def line(self) -> str:
        """For a person."""
        verdict = "met" if self.per_s.median >= GOAL else "missed"
        return (
            f"Jobs, one durable commit each: {self.per_s.median:,.0f}/s (goal {GOAL}: {verdict});"
            f" schedules begin at most {self.lateness_p99_ms:.0f} ms late (p99, {SCHEDULES} at once each second)."
        )

    def document(self) -> dict[str, Any]:
        """For a program."""
        rate = {"median": self.per_s.median, "spread": self.per_s.spread, "all": list(self.per_s.values), "goal": GOAL}
        return {"per_s": rate, "schedules": SCHEDULES, "lateness_p99_ms": self.lateness_p99_ms}


def measure(folder: Path, jobs: int, repetitions: int, seconds: int) -> Jobs:
    """Run so many jobs, again and again; then schedules that are due each second, for so long."""
    with running(folder / "jobs") as ours:
        ours.deploy("work", SCRIPT)
        _rate(ours, jobs)  # warm, not counted
        return Jobs(Figure([_rate(ours, jobs) for _ in range(repetitions)]), _lateness(ours, seconds))


def _rate(ours: Running, jobs: int) -> float:
    request = Request("", "POST", "/", "", (), b"", trigger=Trigger.JOB)
    with closing(Pool(ours.database_url, size=1, wait_ms=5_000)) as pool:
        with pool.transaction() as cursor:
            ids = [send(through(cursor), NewJob("work", request)).id for _ in range(jobs)]
        ring(pool)
        eventually(lambda: _one(pool, _DONE, ids), lambda done: done == jobs, within_s=_TIMEOUT_S)
        return jobs / _one(pool, _SECONDS, ids)


def _lateness(ours: Running, seconds: int) -> float:
    ours.deploy("tick", SCRIPT)
    for number in range(SCHEDULES):
        wanted = {"name": f"tick-{number}", "script": "tick", "cron": "* * * * * *", "overlap": "allow"}
        answer = ours.api("POST", "schedules", wanted)
        assert answer.status == 201, answer
    with closing(Pool(ours.database_url, size=1, wait_ms=5_000)) as pool:
        eventually(lambda: _one(pool, _RAN), lambda ran: ran >= SCHEDULES * seconds, within_s=_TIMEOUT_S)
        return _one(pool, _LATENESS)


def _one(pool: Pool, query: str, ids: Sequence[str] | None = None) -> float:
    time.sleep(0.1)  # so that who measures is not what is measured
    with pool.transaction() as cursor:
        cursor.execute(query, None if ids is None else (list(ids),))
        row = cursor.fetchone()
    assert row
    return float(row[0])
