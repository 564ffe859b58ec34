"""Every limit of a script, one below, at it and one above, through the real server; and that they are shown."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from picloud.model import DEFAULT_POLICY, Limits
from tests.acceptance.test_cli import text
from tests.probing import probing_path
from tests.running import Answer, Running, running

OK = "ok"


@dataclass(frozen=True)
class Size:
    """A limit on a size, and a script that uses as much of it as `?n=` says."""

    limit: str
    source: str
    exceeded: str  # what becomes of an invocation over it
    overhead: int = 0  # what is used beside `n`
    body: Callable[[int], bytes | None] = lambda _: None


def returning(source: str) -> str:
    return f"return function(request) local n = math.tointeger(request.query.n) {source} end"


SIZES = {
    "a request's body": Size(
        "request_bytes", returning("return #request.body"), "body-too-large", body=lambda n: b"x" * n
    ),
    "a text": Size("response_bytes", returning("return ('x'):rep(n)"), "bad-response"),
    "a body": Size("response_bytes", returning("return { status = 201, body = ('x'):rep(n) }"), "bad-response"),
    "a table as JSON": Size("response_bytes", returning("return { ('x'):rep(n) }"), "bad-response", overhead=4),
    "a text as JSON takes it": Size(
        "response_bytes", returning("return { ('\\n'):rep(n // 2) .. ('x'):rep(n % 2) }"), "bad-response", overhead=4
    ),
    "an error that is an answer": Size(
        "response_bytes", returning("error{ status = 409, body = ('x'):rep(n) }"), "bad-response"
    ),
}


def ask(picloud: Running, name: str, n: int = 0, body: bytes | None = None) -> Answer:
    return picloud.call("POST", f"/fn/{name}?n={n:09}", body)


def outcome(answer: Answer) -> str:
    return answer.problem if answer.header("content-type") == "application/problem+json" else OK


def limit(picloud: Running, name: str, **limits: int) -> None:
    picloud.set(name, {"limits": limits})


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("most", [1_000, 70_001, 1_048_576])
def test_a_size_is_allowed_up_to_its_limit_and_not_one_byte_more(picloud: Running, size: Size, most: int) -> None:
    picloud.deploy("sized", size.source)
    limit(picloud, "sized", **{size.limit: most})
    at = most - size.overhead
    found = [outcome(ask(picloud, "sized", n, size.body(n))) for n in (at - 1, at, at + 1)]
    assert found == [OK, OK, size.exceeded]


def test_nothing_is_allowed_where_the_limit_is_nothing(picloud: Running) -> None:
    picloud.deploy("sized", returning("return ('x'):rep(n)"))
    limit(picloud, "sized", request_bytes=0, response_bytes=0)
    found = [outcome(ask(picloud, "sized", n, body)) for n, body in ((0, b""), (1, b""), (0, b"x"))]
    assert found == [OK, "bad-response", "body-too-large"]


def test_a_body_without_a_length_is_held_to_the_same_limit(picloud: Running) -> None:
    picloud.deploy("sized", returning("return #request.body"))
    limit(picloud, "sized", request_bytes=1_000)
    statuses = []
    for n in (999, 1_000, 1_001):
        head = "POST /fn/sized HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        statuses.append(picloud.raw(f"{head}1\r\nx\r\n{n - 1:x}\r\n{'x' * (n - 1)}\r\n0\r\n\r\n".encode())[9:12])
    assert statuses == [b"200", b"200", b"413"]


LINES = {
    "one line": ("log.info(('x'):rep(n))", 64),
    "two lines": ("log.info('x') log.warn(('x'):rep(n))", 64 + 1 + 64),
    "fields": ("log.info('x', { a = ('x'):rep(n) })", 64 + 1 + len('{"a":""}')),
    "print": ("print('x', ('x'):rep(n))", 64 + len("x\t")),
}


@pytest.mark.parametrize(("source", "overhead"), LINES.values(), ids=LINES)
def test_lines_are_kept_up_to_their_limit_and_not_one_byte_more(picloud: Running, source: str, overhead: int) -> None:
    picloud.deploy("talkative", returning(source))
    limit(picloud, "talkative", log_bytes=1_000)
    truncated = []
    for n in range(1_000 - overhead - 1, 1_000 - overhead + 2):
        record = picloud.record_of(ask(picloud, "talkative", n))
        newest = picloud.api("GET", f"logs?invocation={record['id']}").json["items"][0]
        truncated.append(newest["message"] == "log truncated: over 1000 bytes")
    assert truncated == [False, False, True]


def least_memory(picloud: Running, source: str, n: int) -> int:
    """The smallest `memory_bytes` under which a script runs; that it is exact is asserted."""

    def runs(memory_bytes: int) -> bool:
        limit(picloud, "hungry", memory_bytes=memory_bytes)
        found = outcome(ask(picloud, "hungry", n))
        assert found in (OK, "memory-limit")
        return found == OK

    picloud.deploy("hungry", returning(source))
    too_little, enough = 524_288, 16 * 1024 * 1024
    assert runs(enough)
    assert not runs(too_little)
    while enough - too_little > 1:
        middle = (too_little + enough) // 2
        too_little, enough = (too_little, middle) if runs(middle) else (middle, enough)
    assert [runs(enough + more) for more in (-1, 0, 1) * 3] == [False, True, True] * 3
    return enough


def test_memory_is_allowed_up_to_its_limit_and_not_one_byte_more(picloud: Running) -> None:
    source = "local text = ('x'):rep(n) return #text"  # the text, and the buffer in which it is made
    assert least_memory(picloud, source, 500_100) - least_memory(picloud, source, 500_000) == 2 * 100


def test_memory_counts_what_an_answer_is_converted_to(picloud: Running) -> None:
    make = "local text = ('x'):rep(n // 4) text = text .. text text = text .. text "
    held = least_memory(picloud, make + "return #text", 1_000_000)  # 1.5 MB at most, while it is made
    sent = least_memory(picloud, make + "return text", 1_000_000)  # the text, and the copy that leaves
    converted = least_memory(picloud, make + "return { text }", 1_000_000)  # the text, its JSON, and that one's copy
    assert sent - held > 400_000
    assert converted - sent > 900_000


def test_a_run_over_its_memory_says_so_and_held_no_more(picloud: Running) -> None:
    picloud.deploy("hungry", "local t = {} for i = 1, 1e9 do t[i] = {} end")
    limit(picloud, "hungry", memory_bytes=3_000_000)
    record = picloud.record_of(ask(picloud, "hungry"))
    assert record["outcome"] == "memory-limit"
    assert record["memory_bytes"] <= 3_000_000


@pytest.fixture(scope="module")
def probing(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A PiCloud whose scripts have `probe(name)`: a host call of any name, which the server refuses, and counts."""
    path = probing_path(tmp_path_factory.mktemp("path"))
    with running(tmp_path_factory.mktemp("probing"), PYTHONPATH=path) as ours:
        yield ours


