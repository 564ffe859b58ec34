"""The executor's processes: what holds them, what ends them, and that they sleep."""

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from picloud.executor import protections
from picloud.executor.client import SandboxClient
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
    status_of,
)

PTRACE_SEIZE = 0x4206
REQUESTS_OF_EACH = int(os.environ.get("PICLOUD_TEST_REQUESTS", "125"))  # of 16 threads; fewer on an emulated machine
REQUIRED = {
    *("rlimits", "privileges", "capabilities", "parent-death", "no-new-privileges"),
    *("sandbox-limits", "seccomp", "kill"),
}


def family(executor: Executor) -> list[int]:
    init, sandboxes = executor.init_and_sandboxes
    return [executor.zygote, *([init] if init else []), *sandboxes]


def test_a_waiting_sandbox_is_locked_down(executor: Executor) -> None:
    executor.await_rest()
    for pid in executor.init_and_sandboxes[1]:
        status = status_of(pid)
        assert status["Name"] == "picloud-sandbox"
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
        assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert "0" not in status["Uid"].split() + status["Gid"].split()
        assert status["Threads"] == "1"


def test_the_zygote_and_its_init_hold_no_privileges(executor: Executor) -> None:
    for pid in (executor.zygote, executor.init_and_sandboxes[0]):
        status = status_of(pid)
        assert (status["NoNewPrivs"], status["CapEff"], status["CapPrm"]) == ("1", "0" * 16, "0" * 16)
        assert "0" not in status["Uid"].split()


@pytest.mark.root  # who is not dumpable shows its limits and descriptors to root only
def test_a_waiting_sandbox_has_three_descriptors_and_its_limits(executor: Executor) -> None:
    executor.await_rest()
    pid = executor.init_and_sandboxes[1][0]
    limits = Path(f"/proc/{pid}/limits").read_text()

    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["3", "4"]
    for name in ("Max processes", "Max file size", "Max core file size"):
        line = next(line for line in limits.splitlines() if line.startswith(name))
        assert line.split()[-3:-1] == ["0", "0"], line
    namespaces = ("pid", "net", "ipc", "uts", "mnt", "cgroup")
    shared = [ns for ns in namespaces if os.readlink(f"/proc/{pid}/ns/{ns}") == os.readlink(f"/proc/self/ns/{ns}")]
    assert shared == []


def test_the_report_says_that_every_required_layer_holds(executor: Executor) -> None:
    found = protections.read(executor.settings.run_dir / "protections.json")

    assert {item.name for item in found if item.required} == REQUIRED
    assert protections.sufficient(found)
    assert {item.name for item in found if item.active} >= REQUIRED | {"landlock", "pid-namespace"}


def test_the_socket_is_for_us_alone(executor: Executor) -> None:
    assert executor.settings.executor_socket.stat().st_mode & 0o777 == 0o600
    assert executor.settings.run_dir.stat().st_mode & 0o777 == 0o700


def test_a_stop_leaves_no_process_and_no_file(executor: Executor) -> None:
    everyone = family(executor)
    executor.run("return 1")
    everyone += family(executor)
    executor.stop()

    assert executor.process.returncode == 0
    for pid in everyone:
        await_end(pid)
    assert sorted(os.listdir(executor.settings.run_dir)) == ["executor.lock"]


def test_nothing_survives_a_killed_supervisor(executor: Executor) -> None:
    everyone = family(executor)
    executor.process.kill()

    for pid in everyone:
        await_end(pid)


def test_the_next_request_after_a_killed_zygote_is_served_and_none_of_its_children_lives(executor: Executor) -> None:
    everyone = family(executor)
    os.kill(executor.zygote, signal.SIGKILL)
    for pid in everyone:  # until the signal has arrived, one of them may still accept: that run is in flight
        await_end(pid)

    assert executor.run("return 'again'").outcome is Outcome.OK


def test_a_run_in_flight_is_lost_with_the_zygote(executor: Executor) -> None:
    began = threading.Event()
    runs = []

    def run() -> None:
        source = "log.info('began') while true do end"
        runs.append(executor.client.run(program(source), request(), lambda _: began.set()))

    thread = threading.Thread(target=run)
    thread.start()
    assert began.wait(PATIENCE_S)
    os.kill(executor.zygote, signal.SIGKILL)
    thread.join(PATIENCE_S)

    assert runs[0].outcome is Outcome.EXECUTOR_LOST
    assert runs[0].detail == "the executor died while the script ran"


