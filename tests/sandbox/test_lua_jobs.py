"""`jobs` and `after` on a script's side: what goes to the trusted side, what is refused here, what a function gets."""

import json

import pytest

from sandbox.protocol import DONE, INVALID_REQUEST, SCRIPT_ERROR
from tests.sandbox.lua_support import CallHost, LuaRequest, answer, body, failure

ID = b"0190-id"
DAYS_366 = 366 * 24 * 60 * 60


def hearing(calls: list[tuple[bytes, ...]], created: bytes = b"1") -> CallHost:
    """A trusted side that does all that it is asked, and takes note."""

    def host(name: bytes, arguments: tuple[bytes, ...]) -> list[bytes]:
        calls.append((name, *arguments))
        return [DONE, b"1"] if name == b"jobs.cancel" else [DONE, ID, created]

    return host


def heard(script: str) -> list[tuple[bytes, ...]]:
    calls: list[tuple[bytes, ...]] = []
    answer(script, host=hearing(calls))
    return calls


def said(script: str) -> str:
    """What is wrong; nothing of it crosses."""
    calls: list[tuple[bytes, ...]] = []
    message = failure(script, host=hearing(calls)).message.decode()
    assert calls == []
    return message


def sent(*fields: bytes) -> list[tuple[bytes, ...]]:
    return [(b"jobs.send", b"mail", *fields)]


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ("", (b"null", b"", b"", b"", b"", b"", b"")),
        (", nil", (b"null", b"", b"", b"", b"", b"", b"")),
        (", {to = 'Ada', n = {1, 2}}", (b'{"n":[1,2],"to":"Ada"}', b"", b"", b"", b"", b"", b"")),
        (", 'text'", (b'"text"', b"", b"", b"", b"", b"", b"")),
        (", 1, {delay_s = 1.5}", (b"1", b"1500", b"", b"", b"", b"", b"")),
        (", 1, {delay_s = 0}", (b"1", b"0", b"", b"", b"", b"", b"")),
        (", 1, {at = 1.25}", (b"1", b"", b"1250", b"", b"", b"", b"")),
        (", 1, {at = -1}", (b"1", b"", b"-1000", b"", b"", b"", b"")),
        (", 1, {at = '1970-01-01T01:00:00.5+01:00'}", (b"1", b"", b"500", b"", b"", b"", b"")),
        (", 1, {key = 'k', max_attempts = 5}", (b"1", b"", b"", b"k", b"5", b"", b"")),
        (", 1, {key = 7, priority = -3}", (b"1", b"", b"", b"7", b"", b"-3", b"")),
        (", 1, {priority = 2.0, ordering_key = 'o'}", (b"1", b"", b"", b"", b"", b"2", b"o")),
    ],
)
def test_what_is_sent(arguments: str, fields: tuple[bytes, ...]) -> None:
    assert heard(f"jobs.send('mail'{arguments})") == sent(*fields)


@pytest.mark.parametrize(("created", "shown"), [(b"1", b"0190-id true"), (b"0", b"0190-id false")])
def test_sending_gives_the_id_and_whether_it_is_new(created: bytes, shown: bytes) -> None:
    script = "local id, created = jobs.send('mail') return id .. ' ' .. tostring(created)"
    assert body(script, host=hearing([], created)) == shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{}", "jobs.send needs a string, not table"),
        ("'mail', print", "jobs.send: the payload: $: a function cannot be JSON"),
        ("'mail', {0/0}", "NaN cannot be JSON"),
        ("'mail', 1, 5", "jobs.send needs a table of options, not number"),
        ("'mail', 1, {delay = 5}", "jobs.send: there is no option 'delay'"),
        ("'mail', 1, {delay_s = 1, at = 1}", "jobs.send: delay_s and at are two ways to say when: give one of them"),
        ("'mail', 1, {delay_s = -1}", f"delay_s must be a number of seconds from 0 to {DAYS_366}"),
        (f"'mail', 1, {{delay_s = {DAYS_366} + 0.5}}", f"delay_s must be a number of seconds from 0 to {DAYS_366}"),
        ("'mail', 1, {delay_s = 0/0}", "delay_s must be"),
        ("'mail', 1, {delay_s = '5'}", "delay_s must be"),
        ("'mail', 1, {at = 'noon'}", "at must be a time as 2026-01-31T12:00:00Z, or seconds since 1970, not 'noon'"),
        ("'mail', 1, {at = '2026-02-30T12:00:00Z'}", "not '2026-02-30T12:00:00Z'"),
        ("'mail', 1, {at = {}}", "or seconds since 1970, not a table"),
        ("'mail', 1, {at = 1e300}", "or seconds since 1970, not 1e+300"),
        ("'mail', 1, {at = -0/0}", "at must be a time"),
        ("'mail', 1, {key = ''}", "jobs.send: key must not be empty"),
        ("'mail', 1, {ordering_key = {}}", "jobs.send: ordering_key needs a string, not table"),
        ("'mail', 1, {max_attempts = 1.5}", "jobs.send: max_attempts needs an integer, not 1.5"),
        ("'mail', 1, {priority = 'high'}", "jobs.send: priority needs an integer, not string"),
    ],
)
def test_what_is_wrong_is_said_at_the_scripts_line(arguments: str, message: str) -> None:
    told = said(f"\njobs.send({arguments})")
    assert told.startswith("main.lua:2: ")
    assert message in told


