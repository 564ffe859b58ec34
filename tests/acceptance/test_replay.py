"""Requests that are kept, what is masked in them, and how they are run again."""

import json
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from picloud.auth import Scope
from tests.fixtures_postgres import execute
from tests.running import Answer, Running, eventually, running

ECHO = """
return function(request)
  local headers = {}
  for name, value in pairs(request.headers) do headers[name] = value end
  return { status = 200 + kv.incr("n"), body = {
    id = request.id, method = request.method, path = request.path, rest = request.params.rest,
    trigger = request.trigger, q = request.query.q, body = base64.encode(request.body),
    headers = headers, addr = request.remote_addr,
  } }
end
"""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("replay")) as server:
        yield server


def deployed(ours: Running, name: str, source: str = ECHO, **settings: object) -> None:
    """A script whose log tells that its record is written: requests come in the same batch."""
    ours.deploy(name, f"log.info('ran') {source}")
    ours.set(name, {"record": "all"} | settings)


def written(ours: Running, answer: Answer) -> dict[str, Any]:
    """The record of an invocation once its batch is written: what it wrote itself is there before."""
    path = f"logs?invocation={answer.header('picloud-invocation')}"
    eventually(lambda: ours.api("GET", path).json["items"], bool)
    return ours.record_of(answer)


def kept(ours: Running, answer: Answer) -> Any:
    """The request of an invocation."""
    return ours.api("GET", f"invocations/{written(ours, answer)['id']}?request=true").json["request"]


def replayed(ours: Running, answer: Answer, query: str = "") -> Answer:
    return ours.api("POST", f"invocations/{written(ours, answer)['id']}/replay?recorded=true{query}")


def test_a_request_is_kept_and_run_again_as_it_was(ours: Running) -> None:
    deployed(ours, "echo")
    body, headers = "Grüße \0".encode() + b"\xff", {"content-type": "x/y", "x-a": "1", "cookie": "a=b"}
    first = ours.call("PUT", "/fn/echo/a%20b/%C3%A9?q=1%2F2", body, headers | {"authorization": "Basic abc"})
    assert first.status == 201
    told = kept(ours, first)
    assert b64decode(told.pop("body")) == body
    own = {"accept-encoding": "identity", "content-length": str(len(body)), "host": f"127.0.0.1:{ours.port}"}
    assert told.pop("headers") == own | {
        "content-type": "x/y", "x-a": "1", "cookie": "***", "authorization": "***",
    }  # fmt: skip
    assert told == {
        "method": "PUT", "path": "/fn/echo/a b/é", "query": "q=1%2F2", "host": f"127.0.0.1:{ours.port}",
        "remote_addr": "127.0.0.1", "base64": True, "body_bytes": len(body), "cut": False, "masked": True,
    }  # fmt: skip
    again = replayed(ours, first)
    assert again.status == 202, "it is a run of its own, which counts"
    seen, once = again.json, first.json
    assert (seen.pop("id"), once.pop("id")) == (
        again.header("picloud-invocation"), first.header("picloud-invocation"),
    )  # fmt: skip
    assert seen.pop("headers") == once.pop("headers") | {"cookie": "***", "authorization": "***"}
    assert seen == once
    assert (seen["method"], seen["rest"], seen["trigger"]) == ("PUT", "a b/é", "http")
    assert b64decode(seen["body"]) == body
    record = written(ours, again)
    assert (record["id"] != written(ours, first)["id"], record["trigger"], record["status"]) == (True, "http", 202)
    assert kept(ours, again)["method"] == "PUT", "it is kept as any other"


def test_a_record_says_nothing_of_its_request_unless_asked(ours: Running) -> None:
    deployed(ours, "shape")
    record = written(ours, ours.call("GET", "/fn/shape"))
    assert list(record) == [
        "id", "script", "version", "trigger", "outcome", "status", "started_at", "queue_ms", "run_ms", "cpu_ms",
        "memory_bytes", "error", "http_calls",
    ]  # fmt: skip
    whole = ours.api("GET", f"invocations/{record['id']}?request=true").json
    assert whole == record | {"request": whole["request"]}


