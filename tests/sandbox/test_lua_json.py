"""JSON in Lua."""

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sandbox.lua_support import LuaRequest, answer, body, failure

ECHO = "return function(request) return json.encode(request:json()) end"

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(values, min_size=1, max_size=5), st.booleans())
def test_what_python_writes_comes_back_equal(items: list[object], ascii_only: bool) -> None:
    text = json.dumps(items, ensure_ascii=ascii_only).encode()
    assert items == json.loads(body(ECHO, request=LuaRequest(body=text)))


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text('[]{}",:0123456789.eE+-truefalsn \\u\n', max_size=12), st.text(max_size=8)))
def test_the_decoder_accepts_exactly_what_python_accepts(text: str) -> None:
    script = "return function(r) local ok, v = pcall(json.decode, r.body) return ok and '1' or '0' end"
    raw = text.encode("utf-8", "surrogatepass")
    assert python_accepts(raw) == (body(script, request=LuaRequest(body=raw)) == b"1")


def python_accepts(raw: bytes) -> bool:
    """Python, made strict: no NaN, no infinity, no lone surrogate."""
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=refuse)
        return all_finite(value) and bool(json.dumps(value, ensure_ascii=False).encode())
    except ValueError:
        return False


def refuse(word: str) -> object:
    raise ValueError(word)


def all_finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list):
        return all(map(all_finite, value))
    if isinstance(value, dict):
        return all(map(all_finite, value.values()))
    return True


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("{}", "{}"),
        ("{{}, {}}", "[{},{}]"),
        ("json.array{}", "[]"),
        ("json.array()", "[]"),
        ("json.decode('[]')", "[]"),
        ("json.decode('{}')", "{}"),
        ("{a = json.array{}}", '{"a":[]}'),
        ("{b = 1, a = 2, ['a-b'] = 3}", '{"a":2,"a-b":3,"b":1}'),
        ("json.null", "null"),
        ("{json.null}", "[null]"),
        ("json.decode('[null]')", "[null]"),
        ("nil", "null"),
        ("1", "1"),
        ("-0.0", "-0"),
        ("3.0", "3"),
        ("0.1", "0.1"),
        ("1/3", "0.3333333333333333"),
        ("1e300", "1e+300"),
        ("5e-324", "4.9406564584125e-324"),
        ("math.maxinteger", "9223372036854775807"),
        ("math.mininteger", "-9223372036854775808"),
        ("json.decode('9223372036854775808')", "9.223372036854776e+18"),
        ("json.decode('12345678901234567890123')", "1.2345678901234568e+22"),
        ("'a\\\"b\\\\c/\\0\\31\\127'", '"a\\"b\\\\c/\\u0000\\u001f\x7f"'),
        ("'\\b\\f\\n\\r\\t'", '"\\b\\f\\n\\r\\t"'),
        ("'é😀'", '"é😀"'),
        ("json.decode('\"\\\\ud83d\\\\ude00\\\\u00e9\\\\/\"')", '"😀é/"'),
        ('json.decode(\'{"a":1,"a":2}\')', '{"a":2}'),
        ("json.decode(' \\n\\t\\r[ 1 , 2 ] ')", "[1,2]"),
        ("setmetatable({1}, {__index = error, __len = error})", "[1]"),
    ],
)
def test_a_value_is_written_as(expression: str, text: str) -> None:
    assert text == body(f"return json.encode({expression})").decode()


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("{items = {1, 2, {name = 0/0}}}", "$.items[3].name: NaN cannot be JSON"),
        ("{a = 1/0}", "$.a: infinity cannot be JSON"),
        ("-1/0", "$: infinity cannot be JSON"),
        ("{1, 2, x = 1}", "$: a table with both a list and other keys cannot be JSON"),
        ("{a = {1, nil, 3}}", "$.a: a list with holes cannot be JSON"),
        ("{[2] = 1}", "$: a table with a key that is a number cannot be JSON"),
        ("{a = {[true] = 1}}", "$.a: a table with a key that is a boolean cannot be JSON"),
        ("json.array{x = 1}", "$: a table with both a list and other keys cannot be JSON"),
        ("{f = print}", "$.f: a function cannot be JSON"),
        ("{['a b'] = {coroutine.create(print)}}", '$["a b"][1]: a thread cannot be JSON'),
        ("'ab\\255'", "$: text that is not UTF-8 (byte 3) cannot be JSON"),
        ("'\\u{D800}'", "$: text that is not UTF-8 (byte 1) cannot be JSON"),
        ("{['\\255'] = 1}", '$["\\xff"]: text that is not UTF-8 (byte 1) cannot be JSON'),
    ],
)
def test_what_cannot_be_json_is_an_error_naming_the_path(expression: str, reason: str) -> None:
    script = f"local ok, e = pcall(json.encode, {expression}) return {{body = e}}"
    assert b"main.lua:1: " + reason.encode().replace(b"\\xff", b"\xff") == body(script)


