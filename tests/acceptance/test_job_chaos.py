"""Each job once, whoever is killed: dispatchers, sandboxes, the zygote, PostgreSQL's backends, at random.

`make test-chaos` runs the long form, and PICLOUD_CHAOS_SEED repeats a run's kills: see docs/contributing.md.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from picloud.errors import DatabaseUnavailable
from picloud.model import NewJob, Request, Trigger
from picloud.storage.jobs import ring, send, through
from picloud.storage.pool import Pool
from tests.chaos import FULL, JOB_DECK, Progress, chaos
from tests.fixtures_postgres import execute
from tests.processes import user_ticks
from tests.running import PATIENCE_S, Running, eventually, running

JOBS = 2_000 if FULL else 400
EVERY = 25 if FULL else 20  # jobs that are done between two kills
AGAIN = 100  # attempts: who is killed by chance is not to be dead by chance
CRASHES = 10
LONG_S = 600.0
BUSY_TICKS = 5  # a sandbox that has used so much CPU runs a script
OPEN = "SELECT invocation::text FROM job_attempts WHERE job = %s::uuid AND outcome IS NULL"
TURNS_S = 1.0  # for which a second dispatcher is there, and is not

pytestmark = pytest.mark.timeout(3_600 if FULL else 300)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("jobs")) as server:
        server.deploy("count", 'kv.incr("count")')
        server.deploy("spin", "while true do end")
        server.set("spin", {"limits": {"wall_ms": 120_000, "cpu_ms": 120_000}})
        yield server


def test_a_counter_that_jobs_increase_is_their_number(ours: Running) -> None:
    ids = sent(ours, "count", JOBS, max_attempts=AGAIN)
    with chaos(ours, EVERY, JOB_DECK) as progress, a_second_dispatcher(ours):
        await_done(ours, progress)
    assert set(states(ours, ids)) == {"done"}
    count = eventually(lambda: ours.api("GET", "scripts/count/kv/count"), lambda answer: answer.status == 200)
    assert count.json == JOBS
    finished = rows(ours, "SELECT count(*) FROM job_attempts WHERE outcome = 'ok'")
    assert finished == [(JOBS,)]


def test_a_job_that_kills_its_sandbox_is_dead_after_its_attempts(ours: Running) -> None:
    (job,) = sent(ours, "spin", 1, max_attempts=2)

    def killed() -> list[object]:
        for pid in ours.named("picloud-sandbox"):
            if user_ticks(pid) >= BUSY_TICKS:
                kill(pid)
        return states(ours, [job])

    eventually(killed, lambda got: got == ["dead"], within_s=LONG_S)
    assert told(ours, job) == (2, 0, "sandbox-crash")


def test_a_job_that_kills_its_dispatcher_is_dead_after_its_crashes(ours: Running) -> None:
    (job,) = sent(ours, "spin", 1)
    runs: set[object] = set()

    def killed() -> list[object]:
        for (run,) in rows(ours, OPEN, job):
            if run not in runs:
                runs.add(run)
                kill(ours.part("picloud.dispatcher"))
        return states(ours, [job])

    eventually(killed, lambda got: got == ["dead"], within_s=LONG_S)
    assert len(runs) == CRASHES
    assert told(ours, job) == (0, CRASHES, "executor-lost")
    (after,) = sent(ours, "count", 1)
    eventually(lambda: states(ours, [after]), lambda got: got == ["done"])


def rows(ours: Running, query: str, *parameters: object) -> list[tuple[object, ...]]:
    """What the database says, once it does: it may have been killed just now."""

    def ask() -> list[tuple[object, ...]] | None:
        with contextlib.suppress(DatabaseUnavailable):
            return execute(ours.database_url, query, *parameters)
        return None

    return eventually(ask, lambda got: got is not None) or []


def sent(ours: Running, script: str, count: int, max_attempts: int | None = None) -> list[str]:
    """Send so many jobs → their ids."""
    request = Request("", "POST", "/", "", (), b"", trigger=Trigger.JOB)
    with closing(Pool(ours.database_url, size=1, wait_ms=5_000)) as pool:
        with pool.transaction() as cursor:
            job = NewJob(script, request, max_attempts=max_attempts)
            ids = [send(through(cursor), job).id for _ in range(count)]
        ring(pool)
    return ids


def states(ours: Running, ids: list[str]) -> list[object]:
    found = rows(ours, "SELECT state FROM jobs WHERE id = ANY(%s::uuid[])", ids)
    return [state for (state,) in found]


def await_done(ours: Running, progress: Progress) -> None:
    """Count jobs that are done, until all are."""
    seen = 0

    def done() -> int:
        nonlocal seen
        ((now,),) = rows(ours, "SELECT count(*) FROM jobs WHERE state <> 'queued'")
        for _ in range(int(str(now)) - seen):
            progress.step()
        seen = int(str(now))
        return seen

    eventually(done, lambda count: count == JOBS, within_s=LONG_S)


@contextmanager
def a_second_dispatcher(ours: Running) -> Iterator[None]:
    """Another one that comes and goes, by turns as it is asked to and by force."""
    over = threading.Event()

    def turns() -> None:
        for number in (signal.SIGTERM, signal.SIGKILL) * 10_000:
            process = subprocess.Popen([sys.executable, "-m", "picloud.dispatcher"], env=second(ours))
            over.wait(TURNS_S)
            process.send_signal(number)
            process.wait(PATIENCE_S)
            if over.wait(TURNS_S):
                return

    thread = threading.Thread(target=turns)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def second(ours: Running) -> dict[str, str]:
    """The environment of one more dispatcher of this node."""
    return {**ours.environment, "PICLOUD_DATABASE_URL": ours.database_url}


def told(ours: Running, job: str) -> tuple[object, ...]:
    """What is known of a job that is dead: attempts, crashes, outcome."""
    return rows(ours, "SELECT attempts, crashes, outcome FROM jobs WHERE id = %s::uuid", job)[0]


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
