"""What an installed PiCloud lives through: memory that is used up, and a machine that loses its power."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
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
    every_second = {"name": "tick", "script": "tick", "cron": "* * * * * *", "missed": "skip"}
    assert installed.api("POST", "schedules", every_second).status == 201
    eventually(lambda: ended(installed, "ran"), lambda slots: len(slots) >= 2)
    installed.machine.cut_power()
    off_at = datetime.now(UTC)
    installed.machine.start()
    installed.await_ready()
    on_at = datetime.now(UTC)
    eventually(lambda: [at for at in ended(installed, "ran") if at > on_at], lambda slots: len(slots) >= 2)
    missed = slots(installed, "missed")
    assert [slot for slot in missed if covers(slot, off_at, on_at)], (off_at, on_at, missed)
    assert installed.api("DELETE", "schedules/tick").status == 204
    assert int(installed.api("GET", "scripts/tick/kv/n").json) >= len(ended(installed, "ran"))


def slots(installed: Installed, state: str) -> list[dict[str, Any]]:
    """The newest in this state."""
    items: list[dict[str, Any]] = installed.api("GET", f"schedules/tick/slots?limit=200&state={state}").json["items"]
    return items


def ended(installed: Installed, state: str) -> list[datetime]:
    """Their due times."""
    return [datetime.fromisoformat(slot["due_at"]) for slot in slots(installed, state)]


def covers(slot: dict[str, Any], begin: datetime, end: datetime) -> bool:
    """Whether a slot, or a range of them, has a due time in between."""
    last = datetime.fromisoformat(slot["until"] or slot["due_at"])
    return begin < last and datetime.fromisoformat(slot["due_at"]) < end
