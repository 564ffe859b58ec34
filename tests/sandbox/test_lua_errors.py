"""How a script's failure is told."""

import pytest

from sandbox.lua import Engine
from sandbox.protocol import INVALID_REQUEST, MEMORY_LIMIT, RESPONSE, SCRIPT_ERROR, SYNTAX_ERROR
from tests.sandbox.lua_support import LuaLimits, LuaRequest, answer, body, failure, refuse, run


@pytest.mark.parametrize(
    ("script", "message", "line"),
    [
        ("\n\nerror('x')", "main.lua:3: x", 3),
        ("local t\nreturn function() return t.x end", "main.lua:2: attempt to index a nil value (upvalue 't')", 2),
        ("\nerror('plain', 0)", "plain", 2),
        ("error()", "(error object is a nil value)", 1),
        ("error(42)", "42", 1),
        ("error(true)", "(error object is a boolean value)", 1),
        ("error(print)", "(error object is a function value)", 1),
        ("error{code = 7}", '{"code":7}', 1),
        ("error{f = print}", "(error object is a table value)", 1),
        ("error(setmetatable({}, {__tostring = function() return 'never' end}))", "{}", 1),
        ("coroutine.yield()", "attempt to yield from outside a coroutine", 1),
        ("return function() coroutine.yield(1) end", "attempt to yield from outside a coroutine", 1),
        ("string.rep()", "main.lua:1: bad argument #1 to 'rep' (string expected, got no value)", 1),
        (
            "local x = string.format('%d', 'x')",
            "main.lua:1: bad argument #2 to 'format' (number expected, got string)",
            1,
        ),
        (
            "local x = string.format(true, {})",
            "main.lua:1: bad argument #1 to 'format' (string expected, got boolean)",
            1,
        ),
        ("local x = os.date('%Ez')", "main.lua:1: bad argument #1 to 'date' (invalid conversion specifier '%Ez')", 1),
        ("\ninvoke('x')", "main.lua:2: script.invoke is not available", 2),
        ("setmetatable({}, {__gc = print})", "main.lua:1: __gc is not available in a sandbox", 1),
        ("\nio.open('x')", "main.lua:2: attempt to index a nil value (global 'io')", 2),
        ("error('a\\nb:9: c')", "main.lua:1: a\nb:9: c", 1),
        (
            "local x <close> = setmetatable({}, {__close = function() error('closing') end}) error('first')",
            "main.lua:1: closing",
            1,
        ),
    ],
)
def test_an_uncaught_error_says_what_and_where(script: str, message: str, line: int) -> None:
    result = failure(script)
    assert (SCRIPT_ERROR, message, b"main.lua", line) == (
        result.kind,
        result.message.decode(),
        result.file,
        result.line,
    )


def test_the_traceback_names_the_scripts_frames_and_none_of_ours() -> None:
    trace = failure("local function inner() error('x') end\nreturn function() inner() end").traceback.decode()
    assert trace == (
        "stack traceback:\n\t[C]: in function 'error'\n\t"
        "main.lua:1: in upvalue 'inner'\n\tmain.lua:2: in local 'handler'"
    )


def test_a_traceback_has_at_most_8_kib() -> None:
    name = "n" * 2000
    calls = f"local {name} {name} = function(d) if d == 0 then error('x') end {name}(d - 1) end {name}(30)"
    assert 4000 < len(failure(calls).traceback) <= 8192


def test_a_message_has_at_most_8_kib() -> None:
    assert len(failure("error(('x'):rep(100000))").message) == 8192


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (b"\n\nx = = 1", 3, b"unexpected symbol near '='"),
        (b"return function(", 1, b"<name> or '...' expected near <eof>"),
        (b"\x1bLua bytecode", 1, b"this is bytecode; upload the source text"),
        (b"goto nowhere", 1, b"no visible label 'nowhere' for <goto> at line 1"),
        (b"x = '\xff\n'", 1, b"unfinished string near ''\xff'"),
        (b"(" * 300, 1, b"C stack overflow"),
    ],
)
def test_a_syntax_error_is_found_without_running(text: bytes, line: int, message: bytes) -> None:
    found = Engine(emit_log=print, call_host=refuse).compile(
        [b"main.lua", b"error('ran')", b"lib/a.lua", text, b"z.lua", b"= ="]
    )
    assert found is not None
    assert (SYNTAX_ERROR, b"lib/a.lua", line) == (found.kind, found.file, found.line)
    assert found.message.startswith(message)


