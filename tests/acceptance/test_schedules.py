"""Schedules over HTTP, from bundles, from scripts and from the command line. All are far away: none runs here."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures_postgres import execute
from tests.running import Answer, Running

FAR = {"cron": "0 3 29 2 *", "timezone": "Europe/Berlin"}  # once in four years
LEAP = re.compile(r"20[0-9]{2}-02-29T02:00:00Z")


@pytest.fixture
def ours(picloud: Running) -> Iterator[Running]:
    """With scripts `one` and `two`, which go afterwards, and all schedules with them."""
    for name in ("one", "two"):
        picloud.deploy(name, "return function(request) return request.body end")
    yield picloud
    for name in ("one", "two", "setter"):
        picloud.api("DELETE", f"scripts/{name}")
    assert picloud.api("GET", "schedules").json["items"] == []


def put(picloud: Running, name: str, **wanted: Any) -> Answer:
    return picloud.api("PUT", f"schedules/{name}", {"script": "one", **FAR, **wanted})


def names(picloud: Running, query: str = "") -> list[str]:
    return [f"{it['name']} {it['origin']}" for it in picloud.api("GET", f"schedules{query}").json["items"]]


def test_a_schedule_is_made_shown_replaced_and_removed(ours: Running) -> None:
    made = ours.api("POST", "schedules", {"name": "leap", "script": "one", **FAR, "payload": {"a": [1, None]}})
    assert (made.status, made.header("location")) == (201, "/api/v1/schedules/leap")
    assert LEAP.fullmatch(made.json["next_due"])
    assert made.json["payload"] == {"a": [1, None]}
    defaults = {"overlap": "skip", "missed": "run-once", "missed_within_s": 86_400, "jitter_s": 0, "origin": "api"}
    assert {key: made.json[key] for key in defaults} == defaults
    assert ours.api("GET", "schedules/leap").json == made.json
    assert ours.api("POST", "schedules", {"name": "leap", "script": "one", **FAR}).problem == "conflict"
    again = put(ours, "leap", overlap="queue", missed="skip", missed_within_s=60, jitter_s=5)
    assert (again.status, again.json["overlap"], again.json["payload"]) == (200, "queue", None)
    assert put(ours, "other", script="two").status == 201
    assert names(ours) == ["leap api", "other api"]
    assert names(ours, "?script=two") == ["other api"]
    assert names(ours, "?after=leap") == ["other api"]
    assert ours.api("DELETE", "schedules/leap").status == 204
    assert ours.api("GET", "schedules/leap").problem == ours.api("DELETE", "schedules/leap").problem == "not-found"


@pytest.mark.parametrize(
    ("wanted", "field", "said"),
    [
        ({"cron": "61 * * * *"}, "cron", "minute '61' is not valid"),
        ({"cron": "* * * *"}, "cron", "4 fields"),
        ({"cron": None, "every": "10 minuts"}, "every", "did you mean 'minutes'?"),
        ({"every": "day"}, "every", "either"),
        ({"cron": None}, "cron", "either"),
        ({"at": "09:00"}, "at", "goes with 'every'"),
        ({"timezone": "Berlin"}, "timezone", "did you mean 'Europe/Berlin'?"),
        ({"payload": "x" * 70_000}, "payload", "at most 65536"),
        ({"overlap": "wait"}, "overlap", "'wait' is not known"),
        ({"missed_within_s": -1}, "missed_within_s", "at least 0"),
        ({"jiter_s": 1}, "jiter_s", "did you mean 'jitter_s'?"),
        ({"script": "No"}, "script", "cannot be a script's name"),
    ],
)
def test_what_is_no_schedule_is_refused_with_field_and_reason(
    ours: Running, wanted: dict[str, Any], field: str, said: str
) -> None:
    answer = put(ours, "bad", **wanted)
    assert (answer.status, answer.problem) == (422, "invalid-request")
    (error,) = answer.json["errors"]
    assert error["field"] == field
    assert said in error["message"]
    assert names(ours) == []


def test_a_name_that_is_none_and_a_script_that_is_not_there_are_refused(ours: Running) -> None:
    assert put(ours, "No").json["errors"][0]["field"] == "name"
    assert put(ours, "none", script="three").problem == "not-found"


def test_when_it_is_due_next_is_told_in_utc_and_in_its_zone(ours: Running) -> None:
    put(ours, "leap")
    told = ours.api("GET", "schedules/leap/next-runs?count=3").json
    assert (told["schedule"], told["timezone"], len(told["items"])) == ("leap", "Europe/Berlin", 3)
    for run in told["items"]:
        assert LEAP.fullmatch(run["due_at"])
        assert run["local"].endswith("-02-29T03:00:00+01:00")
    assert told["items"][0]["due_at"] == ours.api("GET", "schedules/leap").json["next_due"]
    assert len(ours.api("GET", "schedules/leap/next-runs").json["items"]) == 5
    assert ours.api("GET", "schedules/leap/next-runs?count=0").status == 422


def test_the_ledger_is_paged_and_filtered_and_outlives_the_schedule(ours: Running) -> None:
    put(ours, "leap")
    day = datetime(2001, 1, 1, tzinfo=UTC)
    insert = (
        "INSERT INTO slots (schedule, due_at, script, state, until_at, count) VALUES ('leap', %s, 'one', %s, %s, %s)"
    )
    for n, state in enumerate(("ran", "failed", "missed")):
        until, count = (day + timedelta(days=9), 10) if state == "missed" else (None, 1)
        execute(ours.database_url, insert, day + timedelta(days=n), state, until, count)
    first = ours.api("GET", "schedules/leap/slots?limit=2").json
    assert [it["state"] for it in first["items"]] == ["missed", "failed"]
    assert (first["items"][0]["until"], first["items"][0]["count"]) == ("2001-01-10T00:00:00Z", 10)
    rest = ours.api("GET", f"schedules/leap/slots?limit=2&after={first['next']}").json
    assert ([it["state"] for it in rest["items"]], rest["next"]) == (["ran"], None)
    only = ours.api("GET", "schedules/leap/slots?state=failed").json["items"]
    assert [it["due_at"] for it in only] == ["2001-01-02T00:00:00Z"]
    ours.api("DELETE", "schedules/leap")
    assert len(ours.api("GET", "schedules/leap/slots").json["items"]) == 3
    execute(ours.database_url, "DELETE FROM slots WHERE schedule = 'leap'")
    assert ours.api("GET", "schedules/leap/slots").problem == "not-found"


def limited(picloud: Running, *scripts: str) -> dict[str, str]:
    wanted = {"name": f"limited {scripts}", "scopes": ["deploy", "read"], "scripts": list(scripts)}
    return {"authorization": f"Bearer {picloud.api('POST', 'tokens', wanted).json['token']}"}


def test_a_limited_token_sees_and_changes_what_is_of_its_scripts_alone(ours: Running) -> None:
    put(ours, "of-one")
    put(ours, "of-two", script="two")
    headers = limited(ours, "two")

    def ask(method: str, path: str, script: str = "two") -> Answer:
        body = json.dumps({"script": script, **FAR}).encode() if method == "PUT" else None
        return ours.call(method, f"/api/v1/schedules{path}", body, headers)

    assert [it["name"] for it in ask("GET", "").json["items"]] == ["of-two"]
    for path in ("/of-one", "/of-one/slots", "/of-one/next-runs"):
        assert ask("GET", path).problem == "not-found"
    assert ask("DELETE", "/of-one").problem == "not-found"
    assert ask("PUT", "/mine", "one").problem == "forbidden"
    assert ask("PUT", "/of-one").problem == "conflict"
    assert ask("PUT", "/mine").status == 201
    assert ask("DELETE", "/mine").status == ask("DELETE", "/of-two").status == 204
    assert names(ours) == ["of-one api"]


def bundle(picloud: Running, toml: str, source: str = "return 1") -> Answer:
    files = {"main.lua": source, "picloud.toml": toml}
    return picloud.api("PUT", "scripts/one", {"files": files})


def test_a_bundles_schedules_come_change_and_go_with_it(ours: Running) -> None:
    first = "[[schedule]]\ncron = '0 3 29 2 *'\n[[schedule]]\nname = 'second'\nevery = '9 weeks'\npayload.to = ['me']\n"
    assert bundle(ours, first).status == 201
    assert names(ours) == ["one bundle", "second bundle"]
    second = ours.api("GET", "schedules/second").json
    assert second["payload"] == {"to": ["me"]}
    assert put(ours, "second").json["detail"].startswith("schedule 'second' is declared by the picloud.toml of script")
    assert (
        bundle(ours, "[[schedule]]\nname = 'second'\nevery = '9 weeks'\njitter = '2 hours'\n", "return 2").status == 201
    )
    assert names(ours) == ["second bundle"]
    changed = ours.api("GET", "schedules/second").json
    assert (changed["jitter_s"], changed["anchor"], changed["next_due"]) == (7200, second["anchor"], second["next_due"])
    refused = bundle(ours, "[[schedule]]\nname = 'second'\n[[schedule]]\ncron = 'now'\n", "return 3")
    assert refused.status == 422
    assert [it["field"] for it in refused.json["errors"]] == ["schedule[0].cron", "schedule[1].cron"]
    assert ours.call("GET", "/fn/one").body == b"2"
    put(ours, "taken", script="two")
    clash = bundle(ours, "[[schedule]]\nname = 'taken'\ncron = '@yearly'\n", "return 4")
    assert clash.problem == "conflict"
    assert (ours.call("GET", "/fn/one").body, names(ours)) == (b"2", ["second bundle", "taken api"])
    ours.api("DELETE", "scripts/one")
    assert names(ours) == ["taken api"]


def test_a_version_that_waits_brings_its_schedules_when_it_is_first_active(ours: Running) -> None:
    files = {"main.lua": "return 7", "picloud.toml": "[[schedule]]\ncron = '0 3 29 2 *'\n"}
    waiting = ours.api("PUT", "scripts/one?activate=false", {"files": files}).json["version"]
    assert names(ours) == []
    assert ours.api("PUT", "scripts/one/active", {"version": waiting}).status == 200
    assert names(ours) == ["one bundle"]


def setter(picloud: Running, source: str) -> Answer:
    picloud.deploy("setter", source)
    return picloud.call("GET", "/fn/setter")


def test_a_script_sets_lists_and_removes_its_own(ours: Running) -> None:
    answer = setter(
        ours,
        """
        local due = schedule.set("leap", {
          cron = "0 3 29 2 *", timezone = "Europe/Berlin", payload = { to = { "me" } },
          overlap = "queue", missed = "skip", missed_within_s = 60, jitter_s = 5,
        })
        schedule.set("weekly", { every = "monday", at = "09:00" })
        return { due = due, all = schedule.list(), one = schedule.get("weekly"), none = schedule.get("nothing") == nil }
        """,
    )
    assert answer.status == 200, answer
    told = answer.json
    leap = ours.api("GET", "schedules/leap").json
    assert told["due"] == leap["next_due"]
    assert told["none"]
    assert [it["name"] for it in told["all"]] == ["leap", "weekly"]
    assert told["all"][0] == {
        "name": "leap", "script": "setter", "cron": "0 3 29 2 *", "timezone": "Europe/Berlin",
        "payload": {"to": ["me"]},
        "overlap": "queue", "missed": "skip", "missed_within_s": 60, "jitter_s": 5, "next_due": told["due"],
    }  # fmt: skip
    assert (told["one"]["every"], told["one"]["at"]) == ("monday", "09:00")
    assert names(ours) == ["leap script", "weekly script"]
    assert put(ours, "leap").json["detail"].startswith("schedule 'leap' was made by a run of script 'setter'")
    gone = setter(ours, "return { schedule.remove('leap'), schedule.remove('leap') }")
    assert gone.json == [True, False]
    assert names(ours) == ["weekly script"]
    ours.api("DELETE", "scripts/setter")
    assert names(ours) == []


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("schedule.set('x', { cron = '61 * * * *' })", "schedule.set: cron: the minute '61' is not valid"),
        ("schedule.set('x', { every = 'day', at = 'noon' })", "schedule.set: at: "),
        ("schedule.set('x', { cron = '@daily', overlap = 'wait' })", "overlap must be one of skip, queue, allow"),
        ("schedule.set('x', { cron = '@daily', jitter_s = -1 })", "jitter_s must be a whole number from 0"),
        ("schedule.set('x', { cron = '@daily', payload = print })", "payload: $: a function cannot be JSON"),
        ("schedule.set('x', { cron = '@daily', script = 'two' })", "sets schedules for itself"),
        ("schedule.set('x', { crn = '@daily' })", "there is no option 'crn'"),
        ("schedule.set('X', { cron = '@daily' })", "cannot be a schedule's name"),
        ("schedule.set('x')", "give either 'cron' or 'every'"),
        ("schedule.set({}, { cron = '@daily' })", "schedule.set needs a string"),
        ("schedule.set('theirs', { cron = '@daily' })", "there is a schedule 'theirs' already, which is not yours"),
        ("schedule.remove('theirs')", "which is not yours"),
    ],
)
def test_what_a_script_may_not_is_an_error_at_its_line(ours: Running, call: str, said: str) -> None:
    put(ours, "theirs")
    answer = setter(ours, f"\n\n{call}")
    assert answer.problem == "script-error"
    assert answer.json["detail"].startswith("main.lua:3: ")
    assert said in answer.json["detail"]
    assert names(ours) == ["theirs api"]


@pytest.mark.parametrize("end", ["error{status = 409}", "error('no')", "return { status = 7 }"])
def test_what_a_run_set_is_undone_with_it(ours: Running, end: str) -> None:
    setter(ours, f"schedule.set('leap', {{ cron = '@yearly' }}) {end}")
    assert names(ours) == []


def test_a_dry_run_sets_nothing(ours: Running) -> None:
    ours.deploy("setter", "return schedule.set('leap', { cron = '0 0 29 2 *' })")
    told = ours.api("POST", "scripts/setter/invoke?dry_run=true").json
    assert told["outcome"] == "ok"
    assert names(ours) == []


CONFIGURED = """
[server]
workers = 1
[[schedule]]
name = "leap"
script = "not-there-yet"
cron = "0 3 29 2 *"
"""


def test_up_refuses_a_configuration_whose_schedules_are_wrong_before_it_starts_anything(tmp_path: Path) -> None:
    file = tmp_path / "picloud.toml"
    file.write_text(CONFIGURED + "[[schedule]]\nname = 'x'\nscript = 'y'\ncron = '61 * * * *'\n")
    ours = Running(tmp_path / "data", {"PICLOUD_CONFIG": str(file)})
    ended = ours.cli("up")
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert f"{file}: schedule[1].cron: the minute '61' is not valid".encode() in ended.stderr
    assert not (tmp_path / "data" / "run").exists()


def test_the_command_line_does_all_of_it(ours: Running) -> None:
    wanted = ("--cron", "0 3 29 2 *", "--timezone", "Europe/Berlin", "--payload", '{"a": 1}', "--jitter", "5")
    made = ours.cli("schedule", "set", "leap", "one", *wanted)
    assert made.stdout.startswith(b"leap runs one at '0 3 29 2 *'; next: 20"), made
    assert ours.api("GET", "schedules/leap").json["payload"] == {"a": 1}
    listed = ours.cli("schedule", "ls").stdout.decode().split("\t")
    assert listed[:4] == ["leap", "one", "at '0 3 29 2 *'", "Europe/Berlin"]
    assert json.loads(ours.cli("schedule", "ls", "--script", "two", "--json").stdout) == []
    assert b"jitter_s: 5" in ours.cli("schedule", "show", "leap").stdout
    told = ours.cli("schedule", "next-runs", "leap", "--count", "2").stdout.decode().splitlines()
    assert len(told) == 2
    assert all("-02-29T02:00:00Z\t" in line for line in told)
    tried = ours.cli(
        "schedule", "next-runs", "--every", "monday", "--at", "09:00", "--count", "1", PICLOUD_URL="unix:/no"
    )
    assert tried.stdout.decode().strip().endswith("T09:00:00+00:00")
    for wrong, said in (
        (("next-runs", "--cron", "61 * * * *"), b"--cron: the minute '61' is not valid"),
        (("set", "leap", "one", "--cron", "@daily", "--payload", "{"), b"--payload is no JSON"),
        (("next-runs", "leap", "--cron", "@daily"), b"not both"),
    ):
        refused = ours.cli("schedule", *wrong)
        assert refused.returncode == 2
        assert said in refused.stderr
    execute(
        ours.database_url, "INSERT INTO slots (schedule, due_at, script, state) VALUES ('leap', now(), 'one', 'ran')"
    )
    assert b"\tran\t" in ours.cli("schedule", "slots", "leap", "--state", "ran").stdout
    assert ours.cli("schedule", "slots", "leap", "--state", "missed").stdout == b""
    assert ours.cli("schedule", "rm", "leap").returncode == 0
    assert ours.cli("schedule", "show", "leap").returncode == 1
    assert b"cannot be a schedule's name" in ours.cli("schedule", "show", "..").stderr
    execute(ours.database_url, "DELETE FROM slots WHERE schedule = 'leap'")
