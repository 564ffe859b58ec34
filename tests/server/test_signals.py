"""Starting, replacing and stopping workers. Limits are the stated ones; conditions are awaited."""

import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.server.harness import Gate, Server, children_gone, read_answer, serving, until, within

REQUEST = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
STOP_S = 4.0  # `picloud up` waits that long


def test_a_killed_worker_is_replaced_within_a_second_again_and_again(own_server: Server) -> None:
    times: list[float] = []
    for _ in range(20):
        before = own_server.workers()
        os.kill(min(before), signal.SIGKILL)
        times.append(until(lambda before=before: len(own_server.workers() - before) == 1))  # type: ignore[misc]
        assert own_server.get() == b"hello"
    assert sorted(times)[10] < 1  # who polls needs as long; some may take longer on a busy machine
    assert len(own_server.workers()) == 2
    assert "SIGKILL" in own_server.log.read_text()


def test_two_workers_killed_at_once_are_both_replaced(own_server: Server) -> None:
    before = own_server.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(own_server.workers() - before) == 2)
    assert own_server.get() == b"hello"


def test_a_hang_up_replaces_the_workers_and_finishes_what_they_do(own_server: Server, gate: Gate) -> None:
    before = own_server.workers()
    with own_server.connect() as client:
        client.sendall(REQUEST % gate.path.encode())
        busy = gate.wait_for_one()
        own_server.process.send_signal(signal.SIGHUP)
        until(lambda: len(own_server.workers() - before) == 2 and own_server.workers() & before == {busy})
        until(lambda: int(own_server.get("/pid")) not in before)
        os.kill(min(own_server.workers() - {busy}), signal.SIGKILL)  # who leaves does not keep others from coming
        until(lambda: len(own_server.workers() - before) == 2)
        gate.open()
        response, body = read_answer(client)
    assert (body, response.getheader("connection")) == (b"done", "close")
    until(lambda: children_gone(before))
    assert sorted(own_server.journal("stop")) == sorted(before)


def test_hang_ups_in_a_row_lose_no_request(own_server: Server) -> None:
    failures: list[object] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                assert own_server.get() == b"hello"
            except Exception as error:  # noqa: BLE001 - counted
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        before = own_server.workers()
        own_server.process.send_signal(signal.SIGHUP)
        until(lambda before=before: children_gone(before))  # type: ignore[misc]
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(own_server.workers()) == 2


def test_a_hang_up_has_the_configuration_read_again(tmp_path: Path) -> None:
    config = tmp_path / "picloud.toml"
    config.write_text("[server]\nworkers = 2\n")
    with serving(tmp_path, PICLOUD_CONFIG=str(config)) as server:
        config.write_text("[server]\nworkers = 3\nbind = '127.0.0.1:1'\n")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: len(server.workers()) == 3)
        assert server.get() == b"hello"  # where it was
        config.write_text("[server]\nworker = 3\n")
        before = server.workers()
        server.process.send_signal(signal.SIGHUP)
        until(lambda: len(server.workers() - before) == 3 and children_gone(before))
        assert server.get() == b"hello"
    assert "worker is not a setting; did you mean" in server.log.read_text()


def test_a_service_that_cannot_be_made_again_stays(tmp_path: Path) -> None:
    refused = tmp_path / "refused"
    with serving(tmp_path, TEST_CANNOT_MAKE=str(refused)) as server:
        refused.touch()
        before = server.workers()
        server.process.send_signal(signal.SIGHUP)
        until(lambda: len(server.workers() - before) == 2 and children_gone(before))
        assert server.get() == b"hello"
    assert "that of before goes on" in server.log.read_text()


def test_one_worker_more_and_one_fewer(own_server: Server) -> None:
    own_server.process.send_signal(signal.SIGTTIN)
    until(lambda: len(own_server.workers()) == 3)
    own_server.process.send_signal(signal.SIGTTOU)
    until(lambda: len(own_server.workers()) == 2)
    until(lambda: len(own_server.journal("stop")) == 1)


def test_among_many_signals_none_is_lost(own_server: Server) -> None:
    for workers in range(3, 13):
        for number in (signal.SIGUSR1, signal.SIGWINCH, signal.SIGTTIN, signal.SIGUSR2):
            own_server.process.send_signal(number)
        until(lambda workers=workers: len(own_server.workers()) == workers)  # type: ignore[misc]
    assert own_server.get() == b"hello"


