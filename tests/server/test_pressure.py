"""Slow clients, and more of them than there are threads: everyone gets an answer or an end."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.harness import Gate, Server, read_answer, read_to_end, serving, until

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
THREADS = 4
MORE_THAN_BUFFERS_TAKE = 64 * 1024 * 1024


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Server]:
    """One worker with few threads, and deadlines that a test can wait for."""
    with serving(
        tmp_path, PICLOUD_WORKERS="1", PICLOUD_THREADS=str(THREADS), PICLOUD_QUEUE_MS="500", TEST_HEAD_S="2",
    ) as server:  # fmt: skip
        yield server


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Server]:
    """The same, with deadlines that no test waits for."""
    with serving(
        tmp_path, PICLOUD_WORKERS="1", PICLOUD_THREADS=str(THREADS), PICLOUD_QUEUE_MS="60000", TEST_LINGER_S="600",
    ) as server:  # fmt: skip
        yield server


def test_clients_that_dribble_a_head_take_no_thread_and_are_refused_in_time(small: Server) -> None:
    slow = [small.connect() for _ in range(4 * THREADS)]
    for client in slow:
        client.sendall(GET)
    assert small.get() == b"hello"
    assert int(small.get("/threads")) <= 1 + THREADS
    for client in slow:
        assert read_to_end(client).startswith(b"HTTP/1.1 408 ")
        client.close()


def test_clients_that_say_nothing_take_no_thread_and_are_let_go_without_a_word(small: Server) -> None:
    silent = [small.connect() for _ in range(4 * THREADS)]
    assert small.get() == b"hello"
    for client in silent:
        assert client.recv(1) == b""
        client.close()


def test_a_client_that_does_not_close_its_end_holds_nobody_up(patient: Server) -> None:
    lingering = [patient.connect() for _ in range(4 * THREADS)]
    for client in lingering:
        client.sendall(GET + b"Connection: close\r\n\r\n")
        assert read_to_end(client).endswith(b"hello")
    assert patient.get() == b"hello"
    for client in lingering:
        client.close()


def send_all(client: socket.socket) -> None:
    with contextlib.suppress(OSError):  # ours, once the test has seen enough
        client.sendall(b"x" * MORE_THAN_BUFFERS_TAKE)


def test_who_sends_on_and_on_is_read_no_further_and_not_cut_off(patient: Server) -> None:
    """A proxy that fails to send the rest of a body says so to its client, instead of the answer that has come."""
    with patient.connect() as client:
        client.sendall(GET + b"Content-Length: %d\r\n\r\n" % MORE_THAN_BUFFERS_TAKE)
        sending = threading.Thread(target=send_all, args=(client,))
        sending.start()
        assert read_to_end(client).endswith(b"hello")
        for _ in range(20):  # each is several turns of the loop, in which the rest could be read
            assert patient.get() == b"hello"
        assert sending.is_alive()
        client.shutdown(socket.SHUT_RDWR)
        sending.join()


def test_nor_does_it_stay_for_ever(tmp_path: Path) -> None:
    with serving(tmp_path, PICLOUD_WORKERS="1", TEST_LINGER_S="0.2") as server, server.connect() as client:
        client.sendall(GET + b"Content-Length: %d\r\n\r\n" % MORE_THAN_BUFFERS_TAKE)
        sending = threading.Thread(target=send_all, args=(client,))
        sending.start()
        assert read_to_end(client).endswith(b"hello")
        sending.join()  # cut off, then


def test_when_all_threads_are_busy_who_comes_is_refused_in_time(small: Server, gate: Gate) -> None:
    busy = [small.connect() for _ in range(THREADS)]
    for client in busy:
        client.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % gate.path.encode())
        gate.wait_for_one()
    late = [small.connect() for _ in range(2 * THREADS)]
    for client in late:
        client.sendall(GET + b"\r\n")
    for client in late:
        response, body = read_answer(client)
        assert (response.status, response.getheader("retry-after")) == (503, "1")
        assert json.loads(body)["status"] == 503
        client.close()
    gate.open()
    for client in busy:
        assert read_answer(client)[1] == b"done"
        client.close()
    assert small.get() == b"hello"


def test_when_all_threads_are_busy_for_a_moment_who_comes_is_served(patient: Server, gate: Gate) -> None:
    busy = [patient.connect() for _ in range(THREADS)]
    kept = patient.connect()
    kept.sendall(GET + b"\r\n")
    assert read_answer(kept)[1] == b"hello"
    for client in busy:
        client.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % gate.path.encode())
        gate.wait_for_one()
    late = patient.connect()
    for client in (kept, late):
        client.sendall(GET + b"\r\n")
    gate.open()
    for client in (kept, late):
        assert read_answer(client)[1] == b"hello"
    for client in (*busy, kept, late):
        client.close()


def test_more_connections_than_may_be_open_push_out_the_idle(tmp_path: Path) -> None:
    with serving(tmp_path, TEST_IDLE_CONNECTIONS="3", PICLOUD_WORKERS="1") as server:
        clients: list[socket.socket] = []
        for _ in range(40):
            clients.append(server.connect())
            clients[-1].sendall(GET + b"\r\n")
            assert read_answer(clients[-1])[1] == b"hello"
        for client in clients:
            client.close()


def test_when_files_run_out_the_worker_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path, TEST_FILES="24", PICLOUD_WORKERS="1") as server:
        worker = server.workers()
        silent = [server.connect() for _ in range(40)]
        until(lambda: "at most" in server.log.read_text())
        for client in silent:
            client.close()
        assert server.get() == b"hello"
        assert server.workers() == worker


def test_a_large_answer_reaches_a_client_that_reads_late(small: Server) -> None:
    with small.connect() as client:
        client.sendall(GET.replace(b"/ ", b"/large ") + b"\r\n")
        assert small.get() == b"hello"
        assert len(read_answer(client)[1]) == 6 << 20


def test_a_client_that_leaves_in_the_middle_is_no_failure(small: Server) -> None:
    for request in (GET, GET.replace(b"/ ", b"/large ") + b"\r\n", GET + b"Content-Length: 9\r\n\r\na"):
        with small.connect() as client:
            client.sendall(request)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
    assert small.get() == b"hello"
    assert "error" not in small.log.read_text()
