"""At rest: no thread of PiCloud is scheduled, no statement reaches PostgreSQL."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from picloud.storage.pool import Pool
from tests.acceptance.following import Follower, following
from tests.running import Running, eventually, running
from tests.sending import await_jobs, job, send_jobs

IDLE_S = 20


SOURCE = 'return function() log.info("x") return "hello" end'


@dataclass(frozen=True)
class Seen:
    """What is counted of a PiCloud."""

    switches: dict[str, int]
    statements: list[tuple[object, ...]]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running, Follower]]:
    """Two PiClouds after some traffic, with work for later: one left alone, one whose logs are followed."""
    folder = tmp_path_factory.mktemp("idle")
    with running(folder / "alone") as alone, running(folder / "followed") as followed:
        for ours in (alone, followed):
            ours.deploy("hello", SOURCE)
        with following(followed) as follower, following(followed, "&level=error"), following(followed, "&script=hello"):
            for ours in (alone, followed):
                ours.at_once(12, "GET", "/fn/hello")
                ours.record_of(ours.call("GET", "/fn/hello"))
                send_jobs(ours.database_url, job("hello"), job("hello", delay_ms=60 * 60 * 1000))
                await_jobs(ours.database_url, done=1, queued=1)
                hourly = {"name": "hourly", "script": "hello", "every": "1 hour"}
                assert ours.api("POST", "schedules", hourly).status == 201
                ours.call("GET", "/readyz")
            assert follower.messages(14) == ["x"] * 14
            yield alone, followed, follower


def test_twenty_idle_seconds_cost_nothing_not_even_with_followers_of_the_logs(
    quiet: tuple[Running, Running, Follower],
) -> None:
    alone, followed, _ = quiet
    before = [settled(alone), settled(followed)]
    time.sleep(IDLE_S)  # not in hope: the length of the measurement
    assert [seen(alone), seen(followed)] == before
    for ours, counted in zip((alone, followed), before, strict=True):
        assert any(name.startswith(f"{ours.part('picloud.dispatcher')}/") for name in counted.switches)


def test_a_follower_that_has_rested_hears_of_the_next_line(quiet: tuple[Running, Running, Follower]) -> None:
    _, followed, follower = quiet
    followed.call("GET", "/fn/hello")
    assert follower.messages(1) == ["x"]


def seen(ours: Running) -> Seen:
    return Seen(idle_switches(ours), last_statements(ours))


def settled(ours: Running) -> Seen:
    """What is counted, once it stands still for a second: batches written, spare sandboxes forked."""

    def one_second() -> bool:
        before = idle_switches(ours)
        time.sleep(1)
        return before == idle_switches(ours)

    eventually(one_second, bool)
    return seen(ours)


def idle_switches(ours: Running) -> dict[str, int]:
    """Context switches of every thread of every process of ours: "pid/tid name" → count."""
    counts: dict[str, int] = {}
    for pid, command in ours.processes().items():
        if "postgres" in command:
            continue
        with contextlib.suppress(OSError):  # it ended meanwhile: the next count is another one
            counts |= switches_of(Path(f"/proc/{pid}/task"))
    return counts


def switches_of(tasks: Path) -> dict[str, int]:
    counts = {}
    for task in tasks.iterdir():
        lines = (task / "status").read_text().splitlines()
        name = lines[0].split("\t")[1]
        counts[f"{tasks.parent.name}/{task.name} {name}"] = sum(
            int(line.split()[1]) for line in lines if "ctxt_switches" in line
        )
    return counts


def last_statements(ours: Running) -> list[tuple[object, ...]]:
    """When each of our backends last began a statement."""
    with contextlib.closing(Pool(ours.database_url, size=1, wait_ms=5_000)) as pool, pool.transaction() as cursor:
        cursor.execute(
            "SELECT pid, query_start, state_change FROM pg_stat_activity"
            " WHERE application_name = 'picloud' AND pid <> pg_backend_pid() ORDER BY pid"
        )
        return list(cursor.fetchall())
