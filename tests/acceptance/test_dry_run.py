"""Dry runs: the real script on real data, told and not done."""

import contextlib
import json
import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest

from picloud.auth import Scope
from picloud.storage.pool import Pool
from tests.acceptance.test_http_fetch import World, a_world
from tests.running import Running, running

NOTHING: dict[str, Any] = {"events": [], "jobs": [], "requests": []}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with a_world() as there:
        yield there


@pytest.fixture(scope="module")
def ours(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("dry"), PICLOUD_PRIVATE_HOSTS=world.host) as server:
        yield server


def dry(ours: Running, name: str, body: bytes = b"{}", query: str = "") -> Any:
    """What a dry run shows."""
    answer = ours.api("POST", f"scripts/{name}/invoke?dry_run=true{query}", body)
    assert (answer.status, answer.header("content-type")) == (200, "application/json"), answer
    return answer.json


def contents(ours: Running) -> dict[str, list[str]]:
    """Every row of every table, but for when tokens were used."""
    pool = Pool(ours.database_url, size=1, wait_ms=5_000)
    with contextlib.closing(pool), pool.transaction() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        rows = {}
        for (name,) in sorted(cursor.fetchall()):
            cursor.execute(f"SELECT (to_jsonb(it) - 'last_used_at')::text FROM \"{name}\" it ORDER BY 1")
            rows[name] = [row[0] for row in cursor.fetchall()]
        return rows


def test_everything_is_told_and_nothing_is_kept(ours: Running) -> None:
    source = """
    return function(request)
      log.info("asked", { of = request.trigger })
      kv.set("name", { who = request:json().who }, { ttl = 60 })
      kv.incr("hits", 2)
      kv.get("seen")
      kv.incr("seen")
      kv.delete("old")
      kv.delete("never was")
      kv.set("raw", "\\xff\\x00")
      return { status = 201, headers = { ["x-a"] = { "1", "2" } }, body = { hits = kv.get("hits") } }
    end"""
    ours.deploy("told", source)
    for key, value in (("hits", 40), ("old", "x"), ("seen", 1)):
        assert ours.api("PUT", f"scripts/told/kv/{key}", value).status == 200
    versions = {it["key"]: it["version"] for it in ours.api("GET", "scripts/told/kv").json["items"]}
    before = contents(ours)
    shown = dry(ours, "told", b'{"who": "Ada"}')
    assert contents(ours) == before
    (line,) = shown.pop("logs")
    assert (line["script"], line["level"], line["message"], line["fields"]) == (
        "told", "info", "asked", {"of": "invoke"},
    )  # fmt: skip
    writes = shown.pop("writes")
    assert shown == NOTHING | {
        "script": "told", "version": 1, "outcome": "ok", "error": "", "would_commit": True,
        "response": {
            "status": 201,
            "headers": {"content-type": "application/json", "x-a": ["1", "2"]},
            "body": '{"hits":42}',
            "base64": False,
        },
    }  # fmt: skip
    assert [(it["change"], it["key"], it["value"], it["version_before"]) for it in writes] == [
        ("set", "name", {"who": "Ada"}, None),
        ("incr", "hits", 42, versions["hits"]),
        ("incr", "seen", 2, versions["seen"]),
        ("delete", "old", None, versions["old"]),
        ("set", "raw", "/wA=", None),
    ]
    assert [it["base64"] for it in writes] == [False, False, False, False, True]
    assert {(it["script"], it["space"], it["cut"]) for it in writes} == {("told", None, False)}
    assert [bool(it["expires_at"]) for it in writes] == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("ending", "outcome", "status"),
    [
        ("return nil", "ok", 204),
        ("error{ status = 409, body = 'undone' }", "ok", 409),
        ("error('no')", "script-error", None),
        ("return { status = 99 }", "bad-response", None),
        ("while true do end", "cpu-limit", None),
    ],
)
def test_however_it_ends_it_is_told_and_rolled_back(
    ours: Running, ending: str, outcome: str, status: int | None
) -> None:
    ours.deploy("ends", f"kv.set('a', 1) log.info('here') {ending}")
    ours.set("ends", {"limits": {"cpu_ms": 200}})
    before = contents(ours)
    shown = dry(ours, "ends")
    assert contents(ours) == before
    assert (shown["outcome"], shown["response"] and shown["response"]["status"]) == (outcome, status)
    assert [(it["key"], it["value"]) for it in shown["writes"]] == [("a", 1)]
    assert shown["would_commit"] is (status == 204)
    assert bool(shown["error"]) is (status is None)
    assert shown["logs"][0]["message"] == "here"


