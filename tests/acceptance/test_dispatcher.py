"""The dispatcher beside the others: started with them, started again, never a reason for another to end."""

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue

import pytest

from picloud.storage.jobs import NEWS
from picloud.storage.listener import Listener
from tests.fixtures_postgres import execute
from tests.running import PATIENCE_S, Running, eventually, running
from tests.sending import await_jobs, job, send_jobs, states

DISPATCHER = "picloud.dispatcher"
SPIN = "return function() while true do end end"
BRIEF = "return function() local t = os.clock() while os.clock() - t < 0.1 do end end"
QUICK_ENDS = 3
LIMITS = {"limits": {"wall_ms": 300_000, "cpu_ms": 300_000}}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("dispatcher") / "data", PICLOUD_JOBS_CONCURRENCY="1") as it:
        it.deploy("hello", "return 'hello'")
        it.deploy("spin", SPIN)
        it.set("spin", LIMITS)
        yield it


@pytest.fixture(autouse=True)
def no_jobs(request: pytest.FixtureRequest) -> Iterator[None]:
    """None are left for the next test."""
    yield
    if "ours" in request.fixturenames:
        it: Running = request.getfixturevalue("ours")
        await_jobs(it.database_url, done=states(it.database_url)["done"])
        execute(it.database_url, "DELETE FROM jobs")


def kill(ours: Running) -> int:
    """End the dispatcher by force → the pid that it had."""
    pid = eventually(lambda: ours.parts(DISPATCHER), bool)[0]
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return pid


def await_another(ours: Running, killed: int) -> None:
    eventually(lambda: ours.parts(DISPATCHER), lambda pids: pids not in ([], [killed]))


def others(ours: Running) -> dict[str, list[int]]:
    """The parts that are not to be touched, with the workers."""
    return {name: ours.parts(name) for name in ("picloud.server", "picloud.executor", "postgres")} | {
        "workers": ours.workers()
    }


def test_a_job_is_run_and_has_a_record(ours: Running) -> None:
    send_jobs(ours.database_url, job("hello"))
    await_jobs(ours.database_url, done=1)
    ((identifier,),) = execute(ours.database_url, "SELECT invocation::text FROM jobs")
    record = ours.api("GET", f"invocations/{identifier}").json
    assert (record["script"], record["trigger"], record["outcome"], record["status"]) == ("hello", "job", "ok", 200)


def test_what_is_deployed_is_what_the_next_job_runs(ours: Running) -> None:
    for number in range(5):
        ours.deploy("live", f"return 'version {number}'")
        send_jobs(ours.database_url, job("live"))
        await_jobs(ours.database_url, done=number + 1)
    bodies = execute(ours.database_url, "SELECT convert_from(body, 'UTF8') FROM jobs ORDER BY ended_at")
    assert [body for (body,) in bodies] == [f"version {number}" for number in range(5)]


def test_no_more_run_at_once_than_the_setting_says(ours: Running) -> None:
    ours.deploy("brief", BRIEF)
    send_jobs(ours.database_url, *(job("brief") for _ in range(5)))
    await_jobs(ours.database_url, done=5)
    ids = {str(identifier) for (identifier,) in execute(ours.database_url, "SELECT invocation::text FROM jobs")}

    def records() -> list[tuple[float, float]]:
        found = execute(
            ours.database_url,
            "SELECT extract(epoch FROM started_at)::float8, run_ms FROM invocations WHERE id::text = ANY(%s)"
            " ORDER BY started_at",
            list(ids),
        )
        return [(float(str(started)), float(str(run_ms))) for started, run_ms in found]

    ran = eventually(records, lambda rows: len(rows) == 5)
    for (started, run_ms), (next_started, _) in pairwise(ran):
        assert next_started >= started + run_ms / 1000


def test_a_killed_dispatcher_is_started_again_and_what_it_ran_runs_again(ours: Running) -> None:
    before = others(ours)
    send_jobs(ours.database_url, job("spin"))
    eventually(ours.computing, bool)
    ours.deploy("spin", "return 'it ends now'")
    send_jobs(ours.database_url, job("hello"))  # there is one place, and it is taken
    await_another(ours, kill(ours))
    await_jobs(ours.database_url, done=2)
    crashes = execute(ours.database_url, "SELECT script, attempts, crashes FROM jobs ORDER BY script")
    assert crashes == [("hello", 0, 0), ("spin", 0, 1)]
    ours.deploy("spin", SPIN)
    assert others(ours) == before


def test_one_that_hangs_up_reads_its_configuration_again_and_goes_on(ours: Running) -> None:
    pid = ours.part(DISPATCHER)
    os.kill(pid, signal.SIGHUP)
    send_jobs(ours.database_url, job("hello"))
    await_jobs(ours.database_url, done=1)
    assert ours.part(DISPATCHER) == pid


def test_while_the_database_is_away_it_waits(ours: Running) -> None:
    pid = ours.part(DISPATCHER)
    postmaster = ours.part("postgres")
    os.kill(postmaster, signal.SIGKILL)
    await_database(ours, postmaster)
    send_jobs(ours.database_url, job("hello"))
    await_jobs(ours.database_url, done=1)
    assert ours.part(DISPATCHER) == pid


