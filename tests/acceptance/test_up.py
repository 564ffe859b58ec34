"""`picloud up`: from nothing to an answer, and back to nothing but the data."""

import contextlib
import os
import select
import signal
import socket
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.processes import command_line
from tests.running import ROOT, Running, eventually, running, running_from_nothing

HELLO = ROOT / "config" / "examples" / "hello.lua"


def test_the_first_start_deploys_calls_and_explains(fresh_data: Path) -> None:
    with running_from_nothing(fresh_data, "--example", str(HELLO)) as ours:
        assert "hello world" in ours.greeting
        assert f"curl {ours.url}/fn/hello" in ours.greeting
        assert str(fresh_data / "admin.token") in ours.greeting
        assert ours.token not in ours.greeting
        assert ours.call("GET", "/fn/hello?name=you").body == b"hello you\n"
        assert stat.S_IMODE((fresh_data / "admin.token").stat().st_mode) == 0o600


def test_data_and_token_are_there_at_the_next_start(fresh_data: Path) -> None:
    with running(fresh_data) as ours:
        ours.deploy("kept", 'return "kept"')
        answer = ours.call("GET", "/fn/kept")
        token = ours.token
    with running(fresh_data) as ours:
        assert ours.token == token
        assert ours.call("GET", "/fn/kept").body == b"kept"
        assert ours.record_of(answer)["outcome"] == "ok"  # flushed at stop
        assert ours.api("GET", "scripts/kept").json["active_version"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything_and_leaves_nothing_behind(fresh_data: Path, number: int) -> None:
    with running(fresh_data) as ours:
        processes = ours.processes()
        assert len(processes) > 8
        assert ours.stop(number) == 0
        assert [pid for pid in processes if command_line(pid)] == []
        assert not (fresh_data / "run").exists()
        assert [path for path in fresh_data.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)] == []


def test_a_request_in_flight_is_answered_before_the_end(fresh_data: Path) -> None:
    source = "return function() local t = os.clock() while os.clock() - t < 0.5 do end return 'done' end"
    with running(fresh_data) as ours:
        ours.deploy("slow", source)
        connection = socket.create_connection(("127.0.0.1", ours.port))
        connection.sendall(b"GET /fn/slow HTTP/1.1\r\nHost: h\r\n\r\n")
        eventually(ours.computing, bool)
        assert ours.stop() == 0
        with connection:
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.endswith(b"\r\n\r\ndone")
    with running(fresh_data) as ours:
        assert ours.api("GET", "invocations?script=slow").json["items"][0]["outcome"] == "ok"


def test_a_request_that_takes_too_long_is_told_so_and_recorded_before_the_end(fresh_data: Path) -> None:
    with running(fresh_data) as ours:
        ours.deploy("spin", "return function() while true do end end")
        with ThreadPoolExecutor() as callers:
            calls = [callers.submit(ours.call, "GET", "/fn/spin") for _ in range(4)]
            eventually(ours.computing, lambda sandboxes: len(sandboxes) == 4)
            assert ours.stop() == 0
            answers = [call.result() for call in calls]
    assert [(answer.status, answer.problem) for answer in answers] == [(503, "executor-lost")] * 4
    assert {answer.json["detail"] for answer in answers} == {"the server was stopped while the script ran"}
    with running(fresh_data) as ours:
        items = ours.api("GET", "invocations?script=spin").json["items"]
        assert {item["id"] for item in items} == {answer.header("picloud-invocation") for answer in answers}


def test_a_second_start_on_the_same_data_says_so(fresh_data: Path) -> None:
    with running(fresh_data) as ours:
        second = ours.cli("up", PICLOUD_BIND="127.0.0.1:1")
        assert second.returncode == 1
        assert b"already runs on" in second.stderr
        assert b"Traceback" not in second.stderr
        assert ours.call("GET", "/healthz").status == 200


def test_a_port_that_is_taken_is_named(fresh_data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ours = Running(fresh_data, {"PICLOUD_BIND": f"127.0.0.1:{taken.getsockname()[1]}"})
        done = ours.cli("up")
    assert done.returncode == 1
    assert str(taken_port(ours)).encode() in done.stderr
    assert b"Traceback" not in done.stderr
    assert not (fresh_data / "run").exists()


@pytest.mark.parametrize("environment", [{"PICLOUD_WORKERS": "x"}, {"PICLOUD_THREDS": "1"}])
def test_a_setting_that_is_wrong_is_named_with_exit_2(fresh_data: Path, environment: dict[str, str]) -> None:
    done = Running(fresh_data, environment).cli("up")
    assert done.returncode == 2
    assert next(iter(environment)).encode() in done.stderr
    assert not fresh_data.exists()


def test_a_killed_start_takes_all_with_it_and_the_next_one_works(fresh_data: Path) -> None:
    with running(fresh_data) as ours:
        ours.deploy("kept", 'return "kept"')
        assert ours.process
        watched = [os.pidfd_open(pid) for pid in ours.processes()]
        ours.stop(signal.SIGKILL)
        for process in watched:
            await_end(process)
        ours.start()
        assert ours.call("GET", "/fn/kept").body == b"kept"


@pytest.mark.root  # other users can be taken by root only
def test_as_root_the_database_and_the_sandboxes_have_other_users(picloud: Running) -> None:
    users = owners(pid for pid, command in picloud.processes().items() if "postgres" in command)
    assert users
    assert 0 not in users
    sandboxes = owners([picloud.zygote(), *picloud.named("picloud-sandbox")])
    assert sandboxes
    assert 0 not in sandboxes
    assert not users & sandboxes


def owners(pids: Iterable[int]) -> set[int]:
    """Whose these processes are, but for those that have ended meanwhile."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            found.add(Path(f"/proc/{pid}").stat().st_uid)
    return found


def taken_port(ours: Running) -> str:
    return ours.environment["PICLOUD_BIND"].rpartition(":")[2]


def await_end(pidfd: int) -> None:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    assert poller.poll(60_000), "a process outlived the one that started it"
    os.close(pidfd)


def test_two_nodes_of_one_name_on_one_database_have_an_admin_token_each(tmp_path: Path) -> None:
    with (
        running(tmp_path / "first") as first,
        running(tmp_path / "second", PICLOUD_DATABASE_URL=first.database_url) as second,
    ):
        for node in (first, second):
            assert node.api("GET", "tokens").status == 200
        assert len(first.api("GET", "tokens").json["items"]) == 2