def test_an_answer_that_is_no_text_comes_in_base64(ours: Running) -> None:
    ours.deploy("binary", r'return "\xff\xfe"')
    response = dry(ours, "binary")["response"]
    assert (b64decode(response["body"]), response["base64"]) == (b"\xff\xfe", True)


def test_a_stream_is_shown_whole_and_held_to_its_rules(ours: Running) -> None:
    source = """
    kv.set("before", 1)
    return stream(function(write)
      write("a") write("b")
      log.info(select(2, pcall(kv.set, "after", 1)))
      if request.query.fail then error("in the middle") end
    end)"""
    ours.deploy("streams", source)
    before = contents(ours)
    shown = dry(ours, "streams")
    assert contents(ours) == before
    assert (shown["outcome"], shown["response"]["body"]) == ("ok", "ab")
    assert [it["key"] for it in shown["writes"]] == ["before"]
    assert "the answer has begun" in shown["logs"][0]["message"]


def test_nobody_is_called_and_the_script_is_told_so_at_its_line(ours: Running, world: World) -> None:
    asked = len(world.asked)
    ours.deploy("calls", f'kv.set("a", 1)\nreturn http.post("{world.url}/p?q=1", {{ a = 1 }}).body')
    shown = dry(ours, "calls")
    assert shown["error"] == "main.lua:2: http.fetch: a dry run calls nobody; --allow-http lets it"
    assert (shown["outcome"], shown["response"]) == ("script-error", None)
    (request,) = shown["requests"]
    assert request == {
        "script": "calls", "method": "POST", "url": f"{world.url}/p?q=1",
        "headers": {"content-type": "application/json"}, "body_bytes": 7, "made": False,
    }  # fmt: skip
    assert len(world.asked) == asked


def test_a_request_that_would_be_refused_is_none(ours: Running, world: World) -> None:
    ours.deploy("refused", f'pcall(http.get, "{world.url}/") pcall(http.get, "gopher://x") return "went on"')
    ours.set("refused", {"allow_hosts": ["api.example.org"]})
    shown = dry(ours, "refused")
    assert (shown["response"]["body"], shown["requests"]) == ("went on", [])


def test_others_are_called_if_that_is_allowed(ours: Running, world: World) -> None:
    ours.deploy("allowed", f'kv.set("a", 1) return http.get("{world.url}/there"):json().path')
    before = contents(ours)
    shown = dry(ours, "allowed", query="&allow_http=true")
    assert (shown["response"]["body"], [it["made"] for it in shown["requests"]]) == ("/there", [True])
    assert world.asked[-1][1] == "/there"
    assert contents(ours) == before, "not even the mark of who calls out"


def test_scripts_that_are_invoked_are_part_of_it(ours: Running) -> None:
    ours.deploy("inner", 'log.info("inside") kv.incr("n") if request.query.fail then error("no") end return "x"')
    ours.deploy("outer", 'kv.set("a", 1) pcall(invoke, "inner", { query = { fail = 1 } }) return invoke("inner").body')
    before = contents(ours)
    shown = dry(ours, "outer")
    assert contents(ours) == before
    assert shown["response"]["body"] == "x"
    assert [(it["script"], it["key"], it["value"]) for it in shown["writes"]] == [("outer", "a", 1), ("inner", "n", 1)]
    lines = [(it["script"], it["level"]) for it in shown["logs"]]
    assert lines == [("inner", "info"), ("inner", "error"), ("inner", "info")]


