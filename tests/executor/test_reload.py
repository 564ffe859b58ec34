"""An executor that is told to read its settings again, or to stop: who runs goes on, who comes is served."""

import resource
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from picloud.executor.client import SandboxClient
from picloud.executor.parking import counts, parked, parking_socket
from picloud.model import Outcome
from tests.executor.conftest import (
    PATIENCE_S,
    Executor,
    StartExecutor,
    await_end,
    children_of,
    load,
    program,
    request,
)


class Gate:
    """A host call that says that it was asked, and waits until it may answer."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.opened = threading.Event()

    def call(self, _name: str, _arguments: Sequence[bytes], _deadline: float) -> list[bytes]:
        self.asked.release()
        assert self.opened.wait(PATIENCE_S)
        return []


def await_dismissal(executor: Executor) -> None:
    """Until the only sandbox left is that which runs."""
    until = time.monotonic() + PATIENCE_S
    while len(executor.init_and_sandboxes[1]) != 1:
        assert time.monotonic() < until
        time.sleep(0.01)


def hang_up(executor: Executor) -> int:
    """Have the zygote replaced → the pid of the one that serves now."""
    before = executor.zygote
    executor.process.send_signal(signal.SIGHUP)
    executor.await_ready()
    assert executor.process.poll() is None
    zygotes = [pid for pid in children_of(executor.process.pid) if pid != before]
    assert len(zygotes) == 1
    return zygotes[0]


def test_what_runs_goes_on_and_who_comes_is_served_by_the_next(executor: Executor) -> None:
    old, gate = executor.zygote, Gate()
    executor.host_calls = gate
    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(executor.run, "kv.get('k') return 'done'", wall_ms=60_000) for _ in range(4)]
        assert all(gate.asked.acquire(timeout=PATIENCE_S) for _ in running)
        new = hang_up(executor)
        assert executor.run("return 1").outcome is Outcome.OK
        assert {old, new} <= set(children_of(executor.process.pid))
        gate.opened.set()
        assert {run.result().outcome for run in running} == {Outcome.OK}
    await_end(old)


def test_the_sandboxes_of_a_zygote_that_goes_do_not_wait_on(executor: Executor) -> None:
    executor.await_rest()
    old, waiting = executor.zygote, executor.init_and_sandboxes[1]
    hang_up(executor)
    for pid in (*waiting, old):
        await_end(pid)


def test_under_load_no_run_is_lost(executor: Executor) -> None:
    with load(executor) as outcomes:
        for _ in range(10):
            old = executor.zygote
            hang_up(executor)
            await_end(old)
    assert set(outcomes) == {Outcome.OK}


def test_scripts_that_go_on_may_still_invoke_others(executor: Executor) -> None:
    old, gate = executor.zygote, Gate()
    reserve = SandboxClient(executor.settings.reserve_socket, queue_ms=int(PATIENCE_S * 1000))
    executor.host_calls = gate
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(executor.run, "kv.get('k')", wall_ms=60_000)
        assert gate.asked.acquire(timeout=PATIENCE_S)
        hang_up(executor)
        for _ in range(8):
            assert reserve.run(program("return 1"), request(), print).outcome is Outcome.OK
        gate.opened.set()
        assert running.result().outcome is Outcome.OK
    await_end(old)  # though a child of it may wait on the reserve


def test_told_to_stop_it_waits_for_what_runs(executor: Executor) -> None:
    gate = Gate()
    executor.host_calls = gate
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(executor.run, "kv.get('k') return 'done'", wall_ms=60_000)
        assert gate.asked.acquire(timeout=PATIENCE_S)
        executor.process.send_signal(signal.SIGTERM)
        await_dismissal(executor)
        gate.opened.set()
        assert running.result().outcome is Outcome.OK
    assert executor.process.wait(PATIENCE_S) == 0


def test_what_does_not_end_is_ended(start_executor: StartExecutor) -> None:
    executor, gate = start_executor(drain_ms=50), Gate()
    executor.host_calls = gate
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(executor.run, "kv.get('k') return 'done'", wall_ms=60_000)
        assert gate.asked.acquire(timeout=PATIENCE_S)
        executor.process.send_signal(signal.SIGTERM)
        assert executor.process.wait(PATIENCE_S) == 0
        gate.opened.set()
        assert running.result().outcome is Outcome.EXECUTOR_LOST


@pytest.fixture
def configured(start_executor: StartExecutor, tmp_path: Path) -> tuple[Executor, Path]:
    """An executor whose settings stand in a file."""
    file = tmp_path / "picloud.toml"
    file.write_text("[server]\npool_spare = 2\n")
    return start_executor(config=file, pool_spare=2), file


def test_settings_are_read_again(configured: tuple[Executor, Path]) -> None:
    executor, file = configured
    executor.await_rest()
    file.write_text("[server]\npool_spare = 5\n")
    hang_up(executor)
    assert len(executor.init_and_sandboxes[1]) == 5


def test_settings_that_are_wrong_change_nothing(configured: tuple[Executor, Path]) -> None:
    executor, file = configured
    old = executor.zygote
    file.write_text("[server]\npool_spar = 5\n")
    executor.process.send_signal(signal.SIGHUP)
    assert executor.process.stderr
    said = next(line for line in executor.process.stderr if "configuration" in line)
    assert "did you mean" in said
    assert "pool_spare" in said
    assert executor.zygote == old
    assert executor.run("return 1").outcome is Outcome.OK


def test_who_parks_is_counted_by_the_zygote_that_serves(start_executor: StartExecutor) -> None:
    executor, gate, parking = start_executor(pool_spare=2, pool_max=4, parked_max=32), Gate(), Gate()
    address = parking_socket(executor.settings.executor_socket)

    class Parking:
        def call(self, *words: Any) -> list[bytes]:
            with parked(address):
                return parking.call(*words)

    executor.host_calls = gate
    with ThreadPoolExecutor(17) as threads:
        running = [threads.submit(executor.run, "kv.get('k')", wall_ms=60_000)]
        assert gate.asked.acquire(timeout=PATIENCE_S)
        hang_up(executor)
        executor.host_calls = Parking()
        running += [threads.submit(executor.run, "kv.get('k')", wall_ms=60_000) for _ in range(16)]
        assert all(parking.asked.acquire(timeout=PATIENCE_S) for _ in range(16))
        assert counts(address).parked == 16
        parking.opened.set()
        gate.opened.set()
        assert {run.result().outcome for run in running} == {Outcome.OK}


def test_what_others_invoke_does_not_keep_a_zygote_that_goes(executor: Executor) -> None:
    old, gate = executor.zygote, Gate()
    reserve = SandboxClient(executor.settings.reserve_socket, queue_ms=int(PATIENCE_S * 1000))
    source, stop = "local t = os.clock() while os.clock() - t < 0.1 do end", threading.Event()

    def invoke() -> set[Outcome]:
        found = set()
        while not stop.is_set():
            found.add(reserve.run(program(source), request(), print).outcome)
        return found

    executor.host_calls = gate
    with ThreadPoolExecutor(9) as threads:
        running = threads.submit(executor.run, "kv.get('k')", wall_ms=60_000)
        assert gate.asked.acquire(timeout=PATIENCE_S)
        invoking = [threads.submit(invoke) for _ in range(8)]
        hang_up(executor)
        time.sleep(0.5)
        gate.opened.set()
        assert running.result().outcome is Outcome.OK
        try:
            await_end(old)
        finally:
            stop.set()
        assert set().union(*(it.result() for it in invoking)) == {Outcome.OK}


def test_while_no_other_zygote_can_be_started_what_runs_goes_on(executor: Executor) -> None:
    gate, pid = Gate(), executor.process.pid
    executor.host_calls = gate
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(executor.run, "kv.get('k') return 'done'", wall_ms=60_000)
        assert gate.asked.acquire(timeout=PATIENCE_S)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (20, before[1]))  # too few for who is started
        executor.process.send_signal(signal.SIGHUP)
        assert executor.process.stderr
        assert any("no zygote can be started now" in line for line in executor.process.stderr)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        executor.await_ready()
        gate.opened.set()
        assert running.result().outcome is Outcome.OK
    assert executor.run("return 1").outcome is Outcome.OK
