"""What a script can name and reach, and what it cannot."""

import subprocess
import sys
from pathlib import Path

import lupa
import pytest

from sandbox import lua
from sandbox.lua import Engine, Result
from tests.sandbox.lua_support import SEED, Line, LuaLimits, LuaRequest, answer, body, failure, refuse

GLOBALS = """
_G _VERSION after assert base64 coroutine crypto env error events files getmetatable html http invoke ipairs jobs json
kv load log math next os pairs pcall print rawequal rawget rawlen rawset request require schedule secrets select
setmetatable stream string table template time tonumber tostring type url utf8 xpcall
"""


def test_the_globals_are_exactly_these() -> None:
    script = "local names = {} for name in pairs(_G) do names[#names + 1] = name end table.sort(names) return names"
    assert sorted(GLOBALS.split()) == eval(body(script))


@pytest.mark.parametrize(
    "name",
    [
        "python",
        "debug",
        "io",
        "package",
        "dofile",
        "loadfile",
        "collectgarbage",
        "warn",
        "string.dump",
        "os.execute",
        "os.exit",
        "os.getenv",
        "os.remove",
        "os.rename",
        "os.tmpname",
        "os.setlocale",
        "_G.python",
        "_ENV.debug",
    ],
)
def test_what_a_script_must_not_have_is_nil(name: str) -> None:
    assert answer(f"return {name}").status == 204


def test_os_is_time_clock_date_and_difftime() -> None:
    script = "local names = {} for name in pairs(os) do names[#names + 1] = name end table.sort(names) return names"
    assert body(script) == b'["clock","date","difftime","time"]'


def test_the_real_globals_are_not_reachable_and_empty() -> None:
    assert body("return function() return rawequal(_G, _ENV) and _G._G == _G end") == b"true"


SCAN = b"""
local with_upvalues, debug, type, next, rawget = ..., debug, type, next, rawget
local seen, found, queue = {}, {}, {}
local function visit(value, path)
  local kind = type(value)
  if kind == "userdata" then found[#found + 1] = path
  elseif (kind == "table" or kind == "function" or kind == "thread") and not seen[value] then
    seen[value] = true
    queue[#queue + 1] = { value, path }
  end
  local meta = debug.getmetatable(value)
  if meta and not seen[meta] then seen[meta] = true queue[#queue + 1] = { meta, path .. "<meta>" } end
end
for _, value in next, { 1, "", true, print } do visit(value, type(value)) end
visit(debug.getregistry()._LOADED._G, "_G")
local at = 0
while queue[at + 1] do
  at = at + 1
  local value, path = queue[at][1], queue[at][2]
  if type(value) == "table" then
    for key, item in next, value do visit(key, path .. "<key>") visit(item, path .. "." .. tostring(key)) end
  elseif type(value) == "function" and with_upvalues then
    for i = 1, 255 do
      local name, item = debug.getupvalue(value, i)
      if not name then break end
      visit(item, path .. "^" .. name)
    end
  end
end
return at, table.concat(found, " ")
"""


RESTORE = b"""
return add, function() seal() for name, value in next, kept do real[name] = value end end, exports
"""


