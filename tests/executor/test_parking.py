"""A sandbox whose script waits does not count, for as long as its caller says so."""

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from picloud.errors import ExecutorLost
from picloud.executor.client import SandboxClient
from picloud.executor.parking import counts, parked, parking_socket
from picloud.model import Outcome, SandboxCounts
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


def asked(executor: Executor, *, is_named: bool = True) -> socket.socket:
    """A connection over which nothing is said yet; without a name it is parked until then."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(PATIENCE_S)
    if is_named:
        connection.bind("")
    connection.connect(str(parking_socket(executor.settings.executor_socket)))
    return connection


def test_who_asks_is_told_how_many_there_are(start_executor: StartExecutor) -> None:
    executor = start_executor(pool_spare=3, pool_max=8, parked_max=2)
    executor.await_rest()
    assert executor.client.counts() == SandboxCounts(idle=3, busy=0, parked=0, lent=0)
    with Busy(executor):
        found = eventually(executor.client.counts, lambda it: it.busy == 1)
        assert found == SandboxCounts(idle=2, busy=1, parked=0, lent=0)
        with executor.client.parked():
            found = eventually(executor.client.counts, lambda it: it.parked == 1)
            assert (found.busy, found.lent) == (0, 0)
        eventually(executor.client.counts, lambda it: (it.busy, it.parked) == (1, 0))
    eventually(executor.client.counts, lambda it: it == SandboxCounts(idle=3, busy=0, parked=0, lent=0))


def test_those_that_are_told_are_all_there_are(start_executor: StartExecutor) -> None:
    executor = start_executor(pool_spare=2, pool_max=6, parked_max=1)
    reserve = SandboxClient(executor.settings.reserve_socket, queue_ms=60_000)
    borrower = dataclasses.replace(executor, client=reserve)
    with Busy(executor), Busy(executor), Busy(borrower), executor.client.parked():

        def is_whole() -> bool:
            found = executor.client.counts()
            return (found.busy, found.parked, found.lent) == (1, 1, 1) and found.idle + 3 == len(
                executor.init_and_sandboxes[1]
            )

        eventually(is_whole, bool)


def test_who_only_asks_takes_no_place_and_is_told_where_none_is_left(tight: Executor) -> None:
    with Busy(tight), tight.client.parked():
        await_served(tight)
        for _ in range(100):
            assert tight.client.counts().parked == 1
        with contextlib.ExitStack() as silent:  # more than are kept beyond those that count
            for _ in range(50):
                silent.enter_context(asked(tight))
            assert tight.client.counts().parked == 1
        await_served(tight)
    assert_served_again(tight)


def assert_served_again(executor: Executor) -> None:
    await_served(executor)
    assert executor.client.counts().parked == 0


def test_who_asks_and_does_not_read_holds_up_nobody(tight: Executor) -> None:
    with contextlib.ExitStack() as deaf:
        for _ in range(200):
            deaf.enter_context(asked(tight)).send(b"?")
        await_served(tight)
        assert tight.client.counts().parked == 0


def test_who_asks_and_has_left_holds_up_nobody(tight: Executor) -> None:
    for _ in range(200):
        with asked(tight) as hasty:
            hasty.send(b"?")
    assert_served_again(tight)


def test_whatever_is_said_there_is_a_question_and_its_answer_the_end(tight: Executor) -> None:
    for packet, is_named in ((b"?", True), (b"?", False), (b"nonsense", True), (b"x" * 60_000, False)):
        with asked(tight, is_named=is_named) as chatty:
            chatty.send(packet)
            assert len(chatty.recv(100).split()) == 4
            assert chatty.recv(100) == b""
            with pytest.raises(OSError, match="Broken pipe"):
                chatty.send(b"more")
    with asked(tight) as talkative:
        with contextlib.suppress(OSError):
            for _ in range(3):
                talkative.send(b"nonsense")
        assert_served_again(tight)


def test_where_no_executor_is_nobody_says_how_many_there_are(tmp_path: Path) -> None:
    with pytest.raises(ExecutorLost):
        counts(tmp_path / "nobody.sock")


@pytest.mark.parametrize("answer", [b"", b"1 2 3", b"1 2 3 4 5", b"-1 2 3 4", b"1 2 3 1234567", b"a b c d", b"9" * 99])
def test_an_answer_of_another_form_is_none(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "parking.sock"))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(10) == b"?"
                if answer:
                    connection.send(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ExecutorLost):
            counts(tmp_path / "parking.sock")
        thread.join()
