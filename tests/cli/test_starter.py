"""The starter works as it is, and its stubs name what a sandbox has: no more and no less."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from picloud.cli.bundle import read_source
from picloud.cli.starter import init, template
from picloud.model import Request
from tests.executor.conftest import Executor, StartExecutor, program, start_executor  # noqa: F401 - a fixture

STUBS = template("picloud.lua")

# What a table of globals holds: `name` and `name.key`. One that refuses to be read is promised, and not there yet.
WALK = """
local function names(scope)
  local found = json.array{}
  for name, value in pairs(scope) do
    local readable = type(value) ~= "table" or pcall(function() return value.x end)
    if readable then
      found[#found + 1] = name
      if type(value) == "table" and name ~= "_G" and name ~= "request" and name ~= "env" then
        for key in pairs(value) do found[#found + 1] = name .. "." .. key end
      end
    end
  end
  table.sort(found)
  return found
end
"""


@pytest.fixture
def executor(start_executor: StartExecutor) -> Executor:  # noqa: F811
    return start_executor()


def answer(executor: Executor, source: str, **more: bytes) -> list[str]:
    run = executor.client.run(
        program(source),
        Request("0", "POST", "/fn/x", "", (("content-type", ""),), more.get("body", b"")),
        lambda _: None,
    )
    assert run.response, run
    assert run.response.status == 200, run
    return sorted(run.response.body.decode().split("\n"))


def in_lua(text: str) -> str:
    return f"[==[\n{text}]==]"


def test_the_stubs_compile(executor: Executor) -> None:
    assert executor.client.check({"picloud.lua": STUBS.encode()}) is None


def test_the_stubs_name_every_global_of_a_sandbox_and_nothing_else(executor: Executor) -> None:
    real = answer(executor, WALK + 'return table.concat(names(_G), "\\n")')
    stubbed = answer(
        executor,
        f"""{WALK}
        local scope = {{}}
        assert(load({in_lua(STUBS)}, "stubs", "t", scope))()
        return table.concat(names(scope), "\\n")""",
    )
    assert stubbed == real
    assert {"env", "files.read", "json.null", "log.info", "print", "request", "string.gsub"} <= set(real)


def test_the_fields_of_the_request_are_those_that_it_has(executor: Executor) -> None:
    block = STUBS.split("---@class picloud.Request\n")[1].split("request = {}")[0]
    fields = re.findall(r"---@field (\w+)", block) + re.findall(r"function request:(\w+)\(", STUBS)
    source = "local out = {} for _, name in ipairs{%s} do if request[name] == nil then out[#out + 1] = name end end "
    missing = answer(executor, source % ", ".join(f"'{name}'" for name in fields) + "return table.concat(out, '\\n')")
    assert missing == ["event"]  # there is none without an event
    prelude = (Path(__file__).parents[2] / "sandbox" / "prelude" / "request.lua").read_text()
    made = re.findall(r"^function parts\.(\w+)|^parts\.(\w+) =|^function methods\.(\w+)", prelude, re.MULTILINE)
    eager = re.findall(r"^    (\w+) = ", prelude.split("local function make(")[1], re.MULTILINE)
    assert sorted(fields) == sorted([*eager, *("".join(one) for one in made)])


def test_every_function_of_ours_says_what_it_takes() -> None:
    for name, arguments in re.findall(r"^function ([\w.:]+)\(([^)]*)\) end$", STUBS, re.MULTILINE):
        above = STUBS.split(f"\nfunction {name}(")[0].rpartition("\n\n")[2]
        for argument in filter(None, arguments.replace("...", "").split(", ")):
            assert re.search(rf"---@param {argument}\??\s", above), f"{name}: {argument}"


def test_a_starter_runs_as_it_is(tmp_path: Path, executor: Executor) -> None:
    done = CliRunner().invoke(init, ["hello", "--dir", str(tmp_path / "x")])
    assert (done.exit_code, done.exception) == (0, None)
    source = read_source(tmp_path / "x")
    assert sorted(source.files) == ["greeting.lua", "main.lua", "picloud.toml"]
    assert executor.client.check(source.files) is None
    assert (tmp_path / "x" / ".picloud" / "library" / "picloud.lua").read_text() == STUBS
    assert (tmp_path / "x" / ".luarc.json").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    done = CliRunner().invoke(init, ["hello", "--dir", str(tmp_path)])
    assert "not an empty folder" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    assert CliRunner().invoke(init, ["hello", "--dir", str(tmp_path)]).exit_code == 0
    assert (tmp_path / "main.lua").exists()


@pytest.mark.parametrize("name", ["../x", "A", "", "a/b"])
def test_a_name_that_no_script_may_have_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "cannot be a script's name" in str(CliRunner().invoke(init, [name]).exception)
    assert not list(tmp_path.iterdir())
