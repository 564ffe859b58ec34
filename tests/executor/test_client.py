"""The client against what only looks like an executor: a socket that a test answers on."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from picloud import errors
from picloud.executor.client import SandboxClient
from picloud.executor.outcomes import death
from picloud.executor.said import Died
from picloud.model import Limits, Outcome
from sandbox.protocol import pack
from tests.executor.answering import ANSWER, Server
from tests.executor.conftest import PATIENCE_S, program, request


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "s")
    yield made
    for connection in (made.listener, *made.kept):
        connection.close()


def keep_silent(connection: socket.socket) -> None:
    """Hold the connection and say nothing."""


def hang_up(connection: socket.socket) -> None:
    connection.close()


def accept(connection: socket.socket) -> None:
    connection.send(b"A\0")


def answer(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.send(b"A\0")
    connection.send(ANSWER)


def accept_and_hang_up(connection: socket.socket) -> None:
    connection.recv(65536)
    accept(connection)
    connection.close()


def accept_and_die_with_words(connection: socket.socket) -> None:
    """The request stays unread, so the caller's next call fails with ECONNRESET before it sees the words."""
    connection.recv(1, socket.MSG_PEEK)
    accept(connection)
    connection.send(b"D\0" + pack(b"11", b"0", b"5", b"6"))
    connection.close()


def test_an_answer(server: Server) -> None:
    run = server.run(answer)

    assert run.outcome is Outcome.OK
    assert run.response is not None
    assert run.response.body == b"done"
    assert (run.cpu_ms, run.memory_bytes) == (0.001, 2)


def test_who_is_never_accepted_is_refused_in_time(server: Server) -> None:
    run = server.impatient.run(program("return 1"), request(), lambda _: None)

    assert (run.outcome, run.detail) == (Outcome.OVERLOADED, "no sandbox was free within 200 ms")
    assert 199 <= run.queue_ms < PATIENCE_S * 1000
    with pytest.raises(errors.Overloaded):
        server.impatient.ping()


def test_who_is_dropped_before_acceptance_is_served_by_the_next(server: Server) -> None:
    assert server.run(hang_up, hang_up, answer).outcome is Outcome.OK


def test_a_ping_notices_that_no_sandbox_survives(server: Server) -> None:
    thread = threading.Thread(target=lambda: accept_and_die_with_words(server.listener.accept()[0]))
    thread.start()
    with pytest.raises(errors.PlatformError, match="ended by SIGSEGV"):
        server.client.ping()
    thread.join(PATIENCE_S)


def test_no_executor_is_executor_lost(tmp_path: Path) -> None:
    client = SandboxClient(tmp_path / "none", queue_ms=200)

    assert client.run(program("return 1"), request(), lambda _: None).outcome is Outcome.EXECUTOR_LOST
    with pytest.raises(errors.ExecutorLost):
        client.check({"main.lua": b""})


def test_an_end_without_last_words_is_executor_lost(server: Server) -> None:
    assert server.run(accept_and_hang_up).outcome is Outcome.EXECUTOR_LOST


def test_last_words_are_heard_though_the_request_was_never_read(server: Server) -> None:
    run = server.run(accept_and_die_with_words, body=bytes(5_000_000))

    assert (run.outcome, run.detail) == (Outcome.SANDBOX_CRASH, "the sandbox was ended by SIGSEGV")


def test_a_sandbox_that_never_reads_hangs_nobody(server: Server) -> None:
    run = server.run(accept, body=bytes(5_000_000), wall_ms=300)

    assert run.outcome is Outcome.TIMEOUT
    assert 299 <= run.run_ms < PATIENCE_S * 1000


def test_a_sandbox_that_never_answers_hangs_nobody(server: Server) -> None:
    assert server.run(accept, wall_ms=300).outcome is Outcome.TIMEOUT


@pytest.mark.parametrize(
    ("died", "outcome"),
    [
        (Died(27, 0, 0, 0), Outcome.CPU_LIMIT),
        (Died(24, 0, 0, 0), Outcome.CPU_LIMIT),
        (Died(31, 0, 0, 0), Outcome.SANDBOX_VIOLATION),
        (Died(9, 0, 0, 1), Outcome.SANDBOX_CRASH),
        (Died(9, 0, 0, 1 << 30), Outcome.MEMORY_LIMIT),
        (Died(11, 0, 0, 0), Outcome.SANDBOX_CRASH),
        (Died(6, 0, 0, 0), Outcome.SANDBOX_CRASH),
        (Died(99, 0, 0, 0), Outcome.SANDBOX_CRASH),
        (Died(0, 70, 0, 0), Outcome.SANDBOX_CRASH),
    ],
)
def test_what_a_death_means(died: Died, outcome: Outcome) -> None:
    assert death(died, Limits())[0] is outcome
