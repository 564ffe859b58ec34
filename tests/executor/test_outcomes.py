"""Every way that a run can end, with real processes."""

import os
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from picloud.errors import CallerGone
from picloud.executor.client import SandboxClient
from picloud.model import Outcome, Run
from tests.executor.conftest import PATIENCE_S, Executor, StartExecutor, await_end, program, request


def test_a_script_answers(executor: Executor) -> None:
    run = executor.run("return 'hello'")

    assert run.outcome is Outcome.OK
    assert run.response is not None
    assert (run.response.status, run.response.body) == (200, b"hello")


def test_each_run_has_a_process_of_its_own(executor: Executor) -> None:
    bodies = [executor.run("n = (n or 0) + 1 return tostring(n)").response for _ in range(20)]

    assert {body.body for body in bodies if body} == {b"1"}


def test_what_a_run_costs_is_measured(executor: Executor) -> None:
    run = executor.run("local x = 0 for i = 1, 50000000 do x = x + i end return tostring(x)")

    assert run.cpu_ms > 50
    assert run.run_ms >= run.cpu_ms * 0.5
    assert run.queue_ms > 0


def test_an_endless_loop_ends_at_its_cpu_limit(executor: Executor) -> None:
    run = executor.run("while true do end", cpu_ms=150)

    assert run.outcome is Outcome.CPU_LIMIT
    assert run.detail == "exceeded the CPU limit of 150 ms"
    assert 150 <= run.cpu_ms < 4_000  # without it: 5,000


def test_the_cpu_clock_is_never_early_however_busy_the_machine(executor: Executor) -> None:
    naps = "import time\nwhile True:\n sum(range(30_000))\n time.sleep(0.0007)"  # at odds with the kernel's ticks
    others = [subprocess.Popen([sys.executable, "-c", naps]) for _ in range(4)]
    try:
        runs = [executor.run("while true do end", cpu_ms=400) for _ in range(5)]
    finally:
        for other in others:
            other.kill()
            other.wait()

    assert {run.outcome for run in runs} == {Outcome.CPU_LIMIT}
    assert min(run.cpu_ms for run in runs) >= 400  # a clock that counts ticks says 300


def test_an_endless_loop_ends_at_its_wall_clock_limit(executor: Executor) -> None:
    run = executor.run("while true do end", wall_ms=150)

    assert run.outcome is Outcome.TIMEOUT
    assert run.detail == "exceeded the wall clock limit of 150 ms"
    assert 149 <= run.run_ms < 4_000  # its CPU would have lasted for 5 s


def test_an_error_is_the_scripts(executor: Executor) -> None:
    run = executor.run("error('boo')")

    assert run.outcome is Outcome.SCRIPT_ERROR
    assert "main.lua:1: boo" in run.detail


@pytest.mark.parametrize(
    ("script", "outcome", "retry"),
    [
        ("return 1", Outcome.OK, True),
        ("error{status = 409}", Outcome.OK, True),
        ("error{status = 409, retry = true}", Outcome.OK, True),
        ("error{status = 409, retry = false}", Outcome.OK, False),
        ("error('boo')", Outcome.SCRIPT_ERROR, True),
        ("error{why = 'boo', retry = false}", Outcome.SCRIPT_ERROR, False),
    ],
)
def test_an_error_may_say_that_another_try_is_of_no_use(
    executor: Executor, script: str, outcome: Outcome, retry: bool
) -> None:
    run = executor.run(script)

    assert (run.outcome, run.retry) == (outcome, retry)


CRASHES = {
    "a wild pointer": ("ctypes.string_at(0)", "the sandbox was ended by SIGSEGV"),
    "an exit": ("os._exit(3)", "the sandbox exited with status 3 without an answer"),
    "a clean exit": ("os._exit(0)", "the sandbox exited with status 0 without an answer"),
    "an exception of ours": ("1 / 0", "the sandbox exited with status 70 without an answer"),
}


@pytest.mark.parametrize(("attempt", "detail"), CRASHES.values(), ids=CRASHES)
def test_a_sandbox_that_ends_without_an_answer_crashed(hostile: Executor, attempt: str, detail: str) -> None:
    run = hostile.run(attempt)

    assert (run.outcome, run.detail) == (Outcome.SANDBOX_CRASH, detail)


BREACHES = {
    "an unknown tag": "os.write(0, b'Z\\0')",
    "a second acceptance": "os.write(0, b'A\\0')",
    "a short packet": "os.write(0, b'L')",
    "lengths that lie": "os.write(0, b'R\\0\\xff\\xff\\xff\\xff')",
    "two messages at once": "os.write(0, b'L\\1abc'); os.write(0, b'R\\0')",
}


@pytest.mark.parametrize("attempt", BREACHES.values(), ids=BREACHES)
def test_a_breach_of_the_protocol_is_a_crash(hostile: Executor, attempt: str) -> None:
    run = hostile.run(attempt)

    assert run.outcome is Outcome.SANDBOX_CRASH
    assert run.detail.startswith("the sandbox did not keep to the protocol")


def test_an_answer_that_is_no_http_is_a_bad_response(hostile: Executor) -> None:
    wrong = (
        "say(b'', 99)",
        "say(b'', 600)",
        "say(b'', headers=[b'a b', b''])",
        "say(b'', headers=[b'a', b'\\r\\nb: c'])",
    )
    outcomes = [hostile.run(f"answer = {answer}").outcome for answer in wrong]

    assert outcomes == [Outcome.BAD_RESPONSE] * len(wrong)