@pytest.mark.parametrize("most", [0, 1, 5, 1_000])
def test_host_calls_are_made_up_to_their_limit_and_not_one_more(probing: Running, most: int) -> None:
    probing.deploy("calling", returning("for _ = 1, n do pcall(probe, 'no.such') end probe('one.more')"))
    limit(probing, "calling", host_calls=most)
    details = [ask(probing, "calling", n).json["detail"] for n in (most - 2, most - 1, most)]
    allowed, refused = "one.more is not available here", f"one.more: over the limit of {most} host calls"
    assert [detail.removeprefix("main.lua:1: ") for detail in details] == [
        allowed if most else refused, allowed if most else refused, refused,
    ]  # fmt: skip


SPIN = "while true do end"
SHIELDED = "while true do pcall(function() while true do end end) end"
IN_C = "local s = ('a'):rep(1e5) while true do s:find(('.-'):rep(9) .. 'b') end"
TRIES = 10
TIMES = [(limit, source) for limit in ("wall_ms", "cpu_ms") for source in (SPIN, SHIELDED, IN_C)]


@pytest.mark.parametrize(("name", "source"), TIMES)
def test_a_time_ends_no_earlier_than_its_limit_and_soon_after(picloud: Running, name: str, source: str) -> None:
    picloud.deploy("endless", source)
    limit(picloud, "endless", **{"wall_ms": 60_000, "cpu_ms": 60_000, name: 700})
    used: list[float] = []
    while len(used) < TRIES and (not used or used[-1] > 700 * 1.1 + 50):  # a busy machine may be late, but not always
        record = picloud.record_of(ask(picloud, "endless"))
        assert record["outcome"] == ("timeout" if name == "wall_ms" else "cpu-limit")
        used.append(record["run_ms" if name == "wall_ms" else "cpu_ms"])
    assert min(used) >= 700
    assert min(used) <= 700 * 1.1 + 50


