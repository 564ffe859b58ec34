"""What is killed comes back, and nobody who waits is forgotten."""

import contextlib
import os
import signal
import threading
from collections.abc import Collection, Iterator
from http.client import HTTPException

import psycopg2
import pytest

from picloud.auth import new_secret
from picloud.errors import DatabaseUnavailable
from tests.fixtures_postgres import execute
from tests.processes import children
from tests.running import PATIENCE_S, Answer, Running, eventually, running

HELLO = 'return function() local n = 0 for i = 1, 100 do n = n + i end return "hello" .. n end'


@pytest.fixture(scope="module")
def sturdy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("sturdy")) as ours:
        ours.deploy("hello", HELLO)
        assert ours.api("POST", "routes", {"path": "/hi/{name}", "script": "hello"}).status == 201
        yield ours


class Load:
    """Requests from several threads until told to stop."""

    def __init__(self, ours: Running, threads: int = 8) -> None:
        self._ours = ours
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(threads)]
        self.answers: list[Answer] = []
        self.broken: list[Exception] = []

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        self.wait_for(50)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a request hangs"

    def wait_for(self, more: int) -> None:
        """Until so many more answers are there; fails if none comes for a while."""
        goal = len(self.answers) + more
        while (count := len(self.answers)) < goal:
            eventually(lambda: len(self.answers), lambda now, count=count: now > count)  # type: ignore[misc]

    def _send(self) -> None:
        while not self._stop.is_set():
            try:
                self.answers.append(self._ours.call("GET", "/fn/hello"))
            except (OSError, HTTPException) as error:  # the worker was killed before its answer, or in the middle of it
                self.broken.append(error)


def test_a_killed_worker_is_replaced(sturdy: Running) -> None:
    with Load(sturdy) as load:
        for _ in range(3):
            eventually(sturdy.has_workers, bool)
            os.kill(sturdy.workers()[0], signal.SIGKILL)
            load.wait_for(200)
    assert {answer.status for answer in load.answers} == {200}
    assert len(load.broken) < 60  # only connections that the killed workers held
    eventually(sturdy.has_workers, bool)


def test_a_killed_zygote_is_replaced_and_who_waits_is_served(sturdy: Running) -> None:
    with Load(sturdy) as load:
        for _ in range(3):
            os.kill(sturdy.zygote(), signal.SIGKILL)
            load.wait_for(200)
    lost = [answer for answer in load.answers if answer.status != 200]
    assert {answer.problem for answer in lost} <= {"executor-lost"}
    assert len(lost) <= 3 * 8  # only runs that were under way
    assert not load.broken


def test_a_killed_sandbox_costs_its_own_request_at_most(sturdy: Running) -> None:
    with Load(sturdy) as load:
        for _ in range(10):
            for pid in sturdy.named("picloud-sandbox")[:2]:
                kill_if_there(pid)
            load.wait_for(20)
    lost = [answer for answer in load.answers if answer.status != 200]
    assert {answer.problem for answer in lost} <= {"sandbox-crash"}
    assert len(lost) <= 20
    assert not load.broken


def test_a_killed_executor_is_started_again(sturdy: Running) -> None:
    killed = sturdy.part("picloud.executor")
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: sturdy.parts("picloud.executor"), lambda pids: pids not in ([], [killed]))
    eventually(lambda: sturdy.call("GET", "/fn/hello").status, lambda status: status == 200)


def test_a_killed_server_is_started_again(sturdy: Running) -> None:
    sturdy.kill_server()
    assert sturdy.call("GET", "/fn/hello").status == 200


@contextlib.contextmanager
def database_away(ours: Running) -> Iterator[None]:
    """Its processes but the first are killed, and that one is stopped: it neither answers nor refuses."""
    postmaster = ours.part("postgres")
    os.kill(postmaster, signal.SIGSTOP)
    try:
        for pid in children(postmaster):
            kill_if_there(pid)
        yield
    finally:
        os.kill(postmaster, signal.SIGCONT)
        eventually(lambda: ours.call("GET", "/readyz").status, lambda status: status == 200)