def test_a_sandbox_that_dribbles_does_not_pass_its_deadline(hostile: Executor) -> None:
    run = hostile.run("while True:\n log(b'info', b'', b'')\n sum(range(200_000))", wall_ms=300)

    assert run.outcome is Outcome.TIMEOUT
    assert hostile.logs
    assert 299 <= run.run_ms < 4_000  # its CPU would have lasted for 5 s


def test_lines_written_before_a_death_arrive(hostile: Executor) -> None:
    hostile.run("log(b'warn', b'last', b'')\nctypes.string_at(0)")

    assert [(line.level, line.message) for line in hostile.logs] == [("warn", "last")]


def test_a_taken_over_sandbox_stretches_its_cpu_but_never_its_wall_time(hostile: Executor) -> None:
    run = hostile.run("clock.start(0)\nwhile True: pass", cpu_ms=100, wall_ms=600)

    assert run.outcome is Outcome.TIMEOUT


def test_memory_beyond_all_limits_is_the_memory_limit(hostile: Executor) -> None:
    hog = "x = []\nwhile True: x.append(bytearray(1 << 24))"
    run = hostile.run(hog, cpu_ms=300_000, wall_ms=300_000)  # a gigabyte takes a slow machine its time

    assert run.outcome is Outcome.MEMORY_LIMIT


def test_a_body_of_many_packets_arrives_whole_both_ways(hostile: Executor) -> None:
    body = os.urandom(1_000_003)
    run = hostile.run("answer = say(request[8])", body=body)

    assert run.response is not None
    assert run.response.body == body


def test_the_clean_environment_holds_nothing_of_ours(hostile: Executor) -> None:
    run = hostile.run("answer = say(repr(sorted(os.environ)).encode())")

    assert run.response is not None
    assert set(re.findall(r"'(\w+)'", run.response.body.decode())) <= {"TZ", "LC_CTYPE"}


def test_who_hangs_up_ends_the_sandbox(start_executor: StartExecutor) -> None:
    executor = start_executor(pool_spare=1, pool_max=1)
    pid = executor.init_and_sandboxes[1][0]
    run = executor.run("while true do end", wall_ms=50)

    assert run.outcome is Outcome.TIMEOUT
    await_end(pid)
    assert executor.run("return 'next'").outcome is Outcome.OK


def test_a_full_pool_is_overloaded_and_recovers_and_who_invokes_has_a_reserve(start_executor: StartExecutor) -> None:
    executor = start_executor(pool_spare=1, pool_max=1)
    began = threading.Event()
    results: list[Run] = []

    def block() -> None:
        source = "log.info('began') while true do end"
        results.append(executor.client.run(program(source, wall_ms=1_000), request(), lambda _: began.set()))

    blocker = threading.Thread(target=block)
    blocker.start()
    assert began.wait(PATIENCE_S)
    refused = SandboxClient(executor.settings.executor_socket, queue_ms=100).run(
        program("return 1"), request(), lambda _: None
    )
    reserve = SandboxClient(executor.settings.reserve_socket, queue_ms=int(PATIENCE_S * 1000))
    lent = reserve.run(program("return 1"), request(), lambda _: None)
    blocker.join()

    assert lent.outcome is Outcome.OK
    assert refused.outcome is Outcome.OVERLOADED
    assert refused.detail == "no sandbox was free within 100 ms"
    assert results[0].outcome is Outcome.TIMEOUT
    assert executor.run("return 1").outcome is Outcome.OK


# ── the caller for whom it runs ─────────────────────────────────────────────────────────────────────────────────────


def connected(family: socket.AddressFamily) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection: a caller's and ours."""
    if family == socket.AF_UNIX:
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        caller = socket.create_connection(listener.getsockname())
        return caller, listener.accept()[0]


def reset(caller: socket.socket) -> None:
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))
    caller.close()


@pytest.mark.parametrize(("family", "leave"), [(socket.AF_UNIX, socket.socket.close), (socket.AF_INET, reset)])
def test_a_caller_who_hangs_up_ends_the_run_and_its_sandbox(
    executor: Executor, family: socket.AddressFamily, leave: Callable[[socket.socket], None]
) -> None:
    caller, ours = connected(family)
    endless = program("log.info('began') while true do end", wall_ms=60_000, cpu_ms=60_000)
    with ours, pytest.raises(CallerGone):
        executor.client.run(endless, request(), lambda _: leave(caller), caller=ours)
    executor.await_rest()
    assert executor.run("return 1").outcome is Outcome.OK


@pytest.mark.parametrize(
    ("family", "leave"),
    [
        (socket.AF_UNIX, lambda caller: caller.shutdown(socket.SHUT_WR)),
        (socket.AF_INET, lambda caller: caller.shutdown(socket.SHUT_WR)),
        (socket.AF_INET, socket.socket.close),  # nobody can tell it from the one above
        (socket.AF_INET, lambda caller: caller.sendall(b"the next request")),
    ],
)
def test_a_caller_who_may_wait_for_the_answer_gets_one(
    executor: Executor, family: socket.AddressFamily, leave: Callable[[socket.socket], None]
) -> None:
    caller, ours = connected(family)
    with ours, caller:
        run = executor.client.run(
            program("log.info('began') return 1"), request(), lambda _: leave(caller), caller=ours
        )
    assert run.outcome is Outcome.OK