def test_under_load_a_killed_zygote_costs_only_the_runs_in_flight(executor: Executor) -> None:
    victims = []
    with load(executor) as outcomes:
        for _ in range(3):
            zygote = executor.zygote
            victims += [zygote, *children_of(zygote)]
            os.kill(zygote, signal.SIGKILL)
            await_end(zygote)

    assert executor.run("return 1").outcome is Outcome.OK
    assert set(outcomes) <= {Outcome.OK, Outcome.EXECUTOR_LOST}
    assert outcomes.count(Outcome.EXECUTOR_LOST) <= 3 * 8
    for pid in victims:
        await_end(pid)


@pytest.mark.root  # others may not trace a sandbox
def test_an_orphan_that_ends_when_the_next_zygote_serves_is_buried(executor: Executor) -> None:
    executor.await_rest()
    zygote, orphan = executor.zygote, executor.init_and_sandboxes[1][0]
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.ptrace(PTRACE_SEIZE, orphan, None, None) == 0, os.strerror(ctypes.get_errno())
    os.kill(zygote, signal.SIGKILL)
    executor.await_ready()
    os.waitpid(orphan, 0)  # only now does its parent hear of its end

    until = time.monotonic() + PATIENCE_S
    while status_of(orphan):
        assert time.monotonic() < until, "a zombie stays"


def test_a_caller_that_hangs_up_ends_its_sandbox_at_once(executor: Executor) -> None:
    from picloud.executor import packing
    from sandbox import protocol

    before = set(executor.init_and_sandboxes[1])
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.connect(str(executor.settings.executor_socket))
    payload = packing.run(program("while true do end", wall_ms=60_000), request())
    for packet in protocol.frames(protocol.REQUEST, payload):
        line.send(packet)
    assert line.recv(100)[:1] == protocol.ACCEPTED
    descriptors = {os.pidfd_open(pid): pid for pid in before}
    line.close()

    assert select.select(list(descriptors), [], [], PATIENCE_S)[0]
    for descriptor in descriptors:
        os.close(descriptor)


