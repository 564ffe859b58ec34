"""/metrics of a whole node: every worker and the dispatcher, whoever answers and whoever is killed."""

import contextlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from picloud.auth import Scope
from picloud.metrics.series import TABLE
from picloud.orchestrator.flood import FEW
from tests.acceptance.test_resilience import database_away, listening
from tests.processes import stopped
from tests.running import Running, eventually, running
from tests.samples import Samples, samples_of
from tests.sending import await_jobs, job, send_jobs
from tests.split import split

REQUESTS, DURATIONS = "picloud_requests_total", "picloud_request_duration_seconds_count"
SANDBOXES = "picloud_sandboxes"
HELLO = 'return "hello"'


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("metrics") / "data", PICLOUD_WORKERS="3") as it:
        yield it


def metrics(ours: Running) -> Samples:
    answer = ours.call("GET", "/metrics", headers={"authorization": f"Bearer {ours.token}"})
    assert answer.status == 200, answer
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    return samples_of(answer.body)


def await_count(ours: Running, count: float, name: str = REQUESTS, **labels: str) -> Samples:
    """Who answers a request may have counted it a moment later; beyond that it never goes."""
    found = eventually(lambda: metrics(ours), lambda it: it.sum(name, **labels) >= count)
    assert found.sum(name, **labels) == count
    return found


def on_one_connection(ours: Running, path: str, count: int) -> None:
    with contextlib.closing(HTTPConnection("127.0.0.1", ours.port, timeout=60)) as connection:
        for _ in range(count):
            connection.request("GET", path)
            assert connection.getresponse().read()


def test_requests_that_each_worker_answers_sum_up_exactly(ours: Running) -> None:
    ours.deploy("counted", HELLO)
    ours.deploy("broken", 'error("broken")')
    sent = 0
    for _ in ours.by_each_worker():
        on_one_connection(ours, "/fn/counted", 7)
        on_one_connection(ours, "/fn/broken", 2)
        sent += 7
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: on_one_connection(ours, "/fn/counted", 5), range(8)))
    sent += 40
    await_count(ours, 6, script="broken", outcome="script-error")
    found = await_count(ours, sent, script="counted")
    assert found.of(REQUESTS, script="counted") == {("ok", "http"): sent}
    for name in (DURATIONS, "picloud_sandbox_memory_bytes_count"):
        assert found.of(name, script="counted") == {(): sent}
    assert found.sum("picloud_sandbox_cpu_seconds_total", script="counted") > 0
    assert found.sum("picloud_queue_seconds_count") == found.sum(DURATIONS)


def test_every_worker_gives_the_same_account(ours: Running) -> None:
    ours.deploy("same", HELLO)
    on_one_connection(ours, "/fn/same", 5)
    await_count(ours, 5, script="same")
    accounts = [metrics(ours).of(REQUESTS) for _ in ours.by_each_worker()]
    assert accounts == [accounts[0]] * 3


def test_what_a_killed_worker_has_counted_stays(ours: Running) -> None:
    ours.deploy("kept", HELLO)
    for _ in ours.by_each_worker():
        on_one_connection(ours, "/fn/kept", 4)
    before = await_count(ours, 12, script="kept")
    for pid in ours.workers()[:2]:
        os.kill(pid, signal.SIGKILL)
        eventually(ours.workers, lambda pids, pid=pid: pid not in pids and len(pids) == 3)  # type: ignore[misc]
    after = eventually(lambda: metrics(ours), lambda it: it.of("picloud_processes") == before.of("picloud_processes"))
    for name in (REQUESTS, DURATIONS, "picloud_request_duration_seconds_sum"):
        assert after.of(name) == before.of(name)
    on_one_connection(ours, "/fn/kept", 1)
    await_count(ours, 13, script="kept")


def test_jobs_are_counted_by_the_dispatcher_that_ran_them_also_after_its_end(ours: Running) -> None:
    ours.deploy("worker", 'kv.incr("runs") return "done"')
    send_jobs(ours.database_url, *[job("worker") for _ in range(5)], job("worker", delay_ms=60 * 60 * 1000))
    await_jobs(ours.database_url, done=5, queued=1)
    found = await_count(ours, 5, script="worker", trigger="job", outcome="ok")
    assert found.of("picloud_jobs") == {("queued",): 1, ("running",): 0, ("dead",): 0}
    assert found.of("picloud_oldest_due_job_seconds") == {(): 0}
    assert found.sum("picloud_host_calls_total", call="kv.incr") == 5
    assert found.of("picloud_processes") == {("dispatcher",): 1, ("worker",): 3}
    os.kill(ours.part("picloud.dispatcher"), signal.SIGKILL)
    eventually(lambda: metrics(ours), lambda it: it.sum("picloud_processes", role="dispatcher") == 1)
    assert metrics(ours).sum(REQUESTS, script="worker", trigger="job") == 5


def test_the_lateness_of_schedules_is_counted(ours: Running) -> None:
    ours.deploy("ticking", HELLO)
    before = metrics(ours).sum("picloud_schedule_lateness_seconds_count")
    ticks = {"name": "ticks", "script": "ticking", "cron": "* * * * * *"}
    assert ours.api("POST", "schedules", ticks).status == 201
    eventually(lambda: metrics(ours), lambda it: it.sum(REQUESTS, script="ticking", trigger="schedule") >= 2)
    assert ours.api("DELETE", "schedules/ticks").status == 204
    assert metrics(ours).sum("picloud_schedule_lateness_seconds_count") >= before + 2