def test_a_worker_rings_when_it_starts(ours: Running) -> None:
    heard: SimpleQueue[str] = SimpleQueue()
    listener = Listener(
        ours.database_url, NEWS, on_message=lambda _: heard.put("ring"), on_listening=lambda: heard.put("listening")
    )
    listener.start()
    try:
        assert heard.get(timeout=PATIENCE_S) == "listening"
        os.kill(ours.workers()[0], signal.SIGKILL)
        assert heard.get(timeout=PATIENCE_S) == "ring"
    finally:
        listener.stop()
    eventually(ours.has_workers, bool)


def test_one_that_dies_again_and_again_is_started_for_ever_and_ends_nobody(tmp_path: Path) -> None:
    with open(tmp_path / "stderr", "w+b") as stderr, running_to(stderr.fileno(), tmp_path / "data") as ours:
        ours.deploy("hello", "return 'hello'")
        before = others(ours)
        said = 0
        while b"starting it again in 5 s" not in written(stderr.name):  # on a busy machine some ends are not quick
            await_another(ours, kill(ours))
            said += 1
            assert said < 100
        assert said >= QUICK_ENDS
        send_jobs(ours.database_url, job("hello"))
        await_another(ours, kill(ours))  # in its pause
        await_jobs(ours.database_url, done=1)
        assert others(ours) == before
        assert ours.call("GET", "/fn/hello").body == b"hello"


def test_one_that_cannot_start_is_tried_again_and_all_else_is_up(tmp_path: Path) -> None:
    with open(tmp_path / "stderr", "w+b") as stderr:
        config = tmp_path / "picloud.toml"
        config.write_text("[server]\njobs_concurrency = 2\n")
        with running_to(stderr.fileno(), tmp_path / "data", PICLOUD_CONFIG=str(config)) as ours:
            ours.deploy("hello", "return 'hello'")
            config.write_text("[server]\njobs_concurrency = none\n")  # only the dispatcher reads it again
            pid = kill(ours)
            eventually(lambda: written(stderr.name).count(b"exit status 2"), lambda count: count >= QUICK_ENDS)
            assert pid not in ours.parts(DISPATCHER)
            assert ours.call("GET", "/fn/hello").body == b"hello"
            config.write_text("[server]\njobs_concurrency = 2\n")
            send_jobs(ours.database_url, job("hello"))
            await_jobs(ours.database_url, done=1)


def test_it_alone_is_told_of_the_configurations_file(tmp_path: Path) -> None:
    config = tmp_path / "picloud.toml"
    config.write_text("[server]\nworkers = 1\n")
    with running(tmp_path / "data", PICLOUD_CONFIG=str(config)) as ours:
        told = {name: b"PICLOUD_CONFIG=" in environment(ours.part(name)) for name in (DISPATCHER, "picloud.server")}
    assert told == {DISPATCHER: True, "picloud.server": False}


def test_what_runs_at_the_stop_ends_or_is_put_back_and_is_no_crash(tmp_path: Path) -> None:
    def crashes(data: Path) -> object:
        with running(data) as ours:
            ours.deploy("brief", BRIEF)
            ours.deploy("spin", SPIN)
            ours.set("spin", LIMITS)
            send_jobs(ours.database_url, job("spin"), job("brief"), job("spin"))
            eventually(ours.computing, lambda pids: len(pids) >= 2)
            ours.deploy("spin", "return 'it ends now'")  # the next time
            assert ours.stop() == 0
        with running(data) as ours:
            await_jobs(ours.database_url, done=3)
            ((attempts, crashes),) = execute(
                ours.database_url, "SELECT sum(attempts)::int, sum(crashes)::int FROM jobs"
            )
        assert attempts == 0
        return crashes

    # On a busy machine it may not come to its end in time, and is killed.
    assert any(crashes(tmp_path / str(number)) == 0 for number in range(3))


def test_at_the_stop_the_server_does_not_wait_for_jobs(tmp_path: Path) -> None:
    def server_ends_first(data: Path) -> bool:
        with running(data) as ours:
            ours.deploy("spin", SPIN)
            send_jobs(ours.database_url, job("spin"))
            eventually(ours.computing, bool)
            server, dispatcher = (os.pidfd_open(ours.part(name)) for name in ("picloud.server", DISPATCHER))
            try:
                assert ours.process
                ours.process.send_signal(signal.SIGTERM)
                assert select.select([server], [], [], PATIENCE_S)[0]
                return not select.select([dispatcher], [], [], 0)[0]
            finally:
                os.close(server)
                os.close(dispatcher)

    # A job has 2.5 s to end, the server nothing to do: on a busy machine that may take as long.
    assert any(server_ends_first(tmp_path / str(number)) for number in range(3))


@contextlib.contextmanager
def running_to(stderr: int, data: Path, **environment: str) -> Iterator[Running]:
    """A PiCloud whose stderr goes elsewhere."""
    data.mkdir()
    ours = Running(data, environment)
    ours.stderr = stderr
    ours.start()
    try:
        yield ours
    finally:
        assert ours.stop() == 0


def await_database(ours: Running, killed: int) -> None:
    eventually(lambda: ours.parts("postgres"), lambda pids: pids not in ([], [killed]))
    eventually(lambda: ours.call("GET", "/readyz").status, lambda status: status == 200)


def written(path: str) -> bytes:
    return Path(path).read_bytes()


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()
