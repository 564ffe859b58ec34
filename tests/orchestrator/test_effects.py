"""What a dry run notes of a transaction, on a real database."""

import contextlib
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from picloud.model import Guard, NewJob, Request, SentJob, Trigger, Value
from picloud.orchestrator.effects import Change, Effects, JobChange, JobTouched
from picloud.orchestrator.watching import WatchedSource
from picloud.storage.unit_of_work import UnitsOfWork

SPACE = "script 1"


@pytest.fixture
def units(database: str) -> Iterator[UnitsOfWork]:
    with closing(UnitsOfWork(database, size=2, wait_ms=10_000)) as units:
        yield units


def soon() -> float:
    return time.monotonic() + 60


def test_a_write_is_noted_with_what_was_there_and_sees_itself(units: UnitsOfWork) -> None:
    effects = Effects()
    effects.script = "test"
    with closing(WatchedSource(units, effects).begin(soon())) as work:
        first = work.kv.put(SPACE, "k", Value.of_number(1), None, Guard())
        assert first
        assert work.kv.increase(SPACE, "k", 2, None)
        assert work.kv.delete(SPACE, "k", Guard())
        assert not work.kv.delete(SPACE, "k", Guard())
        assert work.kv.get(SPACE, ["k"]) == {}
        assert work.writes
    told = [(it.script, it.space, it.change, it.value, it.version_before) for it in effects.writes]
    assert told[0] == ("test", None, Change.SET, Value.of_number(1), None)
    assert told[1][3:] == (Value.of_number(3), first.version)
    assert told[2][2:4] == (Change.DELETE, None)


def test_a_write_whose_guard_does_not_hold_is_none(units: UnitsOfWork) -> None:
    effects = Effects()
    with closing(WatchedSource(units, effects).begin(soon())) as work:
        assert work.kv.put(SPACE, "k", Value.of_number(1), None, Guard(version=7)) is None
    assert effects.writes == []


def test_what_a_savepoint_takes_back_is_forgotten(units: UnitsOfWork) -> None:
    effects = Effects()
    with closing(WatchedSource(units, effects).begin(soon())) as work:
        work.kv.put(SPACE, "a", Value.of_number(1), None, Guard())
        with work.savepoint():
            work.kv.put(SPACE, "kept", Value.of_number(1), None, Guard())
        with work.savepoint() as before:
            work.kv.put(SPACE, "undone", Value.of_number(1), None, Guard())
            before.restore()
        with contextlib.suppress(KeyError), work.savepoint():
            work.kv.put(SPACE, "raised", Value.of_number(1), None, Guard())
            raise KeyError
    assert [it.key for it in effects.writes] == ["a", "kept"]


def job(body: bytes = b"null", key: str | None = None) -> NewJob:
    return NewJob("mail", Request("", "POST", "/", "", (), body, trigger=Trigger.JOB), key=key)


def test_a_job_is_noted_with_the_one_that_has_its_key(units: UnitsOfWork) -> None:
    effects = Effects()
    effects.script = "test"
    with closing(WatchedSource(units, effects).begin(soon())) as work:
        sent = work.jobs.send(job(key="k"))
        assert work.jobs.send(job(key="k")) == SentJob(sent.id, created=False)
        assert work.jobs.cancel("mail", sent.id)
        assert not work.jobs.cancel("mail", sent.id)
    assert effects.jobs == [
        JobTouched("test", JobChange.SEND, None, job(key="k"), 4),
        JobTouched("test", JobChange.KEEP, sent.id, job(key="k"), 4),
        JobTouched("test", JobChange.CANCEL, sent.id),
    ]
    effects.clear()
    assert effects.jobs == []


def test_jobs_that_a_savepoint_takes_back_are_forgotten(units: UnitsOfWork) -> None:
    effects = Effects()
    with closing(WatchedSource(units, effects).begin(soon())) as work:
        work.jobs.send(job(b"1"))
        with work.savepoint() as before:
            work.jobs.send(job(b"2"))
            before.restore()
        work.jobs.send(job(b"3"))
    assert [it.job and it.job.request.body for it in effects.jobs] == [b"1", b"3"]


def test_payloads_that_are_too_many_are_not_held(units: UnitsOfWork) -> None:
    effects, large = Effects(), b'"' + b"x" * 1024 * 1024 + b'"'
    with closing(WatchedSource(units, effects).begin(soon())) as work:
        for _ in range(5):
            work.jobs.send(job(large))
    assert [(it.cut, it.payload_bytes) for it in effects.jobs] == [(at > 2, len(large)) for at in range(5)]
    assert [len(it.job.request.body) for it in effects.jobs if it.job] == [len(large)] * 3 + [0, 0]


def test_nothing_is_committed_even_if_that_is_asked_for(units: UnitsOfWork) -> None:
    with closing(WatchedSource(units, Effects()).begin(soon())) as work:
        work.kv.put("shared s", "k", Value.of_number(1), None, Guard())
        work.commit(None)  # type: ignore[arg-type] # who commits has one; here nobody looks at it
    with closing(units.begin(soon())) as later:
        assert later.kv.get("shared s", ["k"]) == {}


def test_another_attempt_begins_with_nothing(units: UnitsOfWork) -> None:
    effects = Effects()
    with closing(WatchedSource(units, effects).begin(soon())) as work:
        work.kv.put("shared s", "k", Value.of_number(1), None, Guard())
    (write,) = effects.writes
    assert write.space == "s"
    effects.clear()
    assert (effects.writes, effects.requests) == ([], [])
