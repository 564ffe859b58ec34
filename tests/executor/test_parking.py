"""A sandbox whose script waits does not count, for as long as its caller says so."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from picloud.executor.client import SandboxClient
from picloud.executor.parking import parked, parking_socket
from picloud.model import Outcome
from tests.executor.conftest import PATIENCE_S, Executor, StartExecutor, program, request
from tests.running import eventually


@pytest.fixture
def tight(start_executor: StartExecutor) -> Executor:
    """One with room for a single sandbox, and for one more that is parked."""
    return start_executor(pool_spare=1, pool_max=1, parked_max=1)


class Busy:
    """Holds a sandbox until the block ends: its script waits for an answer of ours."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._asked, self._go_on = threading.Event(), threading.Event()

    def call(self, *_: object) -> list[bytes]:
        self._asked.set()
        assert self._go_on.wait(PATIENCE_S)
        return []

    def __enter__(self) -> None:
        self.outcome: Outcome | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._asked.wait(PATIENCE_S)

    def _run(self) -> None:
        source = "kv.get('x') return 'done'"
        run = self._executor.client.run(program(source, wall_ms=60_000), request(), lambda _: None, self)
        self.outcome = run.outcome

    def __exit__(self, *_: object) -> None:
        self._go_on.set()
        self._thread.join()
        assert self.outcome is Outcome.OK


def served(executor: Executor) -> bool:
    """Whether a sandbox is free, or soon."""
    client = SandboxClient(executor.settings.executor_socket, queue_ms=200)
    return client.run(program("return 1"), request(), lambda _: None).outcome is Outcome.OK


def await_served(executor: Executor) -> None:
    until = time.monotonic() + PATIENCE_S
    while not served(executor):
        assert time.monotonic() < until


def test_one_that_is_parked_makes_room_for_another(tight: Executor) -> None:
    with Busy(tight):
        assert not served(tight)
        with tight.client.parked():
            await_served(tight)
        assert_full(tight)


def assert_full(executor: Executor) -> None:
    """Sooner or later: the spare one that was forked meanwhile serves one more."""
    until = time.monotonic() + PATIENCE_S
    while served(executor):
        assert time.monotonic() < until


def test_a_caller_that_dies_leaves_no_count_behind(tight: Executor) -> None:
    address = parking_socket(tight.settings.executor_socket)
    code = "import socket,sys,time; s=socket.socket(1,5); s.connect(sys.argv[1]); print(flush=True); time.sleep(99)"
    with Busy(tight):
        with subprocess.Popen([sys.executable, "-c", code, str(address)], stdout=subprocess.PIPE) as caller:
            assert caller.stdout
            caller.stdout.readline()
            await_served(tight)
            caller.kill()
        assert_full(tight)


def test_no_more_than_parked_max_are_parked(tight: Executor) -> None:
    with Busy(tight), tight.client.parked(), contextlib.ExitStack() as others:
        await_served(tight)
        with Busy(tight):
            for _ in range(50):
                others.enter_context(tight.client.parked())
            assert_full(tight)
    await_served(tight)


def test_the_next_zygote_counts_anew(tight: Executor) -> None:
    with tight.client.parked():
        with Busy(tight):
            await_served(tight)  # this zygote has counted it: the next one will not find it in the backlog
        os.kill(tight.zygote, signal.SIGKILL)
        await_served(tight)
        with Busy(tight):
            assert_full(tight)
            with tight.client.parked():
                await_served(tight)


def test_who_parks_where_no_executor_is_goes_on(tight: Executor) -> None:
    with parked(tight.settings.run_dir / "nobody.sock"):
        pass


def test_no_sandbox_holds_a_descriptor_of_it(tight: Executor) -> None:
    with Busy(tight), tight.client.parked():
        await_served(tight)
        # the listener and the notify socket, or the one connection; a child has its forker's for a moment
        eventually(
            lambda: list(map(descriptors, tight.init_and_sandboxes[1])),
            lambda all_: max(map(len, all_), default=0) <= 2,
        )


def descriptors(pid: int) -> list[str]:
    """What a process has open; nothing if it has ended meanwhile."""
    with contextlib.suppress(OSError):
        return [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
    return []


def test_nothing_that_is_said_there_is_read(tight: Executor) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as chatty:
        chatty.connect(str(parking_socket(tight.settings.executor_socket)))
        for _ in range(3):
            chatty.send(b"nonsense")
        await_served(tight)