def test_a_correct_bundle_compiles_and_other_files_are_not_lua() -> None:
    assert Engine(emit_log=print, call_host=refuse).compile([b"main.lua", b"return 1", b"page.html", b"<p>"]) is None


def test_a_path_too_long_for_lua_to_show_still_has_its_line() -> None:
    path = b"d/" + b"x" * 100 + b".lua"
    found = Engine(emit_log=print, call_host=refuse).compile([path, b"\n= 1"])
    assert found is not None
    assert (path, 2, b"unexpected symbol near '='") == (found.file, found.line, found.message)


def test_a_huge_token_does_not_make_a_huge_message() -> None:
    found = Engine(emit_log=print, call_host=refuse).compile([b"main.lua", b"x = '" + b"y" * 100_000])
    assert found is not None
    assert len(found.message) <= 1000


def test_a_main_file_that_does_not_compile_is_a_syntax_error_at_run_time_too() -> None:
    result = failure("x = = 1")
    found = (result.kind, result.file, result.line, result.message)
    assert found == (SYNTAX_ERROR, b"main.lua", 1, b"unexpected symbol near '='")


def test_source_bytes_survive_exactly() -> None:
    assert body(b"return '" + bytes(range(128, 256)) + b"'") == bytes(range(128, 256))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", b"the request body is empty, not JSON"),
        (b'{"a": nope}', b"the request body is not JSON: line 1, column 7: expected a value, found 'nope'"),
    ],
)
def test_bad_json_in_the_body_uncaught_is_the_callers_fault(text: bytes, reason: bytes) -> None:
    result = failure("return function(r) local x = r:json() end", request=LuaRequest(body=text))
    assert (INVALID_REQUEST, reason) == (result.kind, result.message)


def test_bad_json_in_the_body_caught_is_an_ordinary_string() -> None:
    script = "return function(r) local _, e = pcall(r.json, r) return 'said: ' .. e .. type(e) .. tostring(e) end"
    said = "the request body is not JSON: line 1, column 1: expected a value, found 'x'"
    assert f"said: {said}string{said}" == body(script, request=LuaRequest(body=b"x")).decode()


def test_bad_json_raised_again_is_still_the_callers_fault() -> None:
    script = "return function(r) local ok, e = pcall(r.json, r) error(e, 0) end"
    assert failure(script).kind == INVALID_REQUEST


def test_a_form_of_another_content_type_uncaught_is_the_callers_fault() -> None:
    request = LuaRequest(body=b"{}", headers={b"content-type": b"application/json"})
    result = failure("return function(r) local x = r:form() end", request=request)
    wanted = b"the request body is application/json, not application/x-www-form-urlencoded"
    assert (INVALID_REQUEST, wanted) == (result.kind, result.message)