def test_options_are_read_raw() -> None:
    assert "no option 'x'" in said("jobs.send('mail', 1, setmetatable({x = 1}, {__pairs = error, __index = error}))")
    assert heard("jobs.send('mail', 1, setmetatable({}, {__index = {key = 'k'}}))") == sent(b"1", *[b""] * 6)


def test_the_libraries_that_it_is_made_of_can_be_overwritten() -> None:
    script = "time.parse, json.encode = nil jobs.send('mail', {}, {at = '1970-01-01T00:00:01Z'})"
    assert heard(script) == sent(b"{}", b"", b"1000", *[b""] * 4)


def test_a_job_is_cancelled_by_its_id() -> None:
    assert body("return jobs.cancel('x')", host=hearing([])) == b"true"
    assert "jobs.cancel needs a string, not nil" in said("jobs.cancel()")


# ── after ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("script", "kind", "name"),
    [
        ("function mail() end after('mail', 1)", b"function", b"mail"),
        ("function mail() end return function() after('mail', 1) end", b"function", b"mail"),
        ("local function mail() end after('mail', 1)", b"script", b"mail"),
        ("mail = {} after('mail', 1)", b"script", b"mail"),
        ("mail = stream(print) after('mail', 1)", b"script", b"mail"),
        ("after('print', 1)", b"script", b"print"),
        ("after('after', 1)", b"script", b"after"),
        ("function print() end after('print', 1)", b"function", b"print"),
        ("setmetatable(_G, {__index = function() return print end}) after('mail', 1)", b"script", b"mail"),
    ],
)
def test_a_global_function_of_the_scripts_own_comes_before_a_script(script: str, kind: bytes, name: bytes) -> None:
    assert heard(script) == [(b"jobs.after", kind, name, b"1")]


def test_after_gives_the_id_alone() -> None:
    assert body("return select('#', after('mail')) .. after('mail')", host=hearing([])) == b"1" + ID


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("print", "after needs the name of a global function, and not the function"),
        ("", "after needs a string, not nil"),
        ("'mail', print", "after: the payload: $: a function cannot be JSON"),
    ],
)
def test_after_what_is_wrong_is_said(arguments: str, message: str) -> None:
    told = said(f"\nafter({arguments})")
    assert told.startswith("main.lua:2: ")
    assert message in told


WORKER = """
function work(payload)
  log.info("works", { payload = json.encode(payload), kind = type(payload), event = request.event.after })
  return { status = 500, body = "nobody sees it" }
end
return function() error("the handler ran") end
"""


def asked(function: str = "work", text: bytes = b"null", trigger: bytes = b"job") -> LuaRequest:
    return LuaRequest(method=b"POST", trigger=trigger, event=json.dumps({"after": function}).encode(), body=text)


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        (b"null", "nil", "null"),
        (b'{"a":[]}', "table", '{"a":[]}'),
        (b"1", "number", "1"),
        (b"false", "boolean", "false"),
    ],
)
def test_a_function_gets_the_payload_and_what_it_returns_is_nothing(text: bytes, kind: str, shown: str) -> None:
    logs: list[tuple[bytes, bytes, bytes]] = []
    script = WORKER.replace("json.encode(payload)", "payload == nil and 'null' or json.encode(payload)")
    result = answer(script, request=asked(text=text), logs=logs)
    assert (result.status, result.body, result.headers) == (204, b"", [])
    ((_, message, fields),) = logs
    assert (message, json.loads(fields)) == (b"works", {"payload": shown, "kind": kind, "event": "work"})


def test_what_a_function_raises_is_the_runs_end() -> None:
    failed = failure("function work() error('no') end", request=asked())
    assert (failed.kind, failed.message) == (SCRIPT_ERROR, b"main.lua:1: no")
    assert answer("function work() error{status = 409} end", request=asked()).status == 409


@pytest.mark.parametrize("source", ["return 1", "local function work() end", "work = print", "work = stream(print)"])
def test_a_function_that_is_gone_is_an_error(source: str) -> None:
    failed = failure(source, request=asked())
    assert failed.kind == SCRIPT_ERROR
    assert b"after: this version has no global function 'work' once its file has run" in failed.message


def test_a_function_made_in_the_handler_is_not_there_for_the_run_that_calls_it() -> None:
    source = "return function() function work() end after('work') end"
    assert heard(source) == [(b"jobs.after", b"function", b"work", b"null")]
    assert b"no global function 'work'" in failure(source, request=asked()).message


@pytest.mark.parametrize("trigger", [b"event", b"http", b"invoke", b"schedule"])
def test_no_other_trigger_has_a_function_called(trigger: bytes) -> None:
    assert b"the handler ran" in failure(WORKER, request=asked(trigger=trigger)).message


@pytest.mark.parametrize("event", [b"", b"[]", b"null", b'"work"', b"{}", b"{"])
def test_any_other_event_of_a_job_is_the_handlers(event: bytes) -> None:
    request = LuaRequest(trigger=b"job", event=event, body=b"1")
    assert b"the handler ran" in failure(WORKER, request=request).message


def test_a_payload_that_is_no_json_is_the_senders_fault() -> None:
    assert failure(WORKER, request=asked(text=b"{")).kind == INVALID_REQUEST


def test_the_request_can_be_changed_and_the_function_is_still_called() -> None:
    script = "request = nil request_of = nil json.decode = nil function work(it) log.info(it) end"
    logs: list[tuple[bytes, bytes, bytes]] = []
    answer(script, request=asked(text=b'"x"'), logs=logs)
    assert [line[1] for line in logs] == [b"x"]