def test_jobs_are_told_and_not_sent(ours: Running) -> None:
    source = """
    function later() end
    return function(request)
      jobs.send("sender", { to = "Ada" }, { delay_s = 60, key = "k" })
      local how = { at = "2020-01-01T00:00:00Z", ordering_key = "o", priority = 5, max_attempts = 1 }
      local id = jobs.send("sender", nil, how)
      jobs.send("sender", 1, { key = "k" })
      pcall(jobs.send, "nobody")
      after("later", { n = 1 })
      jobs.cancel(id)
      return nil
    end"""
    ours.deploy("sender", source)
    before = contents(ours)
    shown = dry(ours, "sender")
    assert contents(ours) == before
    sent, other, kept, after, cancelled = shown["jobs"]
    first = {
        "script": "sender", "change": "send", "id": None, "to": "sender", "function": None, "payload": {"to": "Ada"},
        "payload_bytes": 12, "cut": False, "delay_ms": 60_000, "due_at": None, "key": "k", "ordering_key": None,
        "priority": 0, "max_attempts": None,
    }  # fmt: skip
    assert sent == first
    plain = first | {"delay_ms": 0, "key": None}
    assert other == plain | {
        "payload": None, "payload_bytes": 4, "ordering_key": "o", "priority": 5, "max_attempts": 1,
    }  # fmt: skip
    assert kept == first | {
        "change": "keep", "id": kept["id"], "payload": 1, "payload_bytes": 1, "delay_ms": 0,
    }  # fmt: skip
    assert after == plain | {"function": "later", "payload": {"n": 1}, "payload_bytes": 7}
    assert (cancelled["change"], cancelled["to"]) == ("cancel", None)


def test_secrets_are_masked(ours: Running, world: World) -> None:
    assert ours.api("PUT", "secrets/KEY", {"value": "12345678"}).status == 201
    source = f"""
    local key = secrets.get("KEY")
    log.info("it is " .. key)
    kv.set("of " .. key, {{ key = key }}) kv.set("number", tonumber(key)) kv.set("raw", "\\xff" .. key)
    pcall(http.fetch, {{ url = "{world.url}/?k=" .. key, headers = {{ Authorization = "Basic x", ["x-key"] = key }} }})
    error("with " .. key)"""
    ours.deploy("keeper", source)
    ours.set("keeper", {"secrets": ["KEY"]})
    answer = ours.api("POST", "scripts/keeper/invoke?dry_run=true")
    assert b"12345678" not in answer.body
    shown = answer.json
    assert [(it["key"], it["value"]) for it in shown["writes"]] == [
        ("of ***", {"key": "***"}), ("number", "***"), ("raw", "/yoqKg=="),
    ]  # fmt: skip
    (request,) = shown["requests"]
    assert (request["url"], request["headers"]) == (
        f"{world.url}/?k=***", {"authorization": "***", "x-key": "***"},
    )  # fmt: skip


def test_values_that_are_too_many_are_cut(ours: Running) -> None:
    ours.deploy("large", 'for n = 1, 20 do kv.set("k" .. n, ("x"):rep(256 * 1024)) end return #kv.get("k20")')
    shown = dry(ours, "large")
    assert shown["response"]["body"] == "262144"
    assert [it["cut"] for it in shown["writes"]] == [False] * 15 + [True] * 5
    assert {it["value"] for it in shown["writes"][15:]} == {None}


def token(ours: Running, *scopes: Scope, scripts: list[str] | None = None) -> dict[str, str]:
    wanted = {"name": f"{scopes} {scripts}", "scopes": scopes} | ({"scripts": scripts} if scripts else {})
    return {"authorization": f"Bearer {ours.api('POST', 'tokens', wanted).json['token']}"}


def test_who_may_not_read_gets_no_dry_run(ours: Running) -> None:
    ours.deploy("shy", "log.info('private') return 'hello'")
    path, headers = "/api/v1/scripts/shy/invoke", token(ours, Scope.INVOKE)
    assert ours.call("POST", path, headers=headers).body == b"hello"
    refused = ours.call("POST", f"{path}?dry_run=true", headers=headers)
    assert (refused.status, refused.problem) == (403, "forbidden")
    assert "'read'" in refused.json["detail"]
    assert ours.call("POST", f"{path}?dry_run=true", headers=token(ours, Scope.INVOKE, Scope.READ)).status == 200


