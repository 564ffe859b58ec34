"""Schedules end to end: the dispatcher makes jobs of their slots, scripts run, and the ledger says how that ended."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import Running, eventually, running

DISPATCHER = "picloud.dispatcher"
EVERY_SECOND = {"cron": "* * * * * *"}
FAR = {"cron": "0 3 29 2 *"}

TELL = """
return function(request)
  kv.set("seen", { trigger = request.trigger, event = request.event, body = request:json(), path = request.path })
  return kv.incr("runs")
end
"""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("schedules") / "data") as it:
        yield it


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No schedule of one test is there in the next."""
    yield
    if "ours" in request.fixturenames:
        it: Running = request.getfixturevalue("ours")
        for schedule in it.api("GET", "schedules").json["items"]:
            assert it.api("DELETE", f"schedules/{schedule['name']}").status == 204


def put(picloud: Running, name: str, script: str, **wanted: Any) -> None:
    answer = picloud.api("PUT", f"schedules/{name}", {"script": script, **EVERY_SECOND, **wanted})
    assert answer.status in (200, 201), answer


def slots(picloud: Running, name: str, state: str) -> list[dict[str, Any]]:
    """Newest first; also before the first one."""
    answer = picloud.api("GET", f"schedules/{name}/slots?state={state}&limit=500")
    found: list[dict[str, Any]] = answer.json["items"]
    return found


def await_slots(picloud: Running, name: str, state: str, count: int = 1) -> list[dict[str, Any]]:
    """Until so many have ended so."""
    return eventually(lambda: slots(picloud, name, state), lambda found: len(found) >= count)


def value(picloud: Running, script: str, key: str) -> Any:
    answer = picloud.api("GET", f"scripts/{script}/kv/{key}")
    return answer.json if answer.status == 200 else None


def test_a_schedule_of_every_second_runs_its_script_and_each_slot_is_a_run(ours: Running) -> None:
    ours.deploy("tell", TELL)
    put(ours, "tick", "tell", payload={"to": ["me"]})
    ran = await_slots(ours, "tick", "ran", 3)
    assert len({slot["due_at"] for slot in ran}) == len({slot["invocation"] for slot in ran}) == len(ran)
    record = ours.api("GET", f"invocations/{ran[-1]['invocation']}").json
    assert (record["script"], record["trigger"], record["outcome"]) == ("tell", "schedule", "ok")
    job = ours.api("GET", f"jobs/{ran[-1]['job']}").json
    assert (job["state"], job["trigger"], job["invocation"]) == ("done", "schedule", ran[-1]["invocation"])
    assert all(slot["lateness_ms"] >= 0 and slot["ended_at"] for slot in ran)
    seen = value(ours, "tell", "seen")
    assert (seen["trigger"], seen["path"], seen["body"]) == ("schedule", "/", {"to": ["me"]})
    assert seen["event"]["schedule"] == "tick"
    assert seen["event"]["due_at"] in [slot["due_at"] for slot in slots(ours, "tick", "ran")]


def test_each_run_is_counted_once(ours: Running) -> None:
    ours.deploy("counter", "return kv.incr('runs')")
    put(ours, "count", "counter", overlap="queue")
    await_slots(ours, "count", "ran", 3)
    assert ours.api("DELETE", "schedules/count").status == 204
    eventually(lambda: slots(ours, "count", "queued"), lambda queued: queued == [])
    assert value(ours, "counter", "runs") == len(slots(ours, "count", "ran"))


def test_a_script_that_fails_ends_its_slot_failed_after_its_attempts(ours: Running) -> None:
    ours.deploy("failing", "error('no')")
    ours.set("failing", {"retry": {"max_attempts": 2, "backoff_ms": 1, "backoff_max_ms": 1}})
    put(ours, "fails", "failing")
    slot = await_slots(ours, "fails", "failed")[-1]
    letter = ours.api("GET", f"dead-letters/{slot['job']}").json
    assert (letter["attempts"], letter["outcome"]) == (2, "script-error")
    assert letter["invocation"] == slot["invocation"]


def hold(picloud: Running, script: str) -> None:
    """A script whose runs do not come to an end: what fails is tried again in an hour, until it is deployed anew."""
    picloud.deploy(script, "error('not yet')")
    picloud.set(script, {"retry": {"max_attempts": 2, "backoff_ms": 3_600_000, "backoff_max_ms": 3_600_000}})