def test_a_request_to_stop_finishes_what_is_under_way_and_flushes_once_a_worker(own_server: Server, gate: Gate) -> None:
    workers = own_server.workers()
    with own_server.connect() as client, own_server.connect() as idle:
        idle.sendall(REQUEST % b"/hello")
        assert read_answer(idle)[1] == b"hello"
        client.sendall(REQUEST % gate.path.encode())
        gate.wait_for_one()
        own_server.process.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b""
        until(lambda: sorted(own_server.journal("begin_stop")) == sorted(workers))  # while a request is under way
        gate.open()
        assert read_answer(client)[1] == b"done"
        assert own_server.wait() == 0
    assert sorted(own_server.journal("stop")) == sorted(workers)


def test_a_request_that_does_not_end_is_given_up_in_time_and_the_rest_is_still_flushed(
    tmp_path: Path, gate: Gate
) -> None:
    def attempt() -> float:
        return time_to_stop(tmp_path, gate, signal.SIGTERM)

    assert within(STOP_S, attempt)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_an_urgent_request_to_stop_waits_for_nothing_but_the_flush(tmp_path: Path, gate: Gate, number: int) -> None:
    assert within(STOP_S / 2, lambda: time_to_stop(tmp_path, gate, number))


def time_to_stop(folder: Path, gate: Gate, number: int) -> float:
    """How long a server needs while a request is under way that does not end; its workers flush all the same."""
    with tempfile.TemporaryDirectory(dir=folder) as own, serving(Path(own)) as server, server.connect() as client:
        workers = server.workers()
        client.sendall(REQUEST % gate.path.encode())
        gate.wait_for_one()
        started = time.monotonic()
        assert server.stop(number) == 0
        took_s = time.monotonic() - started
        assert sorted(server.journal("stop")) == sorted(workers)
        return took_s


def test_an_interrupt_from_the_terminal_reaches_all_at_once_and_stops_all(own_server: Server) -> None:
    workers = own_server.workers()
    os.killpg(own_server.process.pid, signal.SIGINT)
    assert own_server.wait() == 0
    assert sorted(own_server.journal("stop")) == sorted(workers)


def test_when_the_arbiter_is_killed_its_workers_finish_and_leave(own_server: Server, gate: Gate) -> None:
    workers = own_server.workers()
    with own_server.connect() as client:
        client.sendall(REQUEST % gate.path.encode())
        gate.wait_for_one()
        own_server.process.kill()
        own_server.wait()
        gate.open()
        assert read_answer(client)[1] == b"done"
    until(lambda: children_gone(workers))
    assert sorted(own_server.journal("stop")) == sorted(workers)
    with pytest.raises(ConnectionRefusedError):
        own_server.connect()


def test_a_worker_that_is_told_to_go_is_replaced(own_server: Server) -> None:
    before = own_server.workers()
    os.kill(min(before), signal.SIGTERM)
    until(lambda: own_server.journal("stop") == [min(before)])
    until(lambda: len(own_server.workers() - before) == 1)


@pytest.mark.parametrize("delay_s", [0.0, 0.005, 0.01, 0.02, 0.04, 0.08])
def test_a_request_to_stop_while_workers_are_starting_reaches_each_of_them(tmp_path: Path, delay_s: float) -> None:
    def attempt() -> float:
        with tempfile.TemporaryDirectory(dir=tmp_path) as own:
            server = Server(Path(own), PICLOUD_WORKERS="4")
            server.start(await_workers=False)
            time.sleep(delay_s)
            started = time.monotonic()
            assert server.stop() == 0
            took_s = time.monotonic() - started
            assert sorted(server.journal("stop")) == sorted(server.journal("start"))
            return took_s

    assert within(STOP_S / 2, attempt)  # who had not heard would have to be killed


def test_a_service_that_cannot_start_ends_the_server(tmp_path: Path) -> None:
    server = Server(tmp_path, TEST_FAIL_START="yes")
    server.start(await_workers=False)
    assert server.wait() == 3
    assert "cannot start" in server.log.read_text()
