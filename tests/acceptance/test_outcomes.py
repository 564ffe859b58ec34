"""The outcome table: each row through the real server, which is unharmed."""

from typing import Any

import pytest

from tests.running import Running

ROWS: list[tuple[str, int, dict[str, int], str]] = [
    ("script-error", 500, {}, 'return function() error("boom") end'),
    ("script-error", 500, {}, "local t = nil\nreturn t.x"),
    ("timeout", 504, {"wall_ms": 300}, "return function() while true do end end"),
    ("cpu-limit", 504, {"cpu_ms": 200}, "return function() while true do end end"),
    ("cpu-limit", 504, {"cpu_ms": 200}, "while true do pcall(function() while true do end end) end"),
    ("memory-limit", 500, {}, 'local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(100000) .. i end'),
    ("bad-response", 502, {}, "return { status = 99 }"),
    ("bad-response", 502, {}, "return { status = 600 }"),
    ("bad-response", 502, {}, "return { status = -1 }"),
    ("bad-response", 502, {}, "return { status = math.mininteger }"),
    ("script-error", 500, {}, 'error("main.lua:99999999999999999999: x", 0)'),
    ("script-error", 500, {}, 'error("main.lua:" .. ("9"):rep(400) .. ": x", 0)'),
    ("bad-response", 502, {}, 'return { status = "ok" }'),
    ("bad-response", 502, {}, 'return { headers = { ["bad name"] = "x" } }'),
    ("bad-response", 502, {}, 'return { headers = { x = "a\\r\\nb: c" } }'),
    ("bad-response", 502, {}, 'return { headers = { connection = "close" } }'),
    ("bad-response", 502, {}, "return function() return print end"),
    ("bad-response", 502, {}, 'return ("x"):rep(7 * 1024 * 1024)'),
    ("bad-response", 502, {}, "return { value = 0/0 }"),
    ("invalid-request", 400, {}, "return function(request) return request:json() end"),
]


@pytest.mark.parametrize(("name", "status", "limits", "source"), ROWS)
def test_each_outcome_has_its_problem_and_the_next_request_is_right(
    picloud: Running, name: str, status: int, limits: dict[str, int], source: str
) -> None:
    picloud.deploy("row", source)
    picloud.set("row", {"limits": limits})
    answer = picloud.call("GET", "/fn/row")
    assert (answer.problem, answer.status) == (name, status)
    assert answer.json["detail"]
    assert answer.header("server-timing")
    record = picloud.record_of(answer)
    assert (record["outcome"], record["status"], record["script"]) == (name, status, "row")
    assert record["error"] == answer.json["detail"]
    picloud.deploy("after", 'return "fine"')
    assert picloud.call("GET", "/fn/after").body == b"fine"


def test_an_answer_is_recorded_as_ok(picloud: Running) -> None:
    picloud.deploy("fine", 'return function(request) log.warn("careful", { n = 1 }) return { status = 404 } end')
    answer = picloud.call("GET", "/fn/fine")
    record = picloud.record_of(answer)
    assert {key: record[key] for key in ("outcome", "status", "trigger", "version")} == {
        "outcome": "ok", "status": 404, "trigger": "http", "version": record["version"],
    }  # fmt: skip
    assert record["run_ms"] > 0
    assert record["memory_bytes"] > 0
    line = picloud.api("GET", f"logs?invocation={record['id']}").json["items"][0]
    assert (line["level"], line["message"], line["fields"]) == ("warn", "careful", {"n": 1})


def test_an_error_names_its_line_to_the_caller_and_its_traceback_to_the_log(picloud: Running) -> None:
    picloud.deploy("bad", 'local function inner()\n  error("boom")\nend\nreturn function() inner() end')
    answer = picloud.call("GET", "/fn/bad")
    assert answer.json["detail"] == "main.lua:2: boom"
    assert b"traceback" not in answer.body
    lines = logs_of(picloud, picloud.record_of(answer))
    assert lines[0]["level"] == "error"
    assert lines[0]["message"].startswith("script-error: main.lua:2: boom\nstack traceback")


def test_an_error_is_kept_from_the_caller_if_the_script_says_so(picloud: Running) -> None:
    picloud.deploy("secretive", 'error("the password is swordfish")')
    picloud.set("secretive", {"expose_errors": False})
    answer = picloud.call("GET", "/fn/secretive")
    assert answer.problem == "script-error"
    assert b"swordfish" not in answer.body
    assert "swordfish" in picloud.record_of(answer)["error"]


def test_an_error_table_is_the_answer(picloud: Running) -> None:
    picloud.deploy("refuse", 'return function() error{ status = 409, body = { why = "taken" } } end')
    answer = picloud.call("GET", "/fn/refuse")
    assert (answer.status, answer.json) == (409, {"why": "taken"})


def test_lines_written_before_a_kill_are_kept(picloud: Running) -> None:
    picloud.deploy("killed", 'return function() log.info("before") while true do end end')
    picloud.set("killed", {"limits": {"cpu_ms": 300}})
    lines = logs_of(picloud, picloud.record_of(picloud.call("GET", "/fn/killed")))
    assert [line["message"] for line in lines[::-1]] == ["before", "cpu-limit: exceeded the CPU limit of 300 ms"]


def test_many_short_lines_are_cut_off_and_not_a_crash(picloud: Running) -> None:
    picloud.deploy("chatty", 'return function() for i = 1, 70000 do print("") end return "ok" end')
    answer = picloud.call("GET", "/fn/chatty")
    assert answer.body == b"ok"
    record = picloud.record_of(answer)
    newest = picloud.api("GET", f"logs?invocation={record['id']}&limit=1").json["items"][0]
    assert newest["message"] == "log truncated: over 65536 bytes"


def test_a_script_at_its_concurrency_is_refused_and_told_when_to_come_again(picloud: Running) -> None:
    picloud.deploy("slow", "return function() while true do end end")
    picloud.set("slow", {"limits": {"wall_ms": 60_000, "cpu_ms": 60_000, "concurrency": 2}})
    with picloud.spinning("/fn/slow", 2):
        refused = picloud.at_once(4, "GET", "/fn/slow")
    assert {(answer.status, answer.problem) for answer in refused} == {(429, "concurrency-limit")}
    assert {answer.header("retry-after") for answer in refused} == {"1"}


def logs_of(picloud: Running, record: dict[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = picloud.api("GET", f"logs?invocation={record['id']}").json["items"]
    return items
