"""What an installed PiCloud lives through: memory that is used up, and a machine that loses its power."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.running import eventually
from tests.systemd.installed import Installed

pytestmark = pytest.mark.root

HUNGRY = """return function()
  local kept = {}
  for at = 1, 48 do kept[at] = string.rep(tostring(at), 1024 * 1024 // #tostring(at)) end
  return "ate " .. #kept
end"""


def test_sandboxes_that_eat_all_memory_of_the_executor_end_and_nothing_else(installed: Installed) -> None:
    installed.deploy("hungry", HUNGRY)
    installed.deploy("modest", "return 'here'")
    assert installed.call("GET", "/fn/hungry").body == b"ate 48"  # alone it may
    unit, server = "picloud-executor.service", installed.main_pid("picloud.service")
    installed.systemctl("set-property", "--runtime", unit, "MemoryMax=160M")
    try:
        with ThreadPoolExecutor(12) as threads:
            answers = [it.result() for it in [threads.submit(installed.call, "GET", "/fn/hungry") for _ in range(24)]]
        failed = [answer for answer in answers if answer.status != 200]
        assert failed  # the limit bites
        assert {answer.problem for answer in failed} <= {"sandbox-crash", "memory-limit", "executor-lost", "overloaded"}
        eventually(lambda: installed.call("GET", "/fn/modest").body, lambda body: body == b"here")
    finally:
        installed.systemctl("set-property", "--runtime", unit, "MemoryMax=75%")
    installed.await_ready()
    assert installed.main_pid("picloud.service") == server


def test_after_a_power_cut_all_comes_back_and_the_ledger_says_what_was_missed(installed: Installed) -> None:
    installed.deploy("tick", 'return function() return "" .. kv.incr("n") end')
    every_second = {"name": "tick", "script": "tick", "cron": "* * * * * *", "overlap": "allow"}
    every_minute = {"name": "tock", "script": "tick", "cron": "* * * * *", "missed": "skip"}
    for schedule in (every_second, every_minute):
        assert installed.api("POST", "schedules", schedule).status == 201
    eventually(lambda: due_times(installed, "tick", "ran"), lambda times: len(times) >= 2)
    off_at = datetime.now(UTC)
    # as if it had been off for ten minutes, and not for the seconds that a test has
    installed.machine.run(
        *("runuser", "-u", "picloud", "--", "psql", "-qc"),
        "UPDATE schedules SET next_due = date_trunc('minute', now()) - interval '10 minutes' WHERE name = 'tock'",
        cwd="/",
    )
    installed.machine.cut_power()
    installed.machine.start()
    installed.await_ready()
    on_at = datetime.now(UTC)
    eventually(lambda: due_times(installed, "tick", "ran"), lambda times: len([at for at in times if at > on_at]) >= 2)
    missed = slots(installed, "tock", "missed")
    assert sum(slot["count"] for slot in missed) >= 8, missed
    assert {slot["lateness_ms"] is None or slot["lateness_ms"] > 60_000 for slot in missed} == {True}
    for name in ("tick", "tock"):
        assert installed.api("DELETE", f"schedules/{name}").status == 204
    seconds = {at for at in due_times(installed, "tick", "") if at > off_at - timedelta(seconds=2)}
    assert len(seconds) == (max(seconds) - min(seconds)).total_seconds() + 1, "a second is in no ledger"


def slots(installed: Installed, name: str, state: str) -> list[dict[str, Any]]:
    """The newest of a schedule in this state; none: in any."""
    wanted = f"&state={state}" if state else ""
    items: list[dict[str, Any]] = installed.api("GET", f"schedules/{name}/slots?limit=200{wanted}").json["items"]
    return items


def due_times(installed: Installed, name: str, state: str) -> list[datetime]:
    """Theirs."""
    return [datetime.fromisoformat(slot["due_at"]) for slot in slots(installed, name, state)]
