"""Answers of the trusted side at the edges of a script's memory and stack."""

import pytest

from sandbox import lua
from sandbox.lua import Engine, Result
from sandbox.protocol import DONE, MEMORY_LIMIT
from tests.probing import PROBE
from tests.sandbox.lua_support import SEED, LuaLimits, LuaRequest


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """One whose scripts can `probe(name, count, size)`: so many strings of so many bytes."""
    real = lua._source
    monkeypatch.setattr(lua, "_source", lambda name: real(name).replace(*PROBE))
    return Engine(
        emit_log=lambda *line: None,
        call_host=lambda _, arguments: [DONE, *(b"x" * int(arguments[1]) for _ in range(int(arguments[0])))],
    )


def ran(engine: Engine, script: bytes) -> bytes:
    limits = LuaLimits(memory_bytes=64 << 20, host_calls=10_000)
    end = engine.run(
        files=[b"main.lua", script], env=[], request=LuaRequest().fields(), limits=limits, seed=SEED
    )  # fmt: skip
    return end.body if isinstance(end, Result) else end.kind


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_all_values_arrive(engine: Engine, count: int) -> None:
    script = b"return select('#', probe('p', '%d', '3')) .. (probe('p', '%d', '3') or 'none')" % (count, count)

    assert ran(engine, script) == (b"%dxxx" % count if count else b"0none")


def test_an_answer_for_which_there_is_no_stack_leaves_the_memory_limit_in_force(engine: Engine) -> None:
    script = b"""
    local filler, failed = {}, 0
    for i = 1, 240 do filler[i] = i end
    local function fill(n, ...)
      if n == 0 then
        failed = failed + (pcall(probe, "p", "5000", "1") and 0 or 1)
        return "end"
      end
      local answer = fill(n - 1, ...)
      return answer
    end
    for depth = 4020, 4120, 4 do pcall(fill, depth, table.unpack(filler)) end
    return tostring(failed > 0) .. tostring(pcall(string.rep, "x", 100000000))
    """

    assert ran(engine, script) == b"truefalse"


def test_answers_count_against_the_memory_limit_once_they_are_kept(engine: Engine) -> None:
    kept = b"local t = {} for i = 1, 100 do t[i] = probe('p', '1', '1000000') end return 'kept'"

    assert ran(engine, kept) == MEMORY_LIMIT


def test_answers_that_were_let_go_of_do_not_count(engine: Engine) -> None:
    dropped = b"local n = 0 for i = 1, 100 do n = n + #probe('p', '1', '1000000') end return tostring(n)"

    assert ran(engine, dropped) == b"100000000"