def test_who_stays_within_both_times_is_let_be(picloud: Running) -> None:
    picloud.deploy("brief", "local t = os.clock() while os.clock() < t + 0.5 do end return 'done'")
    limit(picloud, "brief", cpu_ms=700, wall_ms=60_000)
    answer = ask(picloud, "brief")
    assert answer.body == b"done"
    assert 450 <= picloud.record_of(answer)["cpu_ms"] < 700


def test_both_clocks_at_once_are_one_or_the_other(picloud: Running) -> None:
    picloud.deploy("endless", SPIN)
    limit(picloud, "endless", wall_ms=200, cpu_ms=200)
    records = [picloud.record_of(ask(picloud, "endless")) for _ in range(10)]
    said = {"timeout": "exceeded the wall clock limit of 200 ms", "cpu-limit": "exceeded the CPU limit of 200 ms"}
    assert [record["error"] for record in records] == [said[record["outcome"]] for record in records]
    assert {record["status"] for record in records} == {504}


ODD = Limits(1_234, 567, 7_654_321, 4_321, 54_321, 765, 43, 21)


def test_limits_are_shown(picloud: Running) -> None:
    picloud.deploy("shown", "return 1")
    limit(picloud, "shown", **dataclasses.asdict(ODD))
    lines = [f"limits.{name}: {value}" for name, value in dataclasses.asdict(ODD).items()]
    for command in (("show",), ("settings", "show")):
        assert [it for it in text(picloud.cli(*command, "shown")).splitlines() if it.startswith("limits.")] == lines
    assert json.loads(text(picloud.cli("show", "shown", "--json")))["settings"]["limits"] == dataclasses.asdict(ODD)
    assert json.loads(text(picloud.cli("settings", "show", "shown", "--json")))["limits"] == dataclasses.asdict(ODD)


MAXIMA = [(name, most) for name, most in dataclasses.asdict(DEFAULT_POLICY.maxima).items()]


@pytest.mark.parametrize(("name", "most"), MAXIMA)
def test_a_limit_may_be_the_operators_maximum_and_not_one_more(picloud: Running, name: str, most: int) -> None:
    picloud.deploy("greedy", "return 1")
    limit(picloud, "greedy")
    found = [
        picloud.api("PATCH", "scripts/greedy/settings", {"limits": {name: value}})
        for value in (most - 1, most, most + 1)
    ]
    assert [answer.status for answer in found] == [200, 200, 422]
    assert found[2].json["errors"] == [
        {"field": f"limits.{name}", "message": f"at most {most}, which is this server's {name}_max"}
    ]
    assert picloud.api("GET", "scripts/greedy/settings").json["limits"][name] == most
    assert picloud.call("GET", "/fn/greedy").body == b"1"


def test_what_is_set_is_cut_to_a_maximum_that_the_operator_lowers(fresh_data: Path) -> None:
    ours = Running(fresh_data, {})
    ours.start()
    ours.deploy("cut", returning("return ('x'):rep(n)"))
    limit(ours, "cut", **dataclasses.asdict(DEFAULT_POLICY.maxima))
    ours.stop()
    ours.environment |= {f"PICLOUD_{name.upper()}_MAX": str(most) for name, most in dataclasses.asdict(ODD).items()}
    ours.start()
    try:
        lines = [f"limits.{name}: {value}" for name, value in dataclasses.asdict(ODD).items()]
        assert [it for it in text(ours.cli("show", "cut")).splitlines() if it.startswith("limits.")] == lines
        found = [outcome(ask(ours, "cut", n)) for n in (ODD.response_bytes, ODD.response_bytes + 1)]
        assert found == [OK, "bad-response"]
        found = [outcome(ask(ours, "cut", 0, b"x" * n)) for n in (ODD.request_bytes, ODD.request_bytes + 1)]
        assert found == [OK, "body-too-large"]
    finally:
        ours.stop()
