"""`picloud doctor --idle`: of a PiCloud that rests it says so, and of one that does not what it did."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.running import Running, eventually, running

SOURCE = "return 'hello'"
PARTS = ("picloud up", "picloud.server", "picloud.dispatcher", "picloud.executor.supervisor", "picloud-zygote")


@pytest.fixture(scope="module")
def picloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("idle")) as ours:
        ours.deploy("hello", SOURCE)
        ours.record_of(ours.call("GET", "/fn/hello"))
        yield ours


def asked(picloud: Running, *options: str) -> "subprocess.CompletedProcess[bytes]":
    return picloud.cli("doctor", "--idle", "--seconds", "1", *options)


def told(picloud: Running) -> dict[str, Any]:
    """What it tells, and that its exit status says the same."""
    done = asked(picloud, "--json")
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if found["holds"] else 1)
    return found


@contextmanager
def called_all_the_time(picloud: Running) -> Iterator[None]:
    ended = threading.Event()

    def call() -> None:
        while not ended.is_set():
            picloud.call("GET", "/fn/hello")

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield
    finally:
        ended.set()
        caller.join()


def test_at_rest_it_says_that_the_contract_holds_with_zeros_throughout(picloud: Running) -> None:
    seen = eventually(lambda: told(picloud), lambda it: it["holds"])  # once what went before is written
    ours = [it for it in seen["processes"] if it["group"] == "picloud up"]

    assert {it["name"] for it in ours} >= {*PARTS, "picloud-sandbox"}
    assert {it["pid"] for it in ours} < {*picloud.processes()}
    for key in ("switches_voluntary", "switches_involuntary", "cpu_ns", "cpu_ticks"):
        assert {it[key] for it in ours} == {0}
    assert {it["written_bytes"] for it in ours} <= {0, None}
    assert (seen["broken"], seen["statements"], seen["ran"], seen["seconds"] >= 1) == ([], 0, [], True)
    assert seen["postgresql"]["untuned"] == []
    assert seen["postgresql"]["wakeups"] <= seen["postgresql"]["wakeups_max"] == 12
    assert "postgresql" in {it["group"] for it in seen["processes"]}
    assert not [it for it in ours if it["name"].startswith("postgres")]


def test_the_same_for_people(picloud: Running) -> None:
    done = eventually(lambda: asked(picloud), lambda it: it.returncode == 0)
    text = done.stdout.decode()
    assert "The contract holds: in 1 s no thread of PiCloud was switched to" in text
    assert "no SQL was sent." in text
    assert "PostgreSQL woke " in text
    (total,) = (line.split() for line in text.splitlines() if line.startswith("PiCloud:"))
    assert total[2] == "processes"
    assert total[3:6] == ["0", "0", "0.0"]
    assert b"\x1b" not in done.stdout


def test_while_it_is_called_it_says_that_it_was_not_idle_and_why(picloud: Running) -> None:
    with called_all_the_time(picloud):
        seen = eventually(lambda: told(picloud), lambda it: it["holds"] or it["ran"])  # records come in batches
        text = asked(picloud).stdout.decode()
    assert not seen["holds"]
    assert {it["script"] for it in seen["ran"]} == {"hello"}
    assert seen["broken"][0].startswith("hello ran ")
    assert any(text.startswith("picloud.server (pid ") and "threads: " in text for text in seen["broken"])
    assert seen["statements"] > 0
    assert "PiCloud sent SQL on " in seen["broken"][-1]
    assert "It was not idle:\n" in text
    assert "The contract holds" not in text


@pytest.mark.ordinary_user
def test_what_may_not_be_read_is_said_to_be_missing(picloud: Running) -> None:
    (said,) = told(picloud)["unseen"]
    text = eventually(lambda: asked(picloud), lambda it: it.returncode == 0).stdout.decode()
    (total,) = (line.split() for line in text.splitlines() if line.startswith("PiCloud:"))
    assert "picloud-sandbox" in said
    assert said.endswith(" may not be read: ask as root")
    assert said in text
    assert total[-2:] == ["?", "?"]


def test_without_its_database_it_says_that_sql_was_not_counted(picloud: Running) -> None:
    url = "postgresql:///nobody?host=/nowhere"
    found = json.loads(picloud.cli("doctor", "--idle", "--seconds", "1", "--json", PICLOUD_DATABASE_URL=url).stdout)
    assert found["statements"] is None
    assert any(text.startswith("SQL was not counted: cannot connect to the database") for text in found["unseen"])
    assert {it["group"] for it in found["processes"]} >= {"picloud up", "postgresql"}
    assert not [it for it in found["processes"] if it["group"] == "picloud up" and it["name"].startswith("postgres")]


def test_where_none_runs_it_says_so(picloud: Running, tmp_path: Any) -> None:
    done = picloud.cli("doctor", "--idle", PICLOUD_DATA=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"no PiCloud is to be seen here" in done.stderr
    assert not list(tmp_path.iterdir())
