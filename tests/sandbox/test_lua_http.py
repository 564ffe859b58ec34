"""What `http` makes of a script's tables, and of the answer; the trusted side is the test."""

import json

import pytest

from sandbox.lua import Engine, Failure, Result
from sandbox.protocol import DONE
from tests.sandbox.lua_support import SEED, LuaLimits, LuaRequest

Calls = list[tuple[bytes, ...]]


@pytest.fixture
def calls() -> Calls:
    return []


@pytest.fixture
def engine(calls: Calls) -> Engine:
    """One whose host calls are kept, and answered with a small page."""

    def call_host(name: bytes, arguments: tuple[bytes, ...]) -> list[bytes]:
        calls.append((name, *arguments))
        return [DONE, b"201", b"http://a/b", b'{"n": [1, null]}', b"content-type", b"a/b", b"x-empty", b""]

    return Engine(emit_log=lambda *_: None, call_host=call_host)


def ran(engine: Engine, script: str) -> bytes:
    end = engine.run(
        files=[b"main.lua", script.encode()], env=[], request=LuaRequest().fields(), limits=LuaLimits(), seed=SEED
    )
    assert isinstance(end, Result | Failure)
    return end.body if isinstance(end, Result) else end.message


@pytest.mark.parametrize(
    ("script", "sent"),
    [
        ('http.get("u")', (b"u", b"GET", b"", b"", b"")),
        ('http.get("u", { timeout_ms = 5, redirect = "manual" })', (b"u", b"GET", b"manual", b"5", b"")),
        ('http.fetch{ url = "u", method = "PUT" }', (b"u", b"PUT", b"", b"", b"")),
        ('http.post("u")', (b"u", b"POST", b"", b"", b"")),
        ('http.post("u", "x")', (b"u", b"POST", b"", b"", b"x", b"content-type", b"text/plain; charset=utf-8")),
        ('http.post("u", { b = 1 })', (b"u", b"POST", b"", b"", b'{"b":1}', b"content-type", b"application/json")),
        ('http.post("u", json.null)', (b"u", b"POST", b"", b"", b"null", b"content-type", b"application/json")),
        (
            'http.post("u", {}, { headers = { ["Content-Type"] = "x/y" } })',
            (b"u", b"POST", b"", b"", b"{}", b"Content-Type", b"x/y"),
        ),
        (
            'http.fetch{ url = "u", headers = { a = { "1", 2 }, ["in valid"] = "x\\r\\n" } }',
            (b"u", b"", b"", b"", b"", b"a", b"1", b"a", b"2", b"in valid", b"x\r\n"),
        ),
    ],
)
def test_tables_become_fields(engine: Engine, calls: Calls, script: str, sent: tuple[bytes, ...]) -> None:
    ran(engine, script)
    (call,) = calls
    name, *fixed = call[:6]
    pairs = sorted(zip(call[6::2], call[7::2], strict=True))
    assert (name, tuple(fixed)) == (b"http.fetch", sent[:5])
    assert pairs == sorted(zip(sent[5::2], sent[6::2], strict=True))


def test_fields_become_a_response(engine: Engine) -> None:
    script = """
    local r = http.get("u")
    local headers = r.headers
    return { body = { r.status, r.url, r.body, headers["Content-Type"], headers["x-empty"], r:json().n, r.nothing } }
    """
    answered = [201, "http://a/b", '{"n": [1, null]}', "a/b", "", [1, None]]
    assert json.loads(ran(engine, script)) == answered


def test_the_tables_of_a_script_stay_as_they_are(engine: Engine) -> None:
    script = """
    local options = { headers = { a = "b" } }
    http.post("u", "x", options)
    return { body = options }
    """
    assert json.loads(ran(engine, script)) == {"headers": {"a": "b"}}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("http.get()", "http.get needs a string, not nil"),
        ('http.fetch("u")', "http.fetch needs a table, not string"),
        ("http.fetch{}", "http.fetch: url needs a string, not nil"),
        ('http.fetch{ url = "u", uri = 1 }', "http.fetch: there is no option uri"),
        ('http.fetch{ url = "u", [1] = 1 }', "http.fetch: there is no option 1"),
        ('http.get("u", "x")', "http.get needs a table of options, not string"),
        ('http.get("u", { method = "PUT" })', "http.get: method is not an option of it; use http.fetch"),
        ('http.get("u", { url = "v" })', "http.get: url is not an option of it; use http.fetch"),
        ('http.get("u", { timeout_ms = "x" })', "http.get: timeout_ms needs an integer, not string"),
        ('http.get("u", { headers = "x" })', "http.get: headers must be a table, not string"),
        ('http.get("u", { headers = { "x" } })', "http.get: the name of a header must be a string, not number"),
        ('http.get("u", { headers = { a = true } })', "http.get: the header a needs a string, not boolean"),
        ('http.post("u", { 0/0 })', "http.post: the body: $[1]: NaN cannot be JSON"),
        ('http.post("u", print)', "http.post: the body: $: a function cannot be JSON"),
        ('http.get("u").json()', "response:json() needs a response: call it with ':'"),
        ('local r = http.get("u") r.body = "x" r:json()', "the answer is not JSON: line 1, column 1"),
    ],
)
def test_what_is_wrong_is_an_error_at_the_scripts_line(engine: Engine, script: str, message: str) -> None:
    assert message in ran(engine, f"local done, why = pcall(function() {script} end) return why").decode()


def test_what_a_script_overwrites_is_its_own_loss(engine: Engine, calls: Calls) -> None:
    script = """
    next, type, select, string.lower, table.unpack = nil, nil, nil, nil, nil
    setmetatable(_G, { __index = function() error("seen") end })
    return http.get("u", { headers = { a = "b" } }).status
    """
    assert ran(engine, script) == b"201"