def test_with_skip_what_is_due_while_a_run_is_under_way_does_not_run(ours: Running) -> None:
    hold(ours, "slow")
    put(ours, "skips", "slow", overlap="skip")
    skipped = await_slots(ours, "skips", "skipped-overlap", 2)
    assert len(slots(ours, "skips", "queued")) == 1
    assert all(slot["job"] is None and slot["ended_at"] for slot in skipped)


def test_with_queue_they_run_one_after_the_other(ours: Running) -> None:
    ours.deploy("in-turn", "return function(request) return kv.set('at/' .. kv.incr('n'), request.event.due_at) end")
    put(ours, "queues", "in-turn", overlap="queue")
    await_slots(ours, "queues", "ran", 3)
    assert ours.api("DELETE", "schedules/queues").status == 204
    eventually(lambda: slots(ours, "queues", "queued"), lambda queued: queued == [])
    ran = [slot["due_at"] for slot in reversed(slots(ours, "queues", "ran"))]
    assert [value(ours, "in-turn", f"at/{number}") for number in range(1, len(ran) + 1)] == ran
    assert slots(ours, "queues", "skipped-overlap") == []


SETTER = """
return function(request)
  schedule.set("mine", { cron = "* * * * * *" })
  error{ status = 409 }
end
"""


def test_what_a_script_sets_in_a_run_that_is_rolled_back_is_not_there(ours: Running) -> None:
    ours.deploy("setter", SETTER)
    assert ours.call("GET", "/fn/setter").status == 409
    assert ours.api("GET", "schedules/mine").problem == "not-found"
    assert ours.api("GET", "schedules/mine/slots").problem == "not-found"


def test_what_a_script_sets_runs_it(ours: Running) -> None:
    ours.deploy("alarm", """
    return function(request)
      if request.trigger == "schedule" then
        kv.set("heard", request:json())
        return schedule.remove("alarm")
      end
      schedule.set("alarm", { cron = "* * * * * *", payload = { wake = "up" } })
    end
    """)  # fmt: skip
    ours.call("GET", "/fn/alarm")
    await_slots(ours, "alarm", "ran")
    assert value(ours, "alarm", "heard") == {"wake": "up"}
    assert ours.api("GET", "schedules/alarm").problem == "not-found"
    assert len(slots(ours, "alarm", "ran")) >= 1


def declare(file: Path, *schedules: str) -> None:
    file.write_text("[server]\nworkers = 1\n" + "".join(f"[[schedule]]\n{it}\n" for it in schedules))


def toml(name: str, more: str = "cron = '0 3 29 2 *'") -> str:
    return f"name = '{name}'\nscript = 'later'\n{more}"


def reload(picloud: Running) -> None:
    """Have its dispatcher read the file again."""
    os.kill(picloud.part(DISPATCHER), signal.SIGHUP)


def known(picloud: Running) -> dict[str, tuple[str, str]]:
    """Name → who made it, and what may change of it."""
    found = picloud.api("GET", "schedules").json["items"]
    return {it["name"]: (it["origin"], it["cron"] or it["every"]) for it in found}


def test_what_the_configuration_declares_is_made_changed_and_removed_and_the_rest_stays(tmp_path: Path) -> None:
    file = tmp_path / "picloud.toml"
    declare(file, toml("kept"), toml("changed", "every = '9 weeks'"), toml("removed"))
    with running(tmp_path / "data", PICLOUD_CONFIG=str(file)) as it:
        kept, by_api = ("config", FAR["cron"]), ("api", FAR["cron"])
        made = {"kept": kept, "changed": ("config", "9 weeks"), "removed": kept}
        eventually(lambda: known(it), lambda found: found == made)
        it.deploy("other", "return 1")
        put(it, "theirs", "other", **FAR)
        refused = it.api("DELETE", "schedules/kept")
        assert (refused.problem, "[[schedule]]" in refused.json["detail"]) == ("conflict", True)
        before = it.api("GET", "schedules/kept").json
        declare(file, toml("kept"), toml("changed", "every = '8 weeks'"), toml("theirs"), toml("new"))
        reload(it)
        after = {"kept": kept, "changed": ("config", "8 weeks"), "theirs": by_api, "new": kept}
        eventually(lambda: known(it), lambda found: found == after)
        assert it.api("GET", "schedules/kept").json == before
        declare(file)
        reload(it)
        eventually(lambda: known(it), lambda found: found == {"theirs": by_api})
