"""`kv` as a script has it: values there and back, on a real PostgreSQL, and arguments that are none."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from picloud.model import Settings
from tests.sandbox.lua_support import LuaLimits, body, failure
from tests.stateful import Calls, Stateful

LIMITS = LuaLimits(host_calls=1_000)


@pytest.fixture
def host(database: str) -> Iterator[Calls]:
    """The host calls of one invocation."""
    with closing(Stateful(database, settings=Settings(kv=("orders",)))) as stateful, stateful.begin() as attempt:
        yield Calls(attempt)


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [
        ("7", "math.type(it) == 'integer' and it == 7"),
        ("math.mininteger", "it == math.mininteger"),
        ("math.maxinteger", "it == math.maxinteger"),
        ("3.0", "it == 3"),
        ("1.5", "math.type(it) == 'float' and it == 1.5"),
        ("2^53 + 0.0", "it == 2^53"),
        ("1e300", "math.type(it) == 'float' and it == 1e300"),
        ("0.1", "it == 0.1"),
        ("true", "it == true"),
        ("false", "it == false"),
        ("json.null", "it == json.null"),
        ("''", "it == ''"),
        ("'text'", "it == 'text'"),
        ("'1'", "it == '1'"),
        ("'null'", "it == 'null'"),
        (r"'quote\" \\ \n \0 \1 ä €'", r"it == 'quote\" \\ \n \0 \1 ä €'"),
        (r"'\255\0\1'", r"it == '\255\0\1'"),
        (r"'\xed\xa0\x80'", r"it == '\xed\xa0\x80'"),  # half of a surrogate pair is bytes
        ("{}", "json.encode(it) == '{}'"),
        ("json.array{}", "json.encode(it) == '[]'"),
        ("{ 1, 'b', json.array{} }", "json.encode(it) == '[1,\"b\",[]]'"),
        ("{ a = { b = { c = { json.null, false } } } }", "it.a.b.c[1] == json.null and it.a.b.c[2] == false"),
        ("json.decode('[[],{}]')", "json.encode(it) == '[[],{}]'"),
    ],
)
def test_a_value_comes_back_as_what_it_was(host: Calls, value: str, is_kept: str) -> None:
    script = f"""
    local kept = {value}
    kv.set("k", kept)
    for _, it in ipairs{{ kv.get("k"), kv.list()[1].value, kv.get_many{{ "k" }}.k }} do
      assert({is_kept}, tostring(it))
    end
    local it = kv.get("k")
    assert({is_kept}, tostring(it))
    return "as it was"
    """
    assert body(script, host=host, limits=LIMITS) == b"as it was"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("kv.set('k')", "kv.set: a value must not be nil; kv.delete(key) removes one, json.null is a value"),
        ("kv.set('k', print)", "kv.set: $: a function cannot be JSON"),
        ("kv.set('k', 0/0)", "kv.set: $: NaN cannot be JSON"),
        ("kv.set('k', { 1, nil, 3 })", "kv.set: $: a list with holes cannot be JSON"),
        (r"kv.set('k', { '\255' })", "kv.set: $[1]: text that is not UTF-8 (byte 1) cannot be JSON"),
        ("kv.set({}, 1)", "kv.set needs a string, not table"),
        ("kv.set('k', 1, 60)", "kv.set needs a table of options, not number"),
        ("kv.set('k', 1, { tll = 60 })", "kv.set: there is no option 'tll'"),
        ("kv.set('k', 1, { 60 })", "kv.set: there is no option '1'"),
        ("kv.set('k', 1, { ttl = 0 })", "kv.set: ttl must be a number of seconds above 0, at most 316224000"),
        ("kv.set('k', 1, { ttl = -1 })", "kv.set: ttl must be a number of seconds above 0, at most 316224000"),
        ("kv.set('k', 1, { ttl = 0/0 })", "kv.set: ttl must be a number of seconds above 0, at most 316224000"),
        ("kv.set('k', 1, { ttl = '60' })", "kv.set: ttl must be a number of seconds above 0, at most 316224000"),
        ("kv.set('k', 1, { ttl = 316224001 })", "kv.set: ttl must be a number of seconds above 0, at most 316224000"),
        ("kv.set('k', 1, { if_version = 1.5 })", "kv.set: if_version needs an integer, not 1.5"),
        ("kv.set('', 1)", "kv.set: a key has 1 to 512 bytes, not 0"),
        (r"kv.set('\255', 1)", "kv.set: a key must be UTF-8 text"),
        ("kv.set('k', ('x'):rep(262145))", "kv.set: a value has at most 262144 bytes, not 262145"),
        ("kv.get()", "kv.get needs a string, not nil"),
        ("kv.delete('k', { ttl = 1 })", "kv.delete: there is no option 'ttl'"),
        ("kv.incr('k', 0.5)", "kv.incr needs an integer, not 0.5"),
        ("kv.incr('k', 1, { if_version = 1 })", "kv.incr: there is no option 'if_version'"),
        ("kv.set('k', 'x') kv.incr('k')",
         "kv.incr: 'k' holds no whole number, or one that this would take out of 64 bits"),
        ("kv.set('k', math.maxinteger) kv.incr('k')",
         "kv.incr: 'k' holds no whole number, or one that this would take out of 64 bits"),
        ("kv.get_many('k')", "kv.get_many needs a list of keys, not string"),
        ("kv.get_many{ 'k', {} }", "kv.get_many needs a string, not table"),
        ("local t = {} for i = 1, 101 do t[i] = i end kv.get_many(t)", "kv.get_many: takes 1 to 100 keys"),
        ("kv.list('k')", "kv.list needs a table of options, not string"),
        ("kv.list{ limit = 101 }", "kv.list: limit must be a whole number from 1 to 100"),
        ("kv.list{ prefix = {} }", "kv.list: prefix needs a string, not table"),
        ("kv.open('')", "kv.open: a space's name has 1 to 63 letters a to z, digits and '-', no '-' first"),
        ("kv.open('Orders')", "kv.open: a space's name has 1 to 63 letters a to z, digits and '-', no '-' first"),
        ("kv.open('others').get('k')",
         "kv.get: this script may not use the space 'others': its setting 'kv' does not name it"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_an_error_at_the_scripts_line_that_it_may_catch(
    host: Calls, call: str, said: str
) -> None:
    assert failure(f"\n{call}", host=host, limits=LIMITS).message.decode() == f"main.lua:2: {said}"
    caught = f"local done, why = pcall(function() {call} end) kv.set('after', 1) return tostring(done) .. why"
    assert body(caught, host=host, limits=LIMITS).decode() == f"falsemain.lua:1: {said}"


def test_versions_and_times_as_a_script_has_them(host: Calls) -> None:
    script = """
    local first = kv.set("k", "a", { if_version = 0 })
    assert(math.type(first) == "integer")
    assert(kv.set("k", "b", { if_version = 0 }) == nil)
    local value, version = kv.get("k")
    assert(value == "a" and version == first)
    assert(kv.set("k", "b", { if_version = first, ttl = 0.5 }) > first)
    assert(kv.delete("k", { if_version = first }) == false)
    assert(kv.delete("k") == true and kv.delete("k") == false)
    assert(select("#", kv.get("k")) == 1 and kv.get("k") == nil)
    assert(kv.incr("n", 5, { ttl = 60 }) == 5 and kv.incr("n", -7) == -2 and kv.incr("n") == -1)
    return "done"
    """
    assert body(script, host=host, limits=LIMITS) == b"done"


def test_lists_and_many_keys_as_a_script_has_them(host: Calls) -> None:
    script = """
    for i = 1, 5 do kv.set("k" .. i, i) end
    kv.set(7, "a number is a key, too")
    local function keys(list)
      local found = {}
      for at, it in ipairs(list) do found[at] = it.key end
      return table.concat(found, " ")
    end
    local list = kv.list{ prefix = "k", after = "k2", limit = 2 }
    return { body = {
      keys(kv.list()), keys(list), list[1].value, math.type(list[1].version), kv.get_many{ "k1", "none", "k1", "k5" },
      kv.get_many{}, kv.list{ prefix = "none" }, (kv.get("7")),
    } }
    """
    assert body(script, host=host, limits=LIMITS) == (
        b'["7 k1 k2 k3 k4 k5","k3 k4",3,"integer",{"k1":1,"k5":5},{},[],"a number is a key, too"]'
    )


def test_a_shared_space_is_another_one(host: Calls) -> None:
    script = """
    local orders = kv.open("orders")
    kv.set("k", 1) orders.set("k", 2) orders.incr("k", 5)
    return kv.get("k") .. " " .. orders.get("k") .. " " .. #orders.list() .. " " .. tostring(orders.open)
    """
    assert body(script, host=host, limits=LIMITS) == b"1 7 1 nil"


def test_metamethods_of_a_script_do_not_run_in_here(host: Calls) -> None:
    script = """
    local poison = setmetatable({}, {
      __index = function() error("index") end,
      __len = function() error("len") end,
      __pairs = function() error("pairs") end,
    })
    kv.set("k", 1, poison)
    return #kv.list(poison) .. json.encode(kv.get_many(poison))
    """
    assert body(script, host=host, limits=LIMITS) == b"1{}"