@pytest.mark.parametrize(
    ("setting", "expected"), [("none", []), ("failures", [503, 500]), ("all", [200, 409, 503, 500])]
)
def test_the_setting_says_whose_requests_are_kept(ours: Running, setting: str, expected: list[int]) -> None:
    source = """
    return function(request)
      local status = math.tointeger(tonumber(request.query.status))
      if status == 500 then error("no") end
      if status == 409 then error{ status = 409 } end
      return { status = status }
    end"""
    deployed(ours, "kept", source, record=setting)
    answers = {status: ours.call("GET", f"/fn/kept?status={status}") for status in (200, 409, 503, 500)}
    assert [status for status, answer in answers.items() if kept(ours, answer)] == expected
    settings = ours.api("GET", "scripts/kept/settings").json
    assert settings["record"] == setting


def test_what_an_invoked_script_was_asked_is_kept_by_its_own_setting(ours: Running) -> None:
    deployed(ours, "asked", "return 1")
    deployed(ours, "asks", 'return invoke("asked", { method = "PATCH", body = "x" }).body', record="none")
    outer = ours.call("GET", "/fn/asks")
    assert kept(ours, outer) is None
    (inner,) = eventually(lambda: ours.api("GET", "logs?script=asked").json["items"], bool)
    assert ours.api("GET", f"invocations/{inner['invocation']}?request=true").json["request"]["method"] == "PATCH"


def secret(ours: Running, name: str, value: str) -> str:
    assert ours.api("PUT", f"secrets/{name}", {"value": value}).status in (200, 201)
    return value


@pytest.mark.parametrize("source", ["return secrets.get('HOOK') ~= nil", "return 'it did not ask'", "error('early')"])
def test_secrets_that_are_granted_are_masked_whether_they_were_asked_for_or_not(ours: Running, source: str) -> None:
    value = secret(ours, "HOOK", "pässword/1")
    deployed(ours, "hook", source, secrets=["HOOK"])
    body = f'{{"key": "{value}", "in": "{b64encode(value.encode()).decode()}"}}'.encode()
    answer = ours.call("POST", "/fn/hook/p%C3%A4ssword%2F1?key=p%C3%A4ssword%2F1", body, {"x-key": "p\xc3\xa4ssword/1"})
    told = kept(ours, answer)
    assert (told["path"], told["query"], told["headers"]["x-key"]) == ("/fn/hook/***", "key=***", "***")
    assert json.loads(told["body"])["key"] == "***"
    assert "in" in json.loads(told["body"])
    assert told["masked"]
    rows = execute(ours.database_url, "SELECT request FROM requests WHERE invocation = %s", written(ours, answer)["id"])
    stored = bytes(cast("memoryview", rows[0][0]))
    assert b"ssword" not in stored
    assert b64encode(value.encode()).rstrip(b"=")[:-1] not in stored


def test_a_secret_of_an_invoked_script_is_masked_in_its_callers_request(ours: Running) -> None:
    value = secret(ours, "INNER", "of the inner one")
    deployed(ours, "checks", "return secrets.get('INNER') ~= nil", secrets=["INNER"])
    deployed(ours, "gate", 'invoke("checks") return request.body')
    answer = ours.call("POST", "/fn/gate", value.encode())
    assert answer.body == value.encode()
    assert kept(ours, answer)["body"] == "***"


def test_a_body_that_is_too_large_is_cut_and_not_run_again(ours: Running) -> None:
    deployed(ours, "large", "return #request.body")
    fits = ours.call("POST", "/fn/large", b"x" * 256 * 1024)
    assert replayed(ours, fits).body == b"262144"
    over = ours.call("POST", "/fn/large", b"x" * (256 * 1024 + 1))
    told = kept(ours, over)
    assert (told["cut"], told["body"], told["body_bytes"]) == (True, "", 262145)
    refused = replayed(ours, over)
    assert (refused.status, refused.problem) == (409, "conflict")
    assert "too large to be kept whole: its body had 262145 bytes" in refused.json["detail"]


def test_what_was_not_kept_is_not_run_again(ours: Running) -> None:
    deployed(ours, "forgetful", record="none")
    refused = replayed(ours, ours.call("GET", "/fn/forgetful"))
    assert (refused.status, refused.problem) == (409, "conflict")
    assert "set 'forgetful' to record=failures or record=all" in refused.json["detail"]


@pytest.mark.parametrize("identifier", [str(uuid.UUID(int=0)), "nonsense"])
def test_an_invocation_that_is_not_there_is_not_run_again(ours: Running, identifier: str) -> None:
    assert ours.api("POST", f"invocations/{identifier}/replay").problem == "not-found"


