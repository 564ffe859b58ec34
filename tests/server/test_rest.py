"""At rest nothing runs: no thread of the arbiter or of a worker is given the processor, not once."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.server.harness import read_answer, serving, until

QUIET_S = 5.0  # gunicorn's own would wake up each second; tests/acceptance/test_idle.py looks at it for longer


def test_no_thread_wakes_up_for_seconds_after_traffic(tmp_path: Path) -> None:
    with serving(tmp_path, TEST_KEEPALIVE_S="2", TEST_HEAD_S="2") as server:
        with ThreadPoolExecutor(16) as clients:
            assert set(clients.map(lambda _: server.get(), range(200))) == {b"hello"}
        with server.connect() as expiring, server.connect() as silent:
            expiring.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_answer(expiring)[1] == b"hello"
            assert expiring.recv(1) == b""
            assert silent.recv(1) == b""
        settle(server.switches)
        before = server.switches()
        time.sleep(QUIET_S)
        after = server.switches()
    assert len(before) > 5  # idle threads of the pools are among them
    assert {task: count - before[task] for task, count in after.items()} == dict.fromkeys(before, 0)


def test_an_idle_connection_wakes_nobody_either(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.connect() as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(idle)[1] == b"hello"
        settle(server.switches)
        before = server.switches()
        time.sleep(3)
        assert server.switches() == before


def settle(observe: object) -> None:
    """Until two looks half a second apart are equal."""
    assert callable(observe)

    def same() -> bool:
        before = observe()
        time.sleep(0.5)
        return bool(observe() == before)

    until(same)
