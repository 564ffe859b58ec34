"""What a script's result becomes."""

import pytest

from sandbox.protocol import ANSWER, BAD_RESPONSE, FINAL_ANSWER, FINAL_ERROR, MEMORY_LIMIT, RESPONSE, SCRIPT_ERROR
from tests.sandbox.lua_support import LuaLimits, answer, failure, headers

TEXT = [(b"content-type", b"text/plain; charset=utf-8")]
JSON = [(b"content-type", b"application/json")]


@pytest.mark.parametrize(
    ("script", "status", "fields", "body"),
    [
        ("return nil", 204, [], b""),
        ("", 204, [], b""),
        ("return function() end", 204, [], b""),
        ("return 'hi'", 200, TEXT, b"hi"),
        ("return ''", 200, TEXT, b""),
        ("return function() return 'hi' end", 200, TEXT, b"hi"),
        ("return 42", 200, JSON, b"42"),
        ("return 1.5", 200, JSON, b"1.5"),
        ("return false", 200, JSON, b"false"),
        ("return {}", 200, JSON, b"{}"),
        ("return {1, 2}", 200, JSON, b"[1,2]"),
        ("return {a = 1}", 200, JSON, b'{"a":1}'),
        ("return json.null", 200, JSON, b"null"),
        ("return json.array{}", 200, JSON, b"[]"),
        ("return {status = 404}", 404, [], b""),
        ("return setmetatable({status = 404, url = 'x'}, {})", 404, [], b""),
        ("return {status = 201.0, body = 'x'}", 201, TEXT, b"x"),
        ("return {body = 'x'}", 200, TEXT, b"x"),
        ("return {body = ''}", 200, [], b""),
        ("return {body = {a = {}}}", 200, JSON, b'{"a":{}}'),
        ("return {body = 7}", 200, JSON, b"7"),
        ("return {body = true}", 200, JSON, b"true"),
        ("return {body = false}", 200, JSON, b"false"),
        (
            "return {body = 'x', headers = {['Content-Type'] = 'text/html'}}",
            200,
            [(b"Content-Type", b"text/html")],
            b"x",
        ),
        ("return {body = {}, headers = {['content-type'] = 'a/b'}}", 200, [(b"content-type", b"a/b")], b"{}"),
        (
            "return {headers = {b = 2, a = {'x', 3.0}, c = 1.5}}",
            200,
            [(b"a", b"x"), (b"a", b"3"), (b"b", b"2"), (b"c", b"1.5")],
            b"",
        ),
        ("return {body = '\\0\\255'}", 200, TEXT, b"\0\xff"),
    ],
)
def test_a_result_becomes_a_response(script: str, status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    result = answer(script)
    assert (RESPONSE, status, fields, body) == (result.kind, result.status, headers(result), result.body)


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        ("return {status = 'abc'}", "status must be an integer, not a string"),
        ("return {status = '200'}", "status must be an integer, not a string"),
        ("return {status = 200.5}", "status must be an integer, not 200.5"),
        ("return {status = 0/0}", "status must be an integer, not NaN"),
        ("return {status = 1e300}", "status must be an integer, not 1e+300"),
        ("return {status = {}}", "status must be an integer, not a table"),
        (
            "return {status = 200, name = 'Ada'}",
            "'name' does not belong beside status, headers and body; if this is data, wrap it: { body = data }",
        ),
        (
            "return function() return {body = '', 'x'} end",
            "a number does not belong beside status, headers and body; if this is data, wrap it: { body = data }",
        ),
        ("return {headers = 'x'}", "headers must be a table, not a string"),
        ("return {headers = {'x'}}", "a header's name must be a string, not a number"),
        ("return {headers = {a = true}}", "header 'a' must be a string, a number or a list of them, not a boolean"),
        ("return {headers = {a = {{}}}}", "header 'a' must be a string, a number or a list of them, not a table"),
        ("return {headers = {a = 1/0}}", "header 'a' is inf"),
        ("local h = {} for i = 1, 300 do h[i] = 'x' end return {headers = {a = h}}", "more than 100 headers"),
        ("return {body = print}", "a function cannot be a response"),
        ("return function() return print end", "a function cannot be a response"),
        ("return coroutine.create(print)", "a thread cannot be a response"),
        ("return {body = {a = 0/0}}", "body: $.a: NaN cannot be JSON"),
        ("return {a = {1, nil, 3}}", "$.a: a list with holes cannot be JSON"),
        ("return 0/0", "$: NaN cannot be JSON"),
        ("return {a = '\\255'}", "$.a: text that is not UTF-8 (byte 1) cannot be JSON"),
        ("return ('x'):rep(1048577)", "the body has 1048577 bytes, over the limit of 1048576"),
        ("error{status = 'x', body = 'y'}", "status must be an integer, not a string"),
        ("error{body = print}", "a function cannot be a response"),
    ],
)
def test_what_is_no_response_is_refused_with_the_reason(script: str, detail: str) -> None:
    result = failure(script)
    assert (BAD_RESPONSE, detail) == (result.kind, result.message.decode())


