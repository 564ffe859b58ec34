"""How it is started: by systemd, on a unix socket, on an address that is taken, with a wrong setting."""

import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT
from tests.server.harness import Server, read_to_end, serving

GET = b"GET /environ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def test_it_says_when_it_is_ready_and_when_it_stops(own_server: Server) -> None:
    assert own_server.notifications[0].startswith("READY=1")
    own_server.stop()
    assert own_server.notifications[1:] == ["STOPPING=1"]


def start_on(server: Server, listener: socket.socket) -> None:
    """Pass a socket on, as systemd does."""
    script = "import os, sys; os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()));"
    script += f"os.dup2({listener.fileno()}, 3); os.execl(sys.executable, sys.executable, '-m', 'tests.server.app')"
    server.start(sys.executable, "-c", script, descriptors=(listener.fileno(),))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_a_socket_that_was_passed_on_is_served_instead_of_the_address_and_outlives_the_server(
    tmp_path: Path, family: socket.AddressFamily
) -> None:
    with socket.socket(family) as listener:
        listener.bind(str(tmp_path / "web") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        listener.listen()
        server = Server(tmp_path)
        start_on(server, listener)
        for _ in range(2):
            with socket.socket(family) as client:
                client.connect(listener.getsockname())
                client.sendall(GET)
                assert b" 200 OK" in read_to_end(client)
        assert server.stop() == 0
        with socket.socket(family) as client:
            client.connect(listener.getsockname())


def test_who_waited_in_line_for_a_server_is_let_in_sixteen_at_a_time(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))

        def ask(path: str) -> socket.socket:
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return client

        waiting = [ask("/crowd") for _ in range(100)]
        server = Server(tmp_path, PICLOUD_WORKERS="1", PICLOUD_THREADS="64", TEST_IN_TURN_S="600")
        start_on(server, listener)
        inside = [int(read_to_end(client).rpartition(b"\r\n")[2]) for client in waiting]
        assert len(inside) == 100
        assert max(inside) <= 16
        meeting = [ask("/meet?40") for _ in range(40)]  # when nobody waits any more, all threads serve
        assert all(read_to_end(client).endswith(b"met") for client in meeting)
        assert server.stop() == 0


def test_a_unix_socket_is_for_its_group_only_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "web"
    with serving(tmp_path, f"unix:{path}") as server:
        environ = json.loads(server.raw(GET).split(b"\r\n\r\n", 1)[1])
        assert environ["REMOTE_ADDR"] == ""
        assert not stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO
        with socket.socket(socket.AF_UNIX) as named:
            named.bind(str(tmp_path / "peer"))
            named.connect(str(path))
            named.sendall(GET)
            assert json.loads(read_to_end(named).split(b"\r\n\r\n", 1)[1])["REMOTE_ADDR"] == ""
        server.stop()
        assert not path.exists()


def test_an_address_that_is_taken_is_named_at_once(own_server: Server, tmp_path: Path) -> None:
    assert f"PICLOUD_BIND={own_server.bind}: Address already in use" in refused(own_server.bind)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "web"))
        listener.listen()
        assert "another process listens there" in refused(f"unix:{tmp_path}/web")
    (tmp_path / "file").touch()
    assert "no socket" in refused(f"unix:{tmp_path}/file")
    assert "folder does not exist" in refused(f"unix:{tmp_path}/nowhere/web")
    assert "too long" in refused(f"unix:{tmp_path}/{'a' * 120}")
    assert "PICLOUD_BIND=no-such-host.invalid:80" in refused("no-such-host.invalid:80")


def test_a_socket_that_a_killed_server_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "web"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with serving(tmp_path, f"unix:{path}") as server:
        assert b" 200 OK" in server.raw(GET)


@pytest.mark.parametrize("module", ["picloud.server", "picloud.server.manager", "picloud.server.orchestrator"])
def test_each_service_names_a_wrong_setting_with_exit_2(module: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", module],
        env={"PYTHONPATH": str(ROOT), "PICLOUD_DATA": str(tmp_path), "PICLOUD_BINT": "127.0.0.1:1"},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (2, "error: PICLOUD_BINT is not a setting; did you mean PICLOUD_BIND?\n")


def refused(bind: str) -> str:
    """What a server that cannot listen there says."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.server.app"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PICLOUD_BIND": bind, "TEST_JOURNAL": "/dev/null"},
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    return run.stderr