def test_a_token_that_is_limited_sees_nothing_of_other_scripts(ours: Running) -> None:
    ours.deploy("theirs", 'log.info("theirs") kv.set("theirs", 1) return "x"')
    ours.deploy("mine", 'log.info("mine") kv.set("mine", 1) return invoke("theirs").body')
    headers = token(ours, Scope.INVOKE, Scope.READ, scripts=["mine"])
    shown = ours.call("POST", "/api/v1/scripts/mine/invoke?dry_run=true", headers=headers).json
    assert [it["message"] for it in shown["logs"]] == ["mine"]
    assert [it["key"] for it in shown["writes"]] == ["mine"]


def test_what_did_not_run_is_no_dry_run(ours: Running) -> None:
    ours.deploy("small", "return 1")
    ours.set("small", {"limits": {"request_bytes": 3}})
    assert ours.api("POST", "scripts/small/invoke?dry_run=true", b"1234").problem == "body-too-large"
    assert ours.api("POST", "scripts/nobody/invoke?dry_run=true").problem == "not-found"


def test_the_command_line_tells_it_apart(ours: Running, world: World) -> None:
    ours.deploy("cli", f'log.info("here") kv.set("a", "\\27[2J") pcall(http.get, "{world.url}/x") return "the answer"')
    done = ours.cli("invoke", "cli", "--dry-run")
    assert (done.returncode, done.stdout) == (0, b"the answer"), done.stderr
    log, wrote, called, last = done.stderr.decode().splitlines()
    assert log.endswith("info  here")
    assert wrote == 'would set "a" to "\\u001b[2J"; it was not there'
    assert called == f"would call GET {world.url}/x"
    assert last == "dry run of version 1: nothing of it was kept"
    whole = json.loads(ours.cli("invoke", "cli", "--dry-run", "--json").stdout)
    assert [it["key"] for it in whole["writes"]] == ["a"]
    assert ours.cli("kv", "ls", "cli").stdout == b""
    assert ours.cli("invocations", "cli").stdout == b""


def test_the_command_line_tells_jobs_too(ours: Running) -> None:
    source = """
    function later() end
    jobs.send("cli-sender", { to = "\\27[2J" }, { delay_s = 1.5, key = "k", priority = 5 })
    local id = after("later")
    jobs.cancel(id)
    jobs.send("cli-sender", ("x"):rep(500), { key = "k", at = time.now() + 3600 })
    return "done"
    """
    ours.deploy("cli-sender", source)
    done = ours.cli("invoke", "cli-sender", "--dry-run")
    sent, after, cancelled, kept, _ = done.stderr.decode().splitlines()
    assert sent == 'would send a job to cli-sender: {"to": "\\u001b[2J"}, in 1.5 s, key "k", priority 5'
    assert after == "would send a job to cli-sender for its function later: null"
    assert re.fullmatch(r"would cancel the job [0-9a-f-]{36}", cancelled)
    assert re.fullmatch(
        r'would keep a job to cli-sender: "x{199}…, 20\S+Z, key "k"; [0-9a-f-]{36} is there with its key', kept
    )


def test_the_command_line_fails_as_the_script_does(ours: Running, world: World) -> None:
    ours.deploy("fails", f'kv.incr("n") return http.get("{world.url}/x").body')
    done = ours.cli("invoke", "fails", "--dry-run")
    assert (done.returncode, done.stdout) == (1, b"")
    said = done.stderr.decode()
    assert "would not incr" in said
    assert "a dry run calls nobody; --allow-http lets it (script-error)" in said
    assert ours.cli("invoke", "fails", "--dry-run", "--allow-http").returncode == 0
    refused = ours.cli("invoke", "fails", "--allow-http")
    assert (refused.returncode, b"--allow-http goes with --dry-run" in refused.stderr) == (2, True)