def test_a_returned_function_is_the_handler_even_if_it_is_a_builtin() -> None:
    assert answer("return tostring").body.startswith(b"table: 0x")


@pytest.mark.parametrize("ending", ["return s", "return { body = s }", "error{ body = s }"])
def test_memory_must_have_room_for_the_copy_of_the_body_that_leaves(ending: str) -> None:
    script = f"local s = ('x'):rep(250000) s = s .. s s = s .. s {ending}"  # Lua holds 1.5 MB of it at most

    assert len(answer(script, limits=LuaLimits(memory_bytes=2_400_000)).body) == 1_000_000
    assert failure(script, limits=LuaLimits(memory_bytes=2_200_000)).kind == MEMORY_LIMIT


def test_a_body_of_exactly_the_limit_passes() -> None:
    assert len(answer("return ('x'):rep(100)", limits=LuaLimits(response_bytes=100)).body) == 100


@pytest.mark.parametrize(
    ("script", "status", "body"),
    [
        ("error{status = 409, body = 'taken'}", 409, b"taken"),
        ("return function() error{status = 422, body = {why = 'x'}} end", 422, b'{"why":"x"}'),
        ("error{body = 'x'}", 500, b"x"),
        ("error{headers = {a = 'b'}}", 500, b""),
        ("error(setmetatable({status = 404}, {__index = error}))", 404, b""),
        ("coroutine.wrap(function() error{status = 418} end)()", 418, b""),
        ("local ok, e = pcall(error, {status = 401}) error(e)", 401, b""),
    ],
)
def test_an_uncaught_error_with_a_response_answers_exactly_that(script: str, status: int, body: bytes) -> None:
    result = answer(script)
    assert (ANSWER, status, body) == (result.kind, result.status, result.body)


@pytest.mark.parametrize(
    ("thrown", "kind"),
    [
        ("{status = 409}", ANSWER),
        ("{status = 409, retry = true}", ANSWER),
        ("{status = 409, retry = false}", FINAL_ANSWER),
        ("setmetatable({status = 409}, {__index = {retry = false}})", ANSWER),
    ],
)
def test_an_error_with_a_response_may_say_that_another_try_is_of_no_use(thrown: str, kind: bytes) -> None:
    result = answer(f"error({thrown})")
    assert (kind, 409, b"") == (result.kind, result.status, result.body)


@pytest.mark.parametrize(
    ("thrown", "kind", "message"),
    [
        ("{retry = false, why = 'x'}", FINAL_ERROR, b'{"retry":false,"why":"x"}'),
        ("{retry = true, why = 'x'}", SCRIPT_ERROR, b'{"retry":true,"why":"x"}'),
        ("{retry = 3}", SCRIPT_ERROR, b'{"retry":3}'),
        ("{retry = 'no', status = 409}", BAD_RESPONSE, b"retry must be true or false, not a string"),
    ],
)
def test_so_may_any_other_error(thrown: str, kind: bytes, message: bytes) -> None:
    failed = failure(f"error({thrown})")
    assert (kind, message) == (failed.kind, failed.message)


def test_a_returned_table_has_no_retry() -> None:
    assert b"'retry' does not belong beside status" in failure("return {status = 200, retry = false}").message


def test_a_hostile_index_on_the_response_is_never_called() -> None:
    trap = "setmetatable({%s}, {__index = function() error('called') end, __len = error, __pairs = error})"
    assert answer("return " + trap % "body = 'x'").body == b"x"
    assert answer("return " + trap % "1, 2").body == b"[1,2]"


def test_a_script_that_poisons_its_globals_still_gets_a_correct_answer() -> None:
    script = """
    for _, lib in ipairs{string, table, math, utf8, coroutine, json} do
      for name in pairs(lib) do lib[name] = function() error("poisoned") end end
    end
    local globals, keep = _G, {}
    for name in pairs(globals) do keep[#keep + 1] = name end
    for i = 1, #keep do globals[keep[i]] = nil end
    return {status = 201, headers = {a = {"b", 1.5}}, body = {n = {1, 2, "é\\n"}, x = 0.1}}
    """
    result = answer(script)
    assert (201, '{"n":[1,2,"é\\n"],"x":0.1}'.encode()) == (result.status, result.body)