def listening(ours: Running) -> set[object]:
    """Pids of the backends by which workers and the dispatcher hear of changes; none while the database is away."""
    with contextlib.suppress(DatabaseUnavailable, psycopg2.Error):
        rows = execute(ours.database_url, "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%changes%'")
        return {row[0] for row in rows}
    return set()


def await_listeners(ours: Running, dead: Collection[object] = ()) -> None:
    """Until all of them hear of changes (again): when one begins to, it forgets what it had kept."""
    eventually(lambda: listening(ours), lambda pids: len(pids) == 3 and not pids & {*dead})


def test_while_the_database_is_away_known_tokens_work_and_others_are_not_called_wrong(sturdy: Running) -> None:
    await_listeners(sturdy)
    for _ in sturdy.by_each_worker():  # which then knows token and routes
        assert sturdy.api("POST", "scripts/hello/invoke", b"").status == 200
        assert sturdy.call("GET", "/").status == 200
    unknown = {"authorization": f"Bearer {new_secret()}"}
    form = {"content-type": "application/x-www-form-urlencoded"}
    with database_away(sturdy):
        assert sturdy.api("POST", "scripts/hello/invoke", b"").status == 200
        answer = sturdy.call("POST", "/api/v1/scripts/hello/invoke", b"", unknown)
        assert (answer.status, answer.problem) == (503, "database-unavailable")
        impossible = sturdy.call("POST", "/api/v1/scripts/hello/invoke", b"", {"authorization": "Bearer pc_short"})
        assert impossible.problem == "unauthorized"
        signed_in = sturdy.call("POST", "/", f"token={sturdy.token}".encode(), form)
        assert signed_in.status == 303
        cookie = (signed_in.header("set-cookie") or "").partition(";")[0]
        page = sturdy.call("GET", "/", headers={"cookie": cookie})
        assert (page.status, page.header("retry-after")) == (503, "1")
        assert b"The database is away" in page.body
        assert sturdy.call("GET", "/").status == 200


def test_while_the_database_is_away_cached_scripts_answer_and_all_recovers(sturdy: Running) -> None:
    await_listeners(sturdy)
    for _ in sturdy.by_each_worker():  # which then keeps both
        for path in ("/fn/hello", "/hi/you"):
            assert sturdy.call("GET", path).status == 200
    with database_away(sturdy):
        answer = sturdy.call("GET", "/fn/hello")
        assert answer.body == sturdy.call("GET", "/hi/you").body == b"hello5050"
        assert sturdy.call("GET", "/nobody/here").problem == "not-found"
        refused = sturdy.api("GET", "scripts")
        assert (refused.status, refused.problem) == (503, "database-unavailable")
        ready = sturdy.call("GET", "/readyz")
        assert ready.status == 503
        assert ready.json["checks"]["executor"] == "ok"
        assert ready.json["checks"]["database"] != "ok"
        assert "host=" not in ready.json["checks"]["database"]
        assert "postgresql:" not in ready.json["checks"]["database"]
    assert sturdy.record_of(answer)["outcome"] == "ok"  # accepted while the database was away
    sturdy.deploy("hello", HELLO + " -- new")
    assert sturdy.call("GET", "/fn/hello").status == 200


def test_a_killed_idle_connection_of_the_database_is_not_noticed(sturdy: Running) -> None:
    for _ in range(5):
        postgres = children(sturdy.part("postgres"))
        backends = [pid for pid, command in postgres.items() if "postgres: picloud picloud" in command]
        for pid in backends:
            kill_if_there(pid)
        await_listeners(sturdy, backends)  # the server has begun anew, as it does when a backend is killed
        eventually(lambda: sturdy.call("GET", "/readyz").status, lambda status: status == 200)
        assert sturdy.api("GET", "scripts").status == 200


def test_an_upload_is_live_on_every_worker_with_its_answer(sturdy: Running) -> None:
    for number in range(20):
        sturdy.deploy("live", f"return 'version {number}'")
        assert {answer.body for answer in sturdy.at_once(6, "GET", "/fn/live")} == {b"version %d" % number}


def test_thousands_of_requests_at_sixteen_connections_without_an_error(sturdy: Running) -> None:
    with Load(sturdy, 16) as load:
        load.wait_for(3000)
    assert not load.broken
    assert {answer.status for answer in load.answers} == {200}


def kill_if_there(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