def test_the_sandboxes_that_are_told_are_those_that_there_are(ours: Running) -> None:
    ours.deploy("spin", "while true do end")
    ours.set("spin", {"limits": {"wall_ms": 300_000, "cpu_ms": 300_000}})

    def is_true(busy: int) -> bool:
        found = metrics(ours).of(SANDBOXES)
        return found["busy",] == busy and sum(found.values()) == len(ours.named("picloud-sandbox"))

    eventually(lambda: is_true(0), bool)
    with ours.spinning("/fn/spin", 2):
        eventually(lambda: is_true(2), bool)
    eventually(lambda: is_true(0), bool)
    assert metrics(ours).of("picloud_sandboxes_max") == {(): 32}


def test_a_script_that_is_not_there_has_no_series_and_one_that_is_deleted_has_none_any_more(ours: Running) -> None:
    assert ours.call("GET", "/fn/nobody-ever").status == 404
    assert ours.api("POST", "scripts/nobody-ever/invoke").status == 404
    ours.deploy("short-lived", HELLO)
    on_one_connection(ours, "/fn/short-lived", 3)
    found = await_count(ours, 3, script="short-lived")
    assert found.sum(REQUESTS, script="nobody-ever") == 0
    assert ours.api("DELETE", "scripts/short-lived").status == 204
    for name in (REQUESTS, DURATIONS, "picloud_sandbox_cpu_seconds_total"):
        assert metrics(ours).of(name, script="short-lived") == {}


def test_a_flood_is_counted_though_it_is_not_recorded(ours: Running) -> None:
    ours.deploy("tight", "while true do end")
    ours.set("tight", {"limits": {"concurrency": 1, "wall_ms": 300_000, "cpu_ms": 300_000}})
    before = metrics(ours).sum("picloud_refusals_total", reason="concurrency-limit")
    with ours.spinning("/fn/tight", 1):
        refused = [ours.call("GET", "/fn/tight").status for _ in range(FEW + 20)].count(429)
    assert refused > FEW
    after = metrics(ours).sum("picloud_refusals_total", reason="concurrency-limit")
    assert after - before >= refused


def test_every_series_is_one_of_the_table(ours: Running) -> None:
    ours.deploy("calling", 'kv.get("x") return 1')
    on_one_connection(ours, "/fn/calling", 1)
    await_count(ours, 1, script="calling")
    rows = {it.name.removesuffix("_total"): it for it in TABLE}
    for family in metrics(ours).families:
        assert family.type == str(rows[family.name].kind)
        assert {label for sample in family.samples for label in sample.labels} - {"le"} <= {*rows[family.name].labels}
    assert {*rows} - {family.name for family in metrics(ours).families} == set()


def test_only_a_token_that_may_read_everything_opens_it(ours: Running) -> None:
    def status(token: str) -> int:
        return ours.call("GET", "/metrics", headers={"authorization": f"Bearer {token}"}).status

    assert ours.call("GET", "/metrics").status == 401
    assert status(ours.new_token(Scope.READ)) == 200
    assert status(ours.new_token(Scope.DEPLOY, Scope.INVOKE)) == 403
    limited = {"name": "limited", "scopes": ["read"], "scripts": ["counted"]}
    assert status(ours.api("POST", "tokens", limited).json["token"]) == 403
    head = ours.call("HEAD", "/metrics", headers={"authorization": f"Bearer {ours.token}"})
    assert (head.status, head.body) == (200, b"")


def test_while_the_database_is_away_everything_else_is_told(ours: Running) -> None:
    eventually(lambda: len(listening(ours)), lambda count: count == 4)  # who begins to hears forgets what it knew
    for _ in ours.by_each_worker():
        assert metrics(ours).of("picloud_database_up") == {(): 1}  # and the worker knows the token
    before = metrics(ours)
    with database_away(ours):
        found = metrics(ours)
        assert found.of("picloud_database_up") == {(): 0}
        assert found.of("picloud_jobs") == found.of("picloud_oldest_due_job_seconds") == {}
        assert found.of(REQUESTS) == before.of(REQUESTS) != {}
        assert found.of(SANDBOXES) != {}
    eventually(lambda: metrics(ours).of("picloud_database_up"), lambda it: it == {(): 1})


def test_while_the_executor_is_away_everything_else_is_told(ours: Running) -> None:
    before = metrics(ours)
    with stopped([ours.zygote()]):
        found = metrics(ours)
    assert found.of("picloud_executor_up") == {(): 0}
    assert found.of(SANDBOXES) == {}
    assert found.of(REQUESTS) == before.of(REQUESTS)
    assert metrics(ours).of("picloud_executor_up") == {(): 1}


def test_it_is_there_on_a_node_that_has_done_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "data", PICLOUD_WORKERS="1") as fresh:
        found = metrics(fresh)
        assert found.of(REQUESTS) == {}
        assert found.of("picloud_refusals_total") == {("overloaded",): 0, ("concurrency-limit",): 0}
        assert found.sum("picloud_build_info") == 1


def test_manager_and_orchestrator_apart_give_the_same_account(tmp_path: Path) -> None:
    with split(tmp_path / "data") as ours:
        ours.manager.deploy("apart", HELLO)
        on_one_connection(ours.orchestrator, "/fn/apart", 3)
        for service in (ours.manager, ours.orchestrator):
            found = await_count(service, 3, script="apart")
            roles = found.of("picloud_processes")
            assert roles.keys() == {("dispatcher",), ("manager",), ("worker",)}
            assert found.of("picloud_executor_up") == found.of("picloud_database_up") == {(): 1}