@pytest.mark.parametrize(
    "script",
    [
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t[#t + 1] = {} end",
        "local t = {} while true do t[#t + 1] = ('x'):rep(#t) end",
        "local s = ('x'):rep(1e9)",
        "return json.encode({('x'):rep(7e6), ('y'):rep(7e6)})",
        "local t = {} for i = 1, 300000 do t[i] = i end return t",
        "local t = {} for i = 1, 1e6 do t[i] = i end error{body = t}",
        "local s = ('\\1'):rep(4e6) return {a = s}",
        "local ok, e = pcall(string.rep, 'x', 1e9) error(e, 0)",
    ],
)
def test_too_much_memory_is_a_memory_limit(script: str) -> None:
    result = failure(script, limits=LuaLimits(memory_bytes=8 << 20, response_bytes=100 << 20))
    assert (result.kind, result.message) == (MEMORY_LIMIT, b"not enough memory: the limit is 8388608 bytes")


def test_a_script_can_catch_a_lack_of_memory_and_go_on() -> None:
    script = "local ok, e = pcall(string.rep, 'x', 1e9) return tostring(ok) .. e"
    assert body(script) == b"falsenot enough memory"


def test_a_limit_below_what_the_prelude_takes_fails_cleanly() -> None:
    assert failure("return 1", limits=LuaLimits(memory_bytes=1000)).kind == MEMORY_LIMIT


def limits_around(more_bytes: int, step: int) -> range:
    """Limits from what is too little for any run to what is enough for one that needs so much more."""
    prelude = answer("return 1").memory_bytes
    return range(prelude - 30_000, prelude + more_bytes, step)


def test_at_every_limit_a_run_ends_in_an_answer_or_a_lack_of_memory() -> None:
    script = """return function(r)
      local t = {}
      for i = 1, 100 do t[i] = {i, i * 1.5, "x" .. i} end
      print(json.encode(t), os.date(), crypto.uuid4(), #crypto.random_bytes(6553), r.query.a, r.headers.b)
      coroutine.wrap(function() log.info("in", {crypto.sha256(json.encode(r:json()))}) end)()
      return {headers = {a = {"1", 2}}, body = t}
    end"""
    request = LuaRequest(query=b"a=1", headers={b"b": b"c"}, body=b'{"a":[1,2,3]}')
    kinds = [run(script, request=request, limits=LuaLimits(memory_bytes=n)).kind for n in limits_around(120_000, 997)]
    assert {MEMORY_LIMIT, RESPONSE} == set(kinds)


def test_at_every_limit_an_answer_of_many_headers_ends_in_one_or_in_a_lack_of_memory() -> None:
    script = "local h = {} for i = 1, 100 do h['x-' .. i] = i end return {headers = h}"
    kinds = [run(script, limits=LuaLimits(memory_bytes=n)).kind for n in limits_around(75_000, 499)]
    assert {MEMORY_LIMIT, RESPONSE} == set(kinds)


def test_answers_of_the_host_count_against_the_limit() -> None:
    script = """
    local held, count = {}, 0
    for i = 1, 1000 do held[i] = false end
    for i = 1, 1000 do
      local done, bytes = pcall(crypto.random_bytes, 65536)
      if done then
        count = count + 1
        held[count] = bytes
      end
    end
    held = nil
    return tostring(count)
    """
    held = int(body(script, limits=LuaLimits(memory_bytes=4 << 20))) * 65536
    assert 3 << 20 < held < 4 << 20


def test_garbage_does_not_count_against_what_the_host_may_answer() -> None:
    script = "local n = 0 for i = 1, 200 do n = n + #crypto.random_bytes(65536) end return tostring(n)"
    assert body(script, limits=LuaLimits(memory_bytes=2 << 20)) == b"%d" % (200 * 65536)


def test_a_host_call_for_which_there_is_no_stack_says_so() -> None:
    script = """
    local refused
    local function nested()
      local done, reason = pcall(crypto.uuid4)
      refused = refused or not done and reason
      return pcall(nested)
    end
    nested()
    return refused
    """
    assert b"stack overflow" in body(script)


def test_a_body_over_a_quarter_of_the_memory_is_refused() -> None:
    result = failure("return 1", request=LuaRequest(body=b"x" * 300), limits=LuaLimits(memory_bytes=1000))
    wanted = b"the request body has 300 bytes, over a quarter of the memory limit of 1000"
    assert (MEMORY_LIMIT, wanted) == (result.kind, result.message)


HOST_CALLS = (
    "crypto.random_bytes(5000)",
    "crypto.sha256(full)",
    "crypto.hmac_sha256('k', 'v')",
    "crypto.sha512(full)",
    "crypto.hmac_sha512('k', 'v')",
    "crypto.uuid4()",
    "crypto.uuid7()",
    "crypto.jwt_verify(crypto.jwt_sign({ sub = 'a' }, ('k'):rep(32)), ('k'):rep(32))",
    "template.render('{{#a}}{{.}}{{/a}}', { a = { 1, 2 } })",
    "log.info('x', {a = 1})",
    "print(1)",
    "time.now()",
    "math.randomseed()",
    "request:json()",
    "coroutine.wrap(function() return crypto.random_bytes(9000) end)()",
)


@pytest.mark.parametrize("call", HOST_CALLS)
def test_host_calls_at_the_limit_never_break_the_process(call: str) -> None:
    script = f"""
    local full, keep, refused = "x", {{}}, 0
    for step = 1, 3000 do
      local ok = pcall(function() keep[#keep + 1] = {{ {call}, ("y"):rep(step * 7 % 3000) }} end)
      if not ok then
        refused = refused + 1
        if refused % 500 == 0 then keep = {{}} end
      end
    end
    keep = nil
    return tostring(refused)
    """
    body_text = b"[" + b"1," * 200 + b"1]"
    refused = int(body(script, limits=LuaLimits(memory_bytes=900_000), request=LuaRequest(body=body_text)))
    assert refused > 100


def test_memory_is_reported() -> None:
    small = failure("error('x')").memory_bytes
    large = failure("keep = ('x'):rep(4e6) error('x')").memory_bytes
    assert 3_900_000 < large - small < 4_200_000


OVERFLOWS = {
    "recursion": "local function f(...) return 1 + f(...) end f(1, 2, 3, 4, 5, 6, 7, 8)",
    "pcall in pcall": "local function f() local ok, e = pcall(f) if not ok then error(e, 0) end end f() error('end')",
    "gsub in gsub": "local function f() string.gsub('x', 'x', f) end f()",
    "coroutines in coroutines": "local function f() error(select(2, coroutine.resume(coroutine.create(f))), 0) end f()",
    "wrap in wrap": "local function f() coroutine.wrap(f)() end f()",
    "tostring": "local m = {} m.__tostring = function(t) return 1 .. tostring(t) end tostring(setmetatable({}, m))",
    "format": "local m = {} m.__tostring = function(t) return ('%s'):format(t) end tostring(setmetatable({}, m))",
    "index": "local m = {} local t = setmetatable({}, m) function m.__index(s, k) return s[k] .. 1 end local x = t.x",
    "index chain": "local t = {} for i = 1, 3000 do t = setmetatable({}, {__index = t}) end local x = t.x",
    "concat": "local t = setmetatable({}, {__concat = function(a, b) return a .. b end}) local x = t .. 1",
    "sort": "local function f() table.sort({2, 1, 3}, f) end f()",
    "load": "local function f() return load(f)() end f()",
    "deep source": "error(select(2, load(('('):rep(10000) .. '1' .. (')'):rep(10000))))",
    "deep pattern": "string.find(('a'):rep(300000), ('(a?)'):rep(30) .. ('a-'):rep(300000))",
    "call chain": "local t = print for i = 1, 300 do t = setmetatable({}, {__call = t}) end t() error('end')",
    "xpcall handler": "xpcall(error, function() local function f() return f() + 1 end f() end) error('end')",
    "unpack": "local x = {table.unpack({}, 1, 1e7)}",
    "close": "local function f() local x <close> = setmetatable({}, {__close = f}) end f()",
    "require": "local function f() require 'm' end _G.f = f f()",
}


@pytest.mark.parametrize("script", OVERFLOWS.values(), ids=OVERFLOWS.keys())
def test_an_overflow_is_an_error_and_no_crash(script: str) -> None:
    result = failure(script, files={b"m.lua": b"f()"}, limits=LuaLimits(memory_bytes=256 << 20))
    assert result.kind in (SCRIPT_ERROR, MEMORY_LIMIT)


def test_a_log_that_cannot_be_written_fails_the_run_although_the_script_caught_it() -> None:
    def broken(level: bytes, message: bytes, fields: bytes) -> None:
        raise OSError(32, "Broken pipe")

    engine = Engine(emit_log=broken, call_host=refuse)
    script = b"local ok, e = pcall(print, 1) return type(e) .. e"
    with pytest.raises(OSError, match="Broken pipe"):
        engine.run(
            files=[b"main.lua", script], env=[], request=LuaRequest().fields(), limits=LuaLimits(), seed=bytes(32)
        )