class Held:
    """Host calls that are not answered until they may be."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.may_answer = threading.Event()

    def call(self, _name: str, _arguments: Sequence[bytes], _deadline: float) -> Sequence[bytes]:
        self.asked.release()
        self.may_answer.wait(PATIENCE_S)
        return []


def test_the_reserve_is_used_up_by_its_own_callers_and_serves_again(start_executor: StartExecutor) -> None:
    """Also after one has left before it was served."""
    executor, held = start_executor(workers=1, jobs_concurrency=1), Held()
    executor.await_rest()
    reserve = SandboxClient(executor.settings.reserve_socket, queue_ms=int(PATIENCE_S * 1000))
    os.kill(executor.zygote, signal.SIGSTOP)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as hasty:
        hasty.connect(str(executor.settings.reserve_socket))
    os.kill(executor.zygote, signal.SIGCONT)
    with ThreadPoolExecutor(executor.settings.reserve + 1) as threads:
        waiting = [
            threads.submit(reserve.run, program("return kv.get('k')", wall_ms=60_000), request(), print, held)
            for _ in range(executor.settings.reserve)
        ]
        assert all(held.asked.acquire(timeout=PATIENCE_S) for _ in waiting)
        next_one = threads.submit(reserve.run, program("return 1"), request(), print)
        assert executor.run("return 1").outcome is Outcome.OK  # the pool is not concerned
        assert not next_one.done()
        held.may_answer.set()
        assert {it.result().outcome for it in [*waiting, next_one]} == {Outcome.OK}


def test_sandboxes_accept_however_late_the_zygote_hears_of_it(executor: Executor) -> None:
    """Their notifications carry descriptors, and the kernel counts those that nobody has read yet."""
    from picloud.executor import packing
    from sandbox import protocol

    executor.await_rest()
    zygote = executor.zygote
    os.kill(zygote, signal.SIGSTOP)
    try:
        lines = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(executor.settings.pool_spare)]
        for line in lines:
            line.settimeout(PATIENCE_S)
            line.connect(str(executor.settings.executor_socket))
            line.send(protocol.frames(protocol.REQUEST, packing.run(program("return 1"), request()))[0])
        assert [line.recv(65536)[:1] for line in lines] == [protocol.ACCEPTED] * len(lines)
        assert [line.recv(65536)[:1] for line in lines] == [protocol.RESULT] * len(lines)
    finally:
        os.kill(zygote, signal.SIGCONT)
        for line in lines:
            line.close()

    assert executor.run("return 1").outcome is Outcome.OK
    assert executor.zygote == zygote


def test_nothing_runs_while_nothing_happens(executor: Executor) -> None:
    for _ in range(20):
        executor.run("return 1")
    executor.await_rest()
    everyone = [executor.process.pid, *family(executor)]

    def switches() -> dict[int, tuple[str, str]]:
        found = {}
        for pid in everyone:
            for task in os.listdir(f"/proc/{pid}/task"):
                status = status_of(int(task))
                found[int(task)] = (status["voluntary_ctxt_switches"], status["nonvoluntary_ctxt_switches"])
        return found

    def rests() -> bool:
        before = switches()
        time.sleep(3)  # not in hope: the length of the measurement
        return switches() == before

    assert any(rests() for _ in range(3))  # the first may see them fall asleep; who polls never rests
    assert family(executor) == everyone[1:]


@pytest.mark.root  # who is not dumpable shows its descriptors to root only
def test_many_requests_leave_nothing_behind(start_executor: StartExecutor) -> None:
    executor = start_executor(pool_spare=8, pool_max=32)
    executor.run("return 1")
    executor.await_rest()
    zygote = executor.zygote
    before = len(os.listdir(f"/proc/{zygote}/fd"))
    outcomes: list[Outcome] = []

    def work() -> None:
        for number in range(REQUESTS_OF_EACH):
            bad = number % 25 == 24
            run = executor.run("while true do end" if bad else "return 1", wall_ms=20 if bad else 10_000)
            outcomes.append(Outcome.OK if bad and run.outcome is Outcome.TIMEOUT else run.outcome)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(outcomes) == len(threads) * REQUESTS_OF_EACH
    assert set(outcomes) == {Outcome.OK}
    assert executor.zygote == zygote
    executor.await_rest()
    assert len(os.listdir(f"/proc/{zygote}/fd")) == before


def test_a_second_executor_on_the_same_folder_says_so(start_executor: StartExecutor) -> None:
    first = start_executor()
    second = subprocess.run(
        [sys.executable, "-P", "-m", "picloud.executor.supervisor"],
        env={**first.settings.environment(), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )

    assert second.returncode == 2
    assert "another executor serves in" in second.stderr
    assert first.run("return 1").outcome is Outcome.OK


@pytest.mark.root
def test_an_executor_that_may_not_be_an_ordinary_user_refuses_to_serve(start_executor: StartExecutor) -> None:
    executor = start_executor(sandbox_user="no-such-user", ready=False)
    said = executor.process.communicate(timeout=PATIENCE_S)[1]

    assert executor.process.returncode == 2
    assert "PICLOUD_SANDBOX_USER='no-such-user': there is no such user" in said


def test_a_required_layer_that_fails_ends_the_executor(start_executor: StartExecutor, tmp_path: Path) -> None:
    """Here the seccomp filter allows everything, which its proof must notice."""
    executor = start_executor(hostile=True, ready=False, broken="seccomp")
    said = executor.process.communicate(timeout=PATIENCE_S)[1]

    assert executor.process.returncode == 1
    assert "refusing to run scripts unprotected (seccomp: a forbidden system call did not end the process)" in said


def test_the_sockets_of_systemd_are_taken_and_left(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir(mode=0o700)
    paths = [folder / name for name in ("reserve.sock", "executor.sock", "parking.sock")]  # in any order
    process = with_sockets_of_systemd(tmp_path, paths)
    from picloud.executor.client import SandboxClient

    try:
        assert SandboxClient(folder / "executor.sock", queue_ms=10_000).check({"main.lua": b"return 1"}) is None
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert all(path.exists() for path in paths)


def test_other_sockets_than_its_own_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir(mode=0o700)
    process = with_sockets_of_systemd(tmp_path, [folder / "executor.sock"])
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert f"systemd must pass sockets on {folder / 'executor.sock'}, {folder / 'parking.sock'}" in said.decode()


def with_sockets_of_systemd(data: Path, paths: list[Path]) -> "subprocess.Popen[bytes]":
    """An executor that is started as a unit of systemd is."""
    boot = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); "
    boot += "[os.dup2(int(number), 3 + at) for at, number in enumerate(sys.argv[1:])]; "
    boot += "os.execv(sys.executable, [sys.executable, '-P', '-m', 'picloud.executor.supervisor'])"
    with contextlib.ExitStack() as stack:
        numbers = []
        for path in paths:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            listener.bind(str(path))
            listener.listen(8)
            numbers.append(fcntl.fcntl(listener, fcntl.F_DUPFD, 20))  # above those that it is moved to
            stack.callback(os.close, numbers[-1])
        return subprocess.Popen(
            [sys.executable, "-c", boot, *map(str, numbers)],
            env={
                "PICLOUD_DATA": str(data / "d"),
                "PICLOUD_EXECUTOR_DIR": str(paths[0].parent),
                "LISTEN_FDS": str(len(paths)),
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            pass_fds=numbers,
            stderr=subprocess.PIPE,
        )


def test_the_probe_sees_what_the_executor_sees(executor: Executor) -> None:
    found = protections.inspect(executor.settings)

    assert found == protections.read(executor.settings.run_dir / "protections.json")
