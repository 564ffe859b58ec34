"""Events, from whoever publishes them to what the scripts that hear of them did: run by the dispatcher."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from picloud.model import EVENT_DEPTH_MAX
from tests.fixtures_postgres import execute
from tests.running import Running, eventually, running

STRUCTURED = "application/cloudevents+json"
ONCE = {"retry": {"max_attempts": 1}}
TELLS = """return function(request)
  local body = { trigger = request.trigger, method = request.method, body = request.body, event = request.event }
  return { body = body }
end"""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A PiCloud in whose tables these tests look."""
    with running(tmp_path_factory.mktemp("heard") / "data") as picloud:
        yield picloud


def hear(ours: Running, script: str, source: str = TELLS, **wanted: str) -> None:
    """Have a script hear of events."""
    ours.deploy(script, source)
    assert ours.api("POST", "subscriptions", {"script": script, **wanted}).status == 201


def ended(ours: Running, count: int, *scripts: str) -> list[tuple[Any, ...]]:
    """What became of the jobs of scripts, once there are so many and none waits → (state, body, error) each."""
    query = """SELECT state, convert_from(body, 'UTF8'), error FROM jobs WHERE script = ANY(%s) ORDER BY id"""
    done = eventually(
        lambda: execute(ours.database_url, query, list(scripts)),
        lambda rows: len(rows) >= count and not any(state == "queued" for state, *_ in rows),
    )
    assert len(done) == count, done
    return done


def answers(ours: Running, count: int, script: str) -> list[Any]:
    """What a script answered its jobs."""
    done = ended(ours, count, script)
    assert {state for state, *_ in done} == {"done"}, done
    return [json.loads(body) for _, body, _ in done]


def test_a_script_runs_for_what_the_api_publishes(ours: Running) -> None:
    hear(ours, "hears", type="order.*")
    event = {"specversion": "1.0", "id": "7", "source": "/till", "type": "order.created", "data": {"item": "tea"}}
    for _ in range(2):
        assert ours.api("POST", "events", event, STRUCTURED).status == 202
    (told,) = answers(ours, 1, "hears")
    assert told == {
        "trigger": "event", "method": "POST", "body": '{"item": "tea"}',
        "event": event | {"datacontenttype": "application/json"},
    }  # fmt: skip


def test_what_a_script_publishes_is_heard_of_once_all_that_it_did_is_stored(ours: Running) -> None:
    source = """return function(request)
      if request.trigger == "event" then return { order = kv.get("order"), told = request.event.data } end
      events.publish("till.order", request:json().order)
      kv.set("order", request:json().order)
      if request:json().fails then error("no") end
      return 1
    end"""
    hear(ours, "till", source, type="till.order")
    json_type = {"content-type": "application/json"}
    assert ours.call("POST", "/fn/till", b'{"order": 1, "fails": true}', json_type).status == 500
    assert ours.call("POST", "/fn/till", b'{"order": 2}', json_type).status == 200
    assert answers(ours, 1, "till") == [{"order": 2, "told": 2}]


def test_scripts_that_publish_to_each_other_come_to_an_end(ours: Running) -> None:
    for name, other in (("ping", "pong"), ("pong", "ping")):
        hear(ours, name, f"events.publish('game.{other}') return 'played'", type=f"game.{name}")
        ours.set(name, ONCE)
    assert ours.call("GET", "/fn/ping").status == 200
    rows = ended(ours, EVENT_DEPTH_MAX, "ping", "pong")
    assert Counter(state for state, *_ in rows) == {"done": EVENT_DEPTH_MAX - 1, "dead": 1}
    (error,) = [error for state, _, error in rows if state == "dead"]
    assert "main.lua:1: events.publish: 16 events led to each other" in error


def test_a_deployment_and_a_rollback_are_heard_of(ours: Running) -> None:
    hear(ours, "hears-deployments", type="picloud.script.deployed", subject="deployed")
    for source in ("return 1", "return 2"):
        ours.deploy("deployed", source)
    assert ours.api("PUT", "scripts/deployed/active", {"version": 1}).status == 200
    told = [it["event"] for it in answers(ours, 3, "hears-deployments")]
    assert Counter(it["data"]["version"] for it in told) == {1: 2, 2: 1}
    assert {(it["source"], it["type"], it["data"]["script"]) for it in told} == {
        ("/picloud", "picloud.script.deployed", "deployed")
    }


def test_a_dead_job_is_heard_of(ours: Running) -> None:
    hear(ours, "hears-dead", type="picloud.job.dead", subject="fails")
    ours.deploy("fails", "error('never')")
    ours.set("fails", ONCE)
    sent = ours.call("POST", "/fn/fails", headers={"prefer": "respond-async"})
    assert sent.status == 202
    (told,) = answers(ours, 1, "hears-dead")
    data = told["event"]["data"]
    assert (told["event"]["source"], told["event"]["subject"]) == ("/picloud", "fails")
    assert (sent.header("location") or "").endswith(f"/{data['job']}")
    assert (data["script"], data["outcome"], data["attempts"]) == ("fails", "script-error", 1)
    assert "never" in data["error"]


def test_a_script_that_dies_of_hearing_that_it_died_comes_to_an_end(ours: Running) -> None:
    hear(ours, "mourns", "error('alas')", type="picloud.job.dead", subject="mourns")
    ours.set("mourns", ONCE)
    assert ours.call("POST", "/fn/mourns", headers={"prefer": "respond-async"}).status == 202
    rows = ended(ours, EVENT_DEPTH_MAX + 1, "mourns")
    assert {state for state, *_ in rows} == {"dead"}