def test_a_cycle_is_an_error() -> None:
    script = "local t = {} t.a = {t} local x = json.encode(t) return x"
    assert failure(script).message == b"main.lua:1: $.a[1]: a table that contains itself cannot be JSON"


def test_the_same_table_twice_is_no_cycle() -> None:
    assert body("local t = {1} return {t, t}") == b"[[1],[1]]"


def test_128_levels_are_written_and_129_are_not() -> None:
    nest = "local t = {} for i = 2, %d do t = {t} end return t"
    assert body(nest % 128) == b"[" * 127 + b"{}" + b"]" * 127
    assert failure(nest % 129).message.endswith(b": tables nested deeper than 128 cannot be JSON")


def test_128_levels_are_read_and_129_are_not() -> None:
    nest = "local v = json.decode(('['):rep(%d) .. (']'):rep(%d)) return 'ok'"
    assert body(nest % (128, 128)) == b"ok"
    assert b"nested deeper than 128" in failure(nest % (129, 129)).message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1, column 1: expected a value, found the end of the text"),
        ('{"a": 1, "b": tru}', "line 1, column 15: expected a value, found 'tru'"),
        ('{\n  "é": x}', "line 2, column 8: expected a value, found 'x'"),
        ("[1 2]", "line 1, column 4: expected ',' or ']', found '2'"),
        ("[1,]", "line 1, column 4: expected a value, found ']'"),
        ('{"a":1,}', "line 1, column 8: expected a key in quotes, found '}'"),
        ('{"a" 1}', "line 1, column 6: expected ':', found '1'"),
        ("{a:1}", "line 1, column 2: expected a key in quotes, found 'a'"),
        ("01", "line 1, column 1: a number with a leading zero"),
        ("-", "line 1, column 1: expected a value, found '-'"),
        ("1.", "line 1, column 1: not a number: '1.'"),
        ("1e", "line 1, column 1: not a number: '1e'"),
        ("0x10", "line 1, column 1: not a number: '0x10'"),
        ("1e999", "line 1, column 1: a number out of range"),
        ("NaN", "line 1, column 1: expected a value, found 'NaN'"),
        ('"a', "line 1, column 3: a string is not closed"),
        ('"\t"', "line 1, column 2: a control character in a string must be escaped"),
        ('"\\x"', "line 1, column 2: no such escape: \\x"),
        ('"\\u12"', "line 1, column 2: \\u needs four hexadecimal digits"),
        ('"\\ud800"', "line 1, column 2: half of a surrogate pair"),
        ('"\\udc00"', "line 1, column 2: half of a surrogate pair"),
        ('"\\ud800\\u0041"', "line 1, column 2: half of a surrogate pair"),
        ("[] []", "line 1, column 4: expected the end of the text, found '['"),
        ("\ufeff{}", "line 1, column 1: expected a value, found '\ufeff'"),
    ],
)
def test_a_bad_text_is_refused_with_its_position(text: str, reason: str) -> None:
    script = "return function(r) local ok, e = pcall(json.decode, r.body) return e end"
    assert "main.lua:1: not JSON: " + reason == body(script, request=LuaRequest(body=text.encode())).decode()


def test_bytes_that_are_not_utf8_are_refused() -> None:
    script = "return function(r) local ok, e = pcall(json.decode, r.body) return e end"
    assert body(script, request=LuaRequest(body=b'["a\xff"]')) == b"main.lua:1: not JSON: byte 4: not UTF-8"


def test_indent_makes_it_readable() -> None:
    text = body("return json.encode({a = {1, {}}, b = json.array{}, c = {d = 1}}, {indent = 2})").decode()
    assert text == '{\n  "a": [\n    1,\n    {}\n  ],\n  "b": [],\n  "c": {\n    "d": 1\n  }\n}'


def test_null_is_one_value_that_cannot_be_changed() -> None:
    script = "return {tostring(json.null), json.null == json.decode('null'), (pcall(function() json.null.x = 1 end))}"
    assert body(script) == b'["null",true,false]'


def test_a_bad_indent_is_an_error() -> None:
    assert b"indent must be 0 to 16" in failure("local x = json.encode({}, {indent = 100})").message


def test_a_large_array_is_quick() -> None:
    script = "local t = {} for i = 1, 20000 do t[i] = {id = i, name = 'n' .. i} end return #json.decode(json.encode(t))"
    assert answer(script).body == b"20000"