@pytest.fixture
def open_engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine whose real globals keep what the scan needs; it has run a script."""
    kept = (
        b"local kept = {debug = debug, type = type, next = next, rawget = rawget, tostring = tostring, table = table}\n"
    )
    loader = lua._source("loader").replace(b"return add, seal, exports", RESTORE)
    sources = {"loader": kept + loader}
    real = lua._source
    monkeypatch.setattr(lua, "_source", lambda name: sources.get(name) or real(name))
    engine = Engine(emit_log=lambda *line: None, call_host=refuse)
    script = b"log.info('x') local a, b, c = request.query, request.headers, request.cookies return crypto.uuid4()"
    fields = LuaRequest().fields()
    engine.run(files=[b"main.lua", script], env=[b"A", b"b"], request=fields, limits=LuaLimits(), seed=SEED)
    return engine


def test_no_python_object_is_reachable_from_a_script(open_engine: Engine) -> None:
    objects, found = open_engine._lua.execute(SCAN, False)
    assert objects > 100
    assert found == b""


def test_behind_closures_there_is_the_one_host_function_and_nothing_else_of_python(open_engine: Engine) -> None:
    objects, found = open_engine._lua.execute(SCAN, True)
    generator = {path for path in found.split() if path.startswith(b"_G.math.random")}  # Lua's own, behind C functions
    (host,) = set(found.split()) - generator
    assert objects > 200
    assert host.endswith(b"^raw")


def test_warming_up_again_and_compiling_leave_nothing_behind() -> None:
    lines: list[bytes] = []
    engine = Engine(emit_log=lambda level, message, fields: lines.append(message), call_host=refuse)
    engine.compile([b"main.lua", b"leak = 1 return 1", b"m.lua", b"leak = 2"])
    engine.warm_up()
    script = b"print(leak, next(env), (pcall(require, 'm')), math.random(1 << 40)) return request.query"
    limits, fields = LuaLimits(), LuaRequest(query=b"a=1").fields()
    result = engine.run(files=[b"main.lua", script], env=[], request=fields, limits=limits, seed=SEED)
    plain: list[Line] = []
    answer(script, logs=plain, request=LuaRequest(query=b"a=1"))
    assert isinstance(result, Result)
    assert (result.body, lines) == (b'{"a":"1"}', [line.message for line in plain])
    assert lines[0].startswith(b"nil\tnil\tfalse\t")


def test_an_engine_loads_none_of_the_modules_that_cost_a_fork() -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import sandbox.lua as s;"
        "s.Engine(emit_log=0, call_host=0); print(*sys.modules)"
    )
    places = {str(Path(module.__file__ or "").parents[1]) for module in (lua, lupa)}
    command = [sys.executable, "-I", "-S", "-c", code, *places]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    dear = {"json", "typing", "dataclasses", "hashlib", "_hashlib", "random", "traceback", "picloud"}  # lupa brings re
    assert not dear & {*loaded}


def test_the_host_function_gives_lua_no_attributes(open_engine: Engine) -> None:
    with pytest.raises(AttributeError, match="no Python object"):
        open_engine._lua.execute(b"local f = ... return f.__class__", open_engine._host)


@pytest.mark.parametrize(
    "script",
    [
        "return tostring({}) .. tostring(print) .. tostring(function() end) .. tostring(coroutine.create(print))",
        "return ('%s %s %-30s|'):format({}, print, coroutine.create(print))",
        "return ('%p %20p'):format({}, print)",
        "return ('%p'):format('a string that is long enough not to be interned by Lua, forty bytes')",
        "local t = {} local k = {[t] = 1} return tostring(next(k))",
        "return select(2, pcall(error, setmetatable({}, {__tostring = function(t) return 'x' end}))) and tostring(_G)",
        "return tostring(setmetatable({}, {__name = 'thing'}))",
    ],
)
def test_no_address_is_shown(script: str) -> None:
    text = body(script).decode()
    assert "0x" in text
    for word in text.split("0x")[1:]:
        assert int(word[:8], 16) < 1000


def test_a_masked_address_is_stable_and_an_objects_own() -> None:
    script = """
    local a, b = {}, {}
    return {tostring(a) == tostring(a), tostring(a) == tostring(b), ("%p"):format(a) == tostring(a):match("0x%x+")}
    """
    assert body(script) == b"[true,false,true]"


def test_format_is_luas_otherwise() -> None:
    values = "3, 1.5, 255, 'a\\n', nil, true, 'x', 65, 7, 1.0, 0.1"
    script = f"return ('%d|%5.2f|%x|%q|%%|%s|%10s|%-5s|%c|%i|%a|%g'):format({values})"
    assert body(script) == b'3| 1.50|ff|"a\\\n"|%|nil|      true|x    |A|7|0x1p+0|0.1'


def test_format_calls_tostring_metamethods_once_in_order() -> None:
    script = """
    local n = 0
    local t = setmetatable({}, {__tostring = function() n = n + 1 return "t" .. n end})
    return ("%s %d %s %% %s"):format(t, 5, t, "p") .. tostring(n)
    """
    assert body(script) == b"t1 5 t2 % p2"


def test_null_pointers_are_null() -> None:
    assert body("return ('%p %p'):format(nil, 1)") == b"(null) (null)"


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("return load('return 1 + 1')()", b"2"),
        ("return load('return x', 'c', 't', {x = 5})()", b"5"),
        ("x = 6 return load('return x')()", b"6"),
        ("local parts = {'return ', '7'} local i = 0 return load(function() i = i + 1 return parts[i] end)()", b"7"),
        ("return {load('\\27Lua')}", b"[null,\"attempt to load a binary chunk (mode is 't')\"]"),
        ("return {load('return 1', 'c', 'b')}", b"[null,\"only text can be loaded: mode is 'b'\"]"),
        ("return {(load('x =', '=chunk'))}", b"{}"),
        ("return select(2, load('x =', '=chunk'))", b"chunk:1: unexpected symbol near <eof>"),
        ("return load('return _ENV', 'c', 't', nil)() == nil", b"true"),
        ("return tostring(load('return debug')())", b"nil"),
    ],
)
def test_load_takes_text_only_and_defaults_to_the_scripts_globals(script: str, text: bytes) -> None:
    if b"[null" in text:
        script = script.replace("return {load", "local a, b = load").replace("}", "") + " return {a or json.null, b}"
    assert text == body(script)


def test_the_metatable_of_strings_is_not_handed_out() -> None:
    script = "return {getmetatable(''), (pcall(setmetatable, '', {}))}"
    assert body(script) == b"[false,false]"


def test_methods_of_strings_are_the_scripts_to_extend() -> None:
    assert body("function string.shout(s) return s:upper() .. '!' end return ('hi'):shout()") == b"HI!"


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("return tostring(setmetatable({}, {__tostring = function() return 'me' end}))", b"me"),
        ("return {tostring(1), tostring(1.5), tostring(nil), tostring(true)}", b'["1","1.5","nil","true"]'),
        ("return select(2, pcall(tostring, setmetatable({}, {__tostring = function() return {} end})))",
         b"main.lua:1: '__tostring' must return a string"),
        ("return select(2, pcall(tostring))", b"main.lua:1: bad argument #1 to 'tostring' (value expected)"),
        ("local t = setmetatable({}, {__metatable = 'no'}) return select(2, pcall(setmetatable, t, {}))",
         b"main.lua:1: cannot change a protected metatable"),
        ("local t = {} return setmetatable(t, {__index = {x = 4}}) == t and t.x", b"4"),
        ("local t = setmetatable({}, {}) setmetatable(t, nil) return tostring(getmetatable(t))", b"nil"),
        ("return select(2, pcall(setmetatable, 1, {}))",
         b"main.lua:1: bad argument #1 to 'setmetatable' (table expected, got number)"),
        ("return _VERSION", b"Lua 5.4"),
        ("return utf8.char(233, 128512)", "é😀".encode()),
        ("local co = coroutine.wrap(function(a) return coroutine.yield(a + 1) * 2 end) return co(1) + co(5)", b"12"),
        ("return {table.unpack({1, 2, 3}, 2)}", b"[2,3]"),
        ("return math.type(3 // 1) .. (7 % 3) .. (1 << 4)", b"integer116"),
        ("goto done do return 'no' end ::done:: return 'yes'", b"yes"),
    ],
)  # fmt: skip
def test_lua_is_as_usual(script: str, text: bytes) -> None:
    assert text == body(script)


def test_a_finalizer_added_later_never_runs() -> None:
    script = """
    local meta = {}
    do local t = setmetatable({}, meta) end
    meta.__gc = function() log.error("ran") end
    for i = 1, 200000 do local t = {} end
    """
    lines: list[object] = []
    answer(script, logs=lines)
    assert lines == []


def test_random_numbers_follow_the_seed() -> None:
    script = "return {math.random(1 << 40), crypto.hex(crypto.random_bytes(8)), crypto.uuid4()}"
    first, again, other = body(script, seed=SEED), body(script, seed=SEED), body(script, seed=bytes(32))
    assert first == again
    assert first != other


def test_randomseed_gives_nothing_away_and_works() -> None:
    script = """
    local shown = select("#", math.randomseed())
    math.randomseed(42) local a = math.random(1000000)
    math.randomseed(42) return shown == 0 and a == math.random(1000000)
    """
    assert body(script) == b"true"


def test_env_is_a_table_of_the_settings() -> None:
    assert (
        body("return {env.GREETING, tostring(env.missing)}", env={b"GREETING": b"hi \xc3\xa9"})
        == '["hi é","nil"]'.encode()
    )


def test_require_runs_a_file_once_and_returns_its_value() -> None:
    files = {b"lib/greet.lua": b"count = (count or 0) + 1 local name, path = ... return {hi = name .. path}"}
    script = "local a, b = require 'lib.greet', require 'lib.greet' return {a.hi, a == b, count}"
    assert body(script, files=files) == b'["lib.greetlib/greet.lua",true,1]'


def test_a_module_that_returns_nothing_is_true() -> None:
    assert body("return require 'a'", files={b"a.lua": b""}) == b"true"


def test_a_missing_module_is_named_with_its_path() -> None:
    message = failure("\nlocal m = require 'a.b'").message
    assert message == b"main.lua:2: module 'a.b' not found: this version has no file a/b.lua"


def test_a_cycle_of_modules_is_an_error() -> None:
    files = {b"a.lua": b"local b = require 'b'", b"b.lua": b"local a = require 'a'"}
    message = failure("local a = require 'a'", files=files).message.decode()
    assert message == "b.lua:1: module 'a' requires itself: a → b → a"


def test_a_module_that_failed_can_be_tried_again() -> None:
    files = {b"a.lua": b"tries = (tries or 0) + 1 if tries == 1 then error('first') end return tries"}
    assert body("pcall(require, 'a') return require 'a'", files=files) == b"2"


def test_an_error_in_a_module_is_located_there() -> None:
    result = failure("local a = require 'lib.a'", files={b"lib/a.lua": b"\n\nerror('x')"})
    assert (result.message, result.file, result.line) == (b"lib/a.lua:3: x", b"lib/a.lua", 3)
    assert b"main.lua:1: in main" in result.traceback or b"main.lua:1:" in result.traceback


def test_files_are_read_as_they_are() -> None:
    files = {b"page.html": b"<p>\xff\0"}
    assert body("return files.read('page.html')", files=files) == b"<p>\xff\0"
    assert failure("local x = files.read('no')", files=files).message == b"main.lua:1: this version has no file no"