def test_a_script_that_is_gone_is_not_run_again(ours: Running) -> None:
    deployed(ours, "gone")
    answer = ours.call("GET", "/fn/gone")
    record = written(ours, answer)
    assert ours.api("DELETE", "scripts/gone").status == 204
    for query in ("", "&version=1"):
        refused = replayed(ours, answer, query)
        assert (refused.status, refused.problem) == (404, "not-found")
        assert refused.json["detail"] == f"invocation {record['id']} cannot be run again: there is no script 'gone'"


def test_another_version_answers_without_being_active(ours: Running) -> None:
    deployed(ours, "mends", 'error("broken")', record="failures")
    failed = ours.call("POST", "/fn/mends", b"the case")
    assert failed.problem == "script-error"
    assert (
        ours.api(
            "PUT", "scripts/mends?activate=false", b"log.info('ran') return 'mended ' .. request.body", "text/x-lua"
        ).status
        == 201
    )
    assert replayed(ours, failed).problem == "script-error"
    mended = replayed(ours, failed, "&version=2")
    assert mended.body == b"mended the case"
    assert written(ours, mended)["version"] == 2
    assert ours.call("POST", "/fn/mends", b"x").problem == "script-error", "version 1 is the active one still"
    missing = replayed(ours, failed, "&version=3")
    assert (missing.status, "has no version 3" in missing.json["detail"]) == (404, True)


def test_a_dry_run_of_it_keeps_nothing(ours: Running) -> None:
    deployed(ours, "dry")
    first = ours.call("GET", "/fn/dry")
    record = written(ours, first)
    shown = ours.api("POST", f"invocations/{record['id']}/replay?dry_run=true").json
    assert (shown["response"]["status"], [(it["key"], it["value"]) for it in shown["writes"]]) == (202, [("n", 2)])
    assert ours.api("GET", "scripts/dry/kv/n").json == 1
    assert [it["id"] for it in ours.api("GET", "invocations?script=dry").json["items"]] == [record["id"]]


def test_the_limits_of_now_hold(ours: Running) -> None:
    deployed(ours, "limits")
    answer = ours.call("POST", "/fn/limits", b"1234")
    written(ours, answer)
    ours.set("limits", {"limits": {"request_bytes": 3}})
    assert replayed(ours, answer).problem == "body-too-large"


def token(ours: Running, *scopes: Scope, scripts: list[str] | None = None) -> Mapping[str, str]:
    wanted = {"name": f"{scopes} {scripts}", "scopes": scopes} | ({"scripts": scripts} if scripts else {})
    return {"authorization": f"Bearer {ours.api('POST', 'tokens', wanted).json['token']}"}


def test_who_may_not_invoke_a_script_replays_nothing_of_it(ours: Running) -> None:
    deployed(ours, "walled")
    path = f"/api/v1/invocations/{written(ours, ours.call('GET', '/fn/walled'))['id']}/replay"
    mine = token(ours, Scope.INVOKE, scripts=["walled"])
    statuses = [
        ours.call("POST", path + query, headers=headers).status
        for query, headers in (
            ("", {}),
            ("", token(ours, Scope.READ)),
            ("", token(ours, Scope.INVOKE, scripts=["another"])),
            ("?dry_run=true", mine),
            ("", mine),
        )
    ]
    assert statuses == [401, 403, 404, 403, 202]


def test_the_command_line_runs_it_again(ours: Running) -> None:
    deployed(ours, "cli", 'log.info("here") kv.incr("n") return request.method .. " " .. request.body')
    identifier = written(ours, ours.call("PUT", "/fn/cli", b"it"))["id"]
    done = ours.cli("replay", identifier)
    assert (done.returncode, done.stdout) == (0, b"PUT it")
    assert done.stderr.decode().rstrip().endswith("info  here")
    dry = ours.cli("replay", identifier, "--dry-run", "--version", "1")
    assert (dry.returncode, dry.stdout) == (0, b"PUT it")
    assert b"would incr" in dry.stderr
    assert ours.api("GET", "scripts/cli/kv/n").json == 2
    ours.set("cli", {})
    later = written(ours, ours.call("PUT", "/fn/cli", b"it"))["id"]
    refused = ours.cli("replay", later)
    assert (refused.returncode, b"was not kept" in refused.stderr) == (1, True)
    assert ours.cli("replay", "nonsense").returncode == 2
