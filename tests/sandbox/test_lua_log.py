"""What a script logs."""

import pytest

from tests.sandbox.lua_support import Line, LuaLimits, answer


def logged(script: str, log_bytes: int = 64 * 1024) -> list[Line]:
    lines: list[Line] = []
    answer(script, logs=lines, limits=LuaLimits(log_bytes=log_bytes))
    return lines


@pytest.mark.parametrize(
    ("script", "level", "message", "fields"),
    [
        ("log.debug('a')", "debug", "a", ""),
        ("log.info('a', {b = 1})", "info", "a", '{"b":1}'),
        ("log.warn('a', {})", "warn", "a", "{}"),
        ("log.error('a\\nb')", "error", "a\nb", ""),
        ("log.info({x = {1}})", "info", '{"x":[1]}', ""),
        ("log.info(nil)", "info", "nil", ""),
        ("log.info(1.5)", "info", "1.5", ""),
        ("log.info(true)", "info", "true", ""),
        ("log.info(print)", "info", "function: 0x00000001", ""),
        ("log.info({f = print})", "info", "(not JSON: $.f: a function cannot be JSON)", ""),
        ("log.info('a', {n = 0/0, ok = 1})", "info", "a", '{"n":"(not JSON: $: NaN cannot be JSON)","ok":1}'),
        ("log.info('a', {1, 2})", "info", "a", '{"value":[1,2]}'),
        ("log.info('a', 'text')", "info", "a", '{"value":"text"}'),
        ("log.info('a', json.null)", "info", "a", '{"value":null}'),
        ("log.info('a', json.array{})", "info", "a", '{"value":[]}'),
        ("log.info('a', print)", "info", "a", '{"value":"(not JSON: $: a function cannot be JSON)"}'),
        ("log.info('a', {[true] = 1})", "info", "a", '{"(a key that is not UTF-8 text)":1}'),
        ("log.info(setmetatable({}, {__tostring = error, __index = error}))", "info", "{}", ""),
        ("print('a', 1, nil, true)", "info", "a\t1\tnil\ttrue", ""),
        ("print()", "info", "", ""),
        ("print(setmetatable({}, {__tostring = function() return 'me' end}))", "info", "me", ""),
        ("return function() log.info('in handler') end", "info", "in handler", ""),
    ],
)
def test_a_line_is_written_as(script: str, level: str, message: str, fields: str) -> None:
    assert logged(script) == [(level.encode(), message.encode(), fields.encode())]


def test_a_cycle_in_fields_is_described() -> None:
    (line,) = logged("local t = {} t.t = t log.info('a', t)")
    assert b"contains itself" in line.fields


def test_lines_come_in_order() -> None:
    assert [line.message for line in logged("for i = 1, 3 do print(i) end")] == [b"1", b"2", b"3"]


def test_over_the_limit_one_line_says_so_and_nothing_follows() -> None:
    lines = logged("for i = 1, 100 do log.info('0123456789') end log.error('last')", log_bytes=5 * (10 + 64) + 5)
    assert lines == [(b"info", b"0123456789", b"")] * 5 + [(b"warn", b"log truncated: over 375 bytes", b"")]


def test_fields_count_against_the_limit() -> None:
    lines = logged("log.info('x', {a = ('y'):rep(100)}) log.info('z')", log_bytes=60)
    assert lines == [(b"warn", b"log truncated: over 60 bytes", b"")]


def test_a_line_is_cut_to_60000_bytes_between_characters() -> None:
    (line,) = logged("log.info(('é'):rep(50000))", log_bytes=1 << 20)
    assert 59_990 < len(line.message) <= 60_000
    assert line.message.decode().endswith("é…")


def test_fields_too_long_to_keep_say_how_long_they_were() -> None:
    (line,) = logged("log.info(('m'):rep(70000), {a = ('x'):rep(50000)})", log_bytes=1 << 20)
    assert line.fields == b'{"truncated":"50008 bytes of fields"}'
    assert len(line.message) + len(line.fields) <= 60_000
