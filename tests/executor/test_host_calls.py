"""Host calls: what only the trusted side can do, asked for by a script, and by a sandbox that was taken over."""

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from picloud.executor.client import HostCallRefused
from picloud.model import Outcome
from sandbox.protocol import CALL_BYTES_MAX, REPLY_BYTES_MAX
from tests.executor.conftest import PATIENCE_S, Executor, StartExecutor

MIB = 1024 * 1024


class Binding:
    """Does what the name says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[bytes, ...]]] = []
        self.left = threading.Event()

    def call(self, name: str, arguments: Sequence[bytes], deadline: float) -> Sequence[bytes]:
        self.asked.append((name, tuple(arguments)))
        if name == "probe.refuse":
            raise HostCallRefused("not today")
        if name == "probe.bytes":
            return [b"x" * int(arguments[0])]
        if name == "probe.late":
            self.left.wait(max(0.0, deadline - time.monotonic()) + 0.2)
        if name == "probe.slow":
            self.left.wait(0.4)
        return list(arguments)


@pytest.fixture
def binding() -> Binding:
    return Binding()


@pytest.fixture
def probing(start_executor: StartExecutor, binding: Binding) -> Iterator[Executor]:
    executor = start_executor(probing=True)
    executor.host_calls = binding
    yield executor
    assert executor.run("return 'next'").outcome is Outcome.OK


def body(executor: Executor, source: str, **limits: int) -> bytes:
    run = executor.run(source, b"", **limits)
    assert run.response, run
    return run.response.body


def test_strings_cross_as_they_are_both_ways(probing: Executor, binding: Binding) -> None:
    assert body(
        probing, r"""local a, b, c = probe("probe.echo", "a\0b", "", "\255") return a .. "|" .. b .. "|" .. c"""
    ) == (b"a\0b||\xff")
    assert binding.asked == [("probe.echo", (b"a\0b", b"", b"\xff"))]


def test_nothing_comes_back_as_nothing(probing: Executor) -> None:
    assert body(probing, "return tostring(probe('probe.echo') == nil)") == b"true"


def test_a_refusal_is_an_error_at_the_scripts_line_that_it_may_catch(probing: Executor) -> None:
    run = probing.run("local x = 1\nprobe('probe.refuse')")
    assert (run.outcome, run.detail) == (Outcome.SCRIPT_ERROR, "main.lua:2: not today")
    assert body(probing, "local _, why = pcall(probe, 'probe.refuse') return why").endswith(b"not today")


def test_without_a_binding_every_call_is_refused(start_executor: StartExecutor) -> None:
    run = start_executor(probing=True).run("probe('kv.get', 'a')")
    assert (run.outcome, run.detail) == (Outcome.SCRIPT_ERROR, "main.lua:1: kv.get is not available here")


@pytest.mark.parametrize(("calls", "outcome"), [(4, Outcome.OK), (5, Outcome.OK), (6, Outcome.SCRIPT_ERROR)])
def test_a_run_makes_as_many_as_its_limit_says(
    probing: Executor, binding: Binding, calls: int, outcome: Outcome
) -> None:
    run = probing.run(f"for i = 1, {calls} do probe('probe.echo', 'x') end return 'done'", host_calls=5)
    assert run.outcome is outcome
    assert len(binding.asked) == min(calls, 5)
    if outcome is Outcome.SCRIPT_ERROR:
        assert run.detail == "main.lua:1: probe.echo: over the limit of 5 host calls"


def test_a_reply_may_have_many_frames(probing: Executor) -> None:
    source = f"return tostring(#probe('probe.bytes', '{REPLY_BYTES_MAX}'))"
    assert body(probing, source) == b"%d" % REPLY_BYTES_MAX


def test_a_reply_over_its_limit_is_refused(probing: Executor) -> None:
    source = f"local _, why = pcall(probe, 'probe.bytes', '{REPLY_BYTES_MAX + 1}') return why"
    assert body(probing, source).endswith(b"probe.bytes: 8388609 bytes are more than it may bring back (8388608)")


def test_a_reply_over_the_memory_that_is_left_is_a_lack_of_memory(probing: Executor) -> None:
    source = f"return probe('probe.bytes', '{7 * MIB}')"
    assert probing.run(source, memory_bytes=4 * MIB).outcome is Outcome.MEMORY_LIMIT
    caught = "local done, why = pcall(probe, 'probe.bytes', '7000000') return why"
    assert body(probing, caught, memory_bytes=4 * MIB) == b"not enough memory"


def test_replies_that_are_kept_reach_the_memory_limit_and_no_further(probing: Executor) -> None:
    source = "local kept = {} for i = 1, 100 do kept[i] = probe('probe.bytes', '1000000') end"
    run = probing.run(source, memory_bytes=16 * MIB)
    assert run.outcome is Outcome.MEMORY_LIMIT
    assert run.memory_bytes <= 16 * MIB


def test_a_call_carries_so_much_and_no_more(probing: Executor, binding: Binding) -> None:
    overhead = len("probe.echo") + 2 * 4
    fits = f"return tostring(#probe('probe.echo', ('x'):rep({CALL_BYTES_MAX - overhead})))"
    assert body(probing, fits) == b"%d" % (CALL_BYTES_MAX - overhead)
    run = probing.run(f"probe('probe.echo', ('x'):rep({CALL_BYTES_MAX - overhead + 1}))")
    assert run.outcome is Outcome.SCRIPT_ERROR
    assert "more than a host call may carry" in run.detail
    assert len(binding.asked) == 1


@pytest.mark.parametrize(("count", "outcome"), [(10_000, Outcome.OK), (10_001, Outcome.SCRIPT_ERROR)])
def test_a_call_carries_so_many_values_and_no_more(probing: Executor, count: int, outcome: Outcome) -> None:
    source = f"local t = {{}} for i = 1, {count} do t[i] = '' end\n"
    run = probing.run(source + "local n = select('#', probe('probe.echo', table.unpack(t)))")
    assert run.outcome is outcome
    if outcome is Outcome.SCRIPT_ERROR:
        assert run.detail == "main.lua:2: probe.echo: 10001 values are more than a host call may carry (10000)"


def test_waiting_for_the_host_is_no_cpu_time(probing: Executor) -> None:
    assert body(probing, "return (probe('probe.slow', 'done'))", cpu_ms=200) == b"done"


def test_waiting_for_the_host_ends_at_the_wall_clock(probing: Executor) -> None:
    assert probing.run("probe('probe.late')", wall_ms=300).outcome is Outcome.TIMEOUT


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("for _ in range(6): call_host(b'probe.echo', ())", "more host calls than one invocation may make"),
        ("call_host(b'Not.A/Name', ())", "a host call without a proper name"),
        ("call_host(b'', ())", "a host call without a proper name"),
        (
            "os.write(0, b'C\\0\\xff\\xff\\xff\\xff')",
            "a payload that does not add up: a field at byte 0 reaches outside its 4 byte payload",
        ),
        ("call_host(b'probe.echo', (b'',) * 10_001)", "a payload that does not add up: more than 10001 fields"),
        ("os.write(0, b'C\\0')", "a host call without a proper name"),
        (f"call_host(b'probe.echo', (bytes({CALL_BYTES_MAX}),))", "a message larger than its kind may be"),
        ("os.write(0, b'P\\0')", "a tag that is not known"),
    ],
)
def test_a_sandbox_that_was_taken_over_gets_no_further(
    hostile: Executor, binding: Binding, source: str, reason: str
) -> None:
    hostile.host_calls = binding
    run = hostile.run(source, host_calls=5)
    assert (run.outcome, run.detail) == (Outcome.SANDBOX_CRASH, f"the sandbox did not keep to the protocol: {reason}")


def test_one_that_does_not_read_its_replies_is_ended_at_the_wall_clock(hostile: Executor, binding: Binding) -> None:
    hostile.host_calls = binding
    source = (
        "from sandbox import child, protocol\n"
        "for _ in range(50): child.send(protocol.CALL, b'probe.bytes', b'1000000')\n"
        "while True: pass"
    )
    began = time.monotonic()
    assert hostile.run(source, wall_ms=500, host_calls=50).outcome is Outcome.TIMEOUT
    assert time.monotonic() - began < PATIENCE_S
    assert len(binding.asked) < 5
