"""At rest: no thread of PiCloud is scheduled, no statement reaches PostgreSQL."""

import contextlib
import time
from pathlib import Path

from picloud.storage.pool import Pool
from tests.acceptance.following import following
from tests.running import Running, eventually, running

IDLE_S = 20


def test_twenty_idle_seconds_cost_nothing(fresh_data: Path) -> None:
    with running(fresh_data) as ours:
        ours.deploy("hello", 'return function() log.info("x") return "hello" end')
        ours.at_once(32, "GET", "/fn/hello")
        ours.record_of(ours.call("GET", "/fn/hello"))
        ours.call("GET", "/readyz")
        switches, statements = settled(ours)
        time.sleep(IDLE_S)  # not in hope: the length of the measurement
        assert idle_switches(ours) == switches
        assert last_statements(ours) == statements


def test_a_follower_of_the_logs_costs_nothing_while_nothing_is_written(fresh_data: Path) -> None:
    with running(fresh_data) as ours:
        ours.deploy("hello", 'return function() log.info("x") return "hello" end')
        with following(ours) as follower, following(ours, "&level=error"), following(ours, "&script=hello"):
            ours.at_once(12, "GET", "/fn/hello")
            assert follower.messages(12) == ["x"] * 12
            switches, statements = settled(ours)
            time.sleep(IDLE_S)  # not in hope: the length of the measurement
            assert idle_switches(ours) == switches
            assert last_statements(ours) == statements
            ours.call("GET", "/fn/hello")
            assert follower.messages(1) == ["x"]


def settled(ours: Running) -> tuple[dict[str, int], list[tuple[object, ...]]]:
    """What is counted, once it stands still for a second: batches written, spare sandboxes forked."""
    seen = idle_switches(ours)

    def still() -> bool:
        nonlocal seen
        before, seen = seen, idle_switches(ours)
        return before == seen

    def one_second() -> bool:
        time.sleep(1)
        return still()

    eventually(one_second, bool, within_s=30)
    return idle_switches(ours), last_statements(ours)


def idle_switches(ours: Running) -> dict[str, int]:
    """Context switches of every thread of every process of ours: "pid/tid name" → count."""
    counts: dict[str, int] = {}
    for pid, command in ours.processes().items():
        if "postgres" in command:
            continue
        with contextlib.suppress(FileNotFoundError):  # it ended meanwhile: the next count is another one
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
