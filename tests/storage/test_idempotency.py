"""Kept answers: who claims a key is alone with it until its transaction ends, and nothing is kept for ever."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from picloud.errors import StillRunning, TransactionConflict
from picloud.model import Invocation, KeptAnswer, Outcome, Response, Trigger, new_id
from picloud.storage.idempotency import KeptAnswerTable
from picloud.storage.pool import Pool
from picloud.storage.unit_of_work import UnitOfWork, UnitsOfWork
from tests.fixtures_postgres import execute

PATIENCE_S = 60.0
PATIENCE_MS = 60_000


@pytest.fixture
def units(database: str) -> Iterator[UnitsOfWork]:
    with closing(UnitsOfWork(database, size=8, wait_ms=10_000)) as ours:
        yield ours


@pytest.fixture
def table(pool: Pool) -> KeptAnswerTable:
    return KeptAnswerTable(pool)


def begin(units: UnitsOfWork) -> UnitOfWork:
    return units.begin(time.monotonic() + PATIENCE_S)


def answer(body: bytes = b"\0\xff", *headers: tuple[str, str]) -> KeptAnswer:
    return KeptAnswer(new_id(), b"print", Response(201, headers, body))


def commit(work: UnitOfWork) -> None:
    now = datetime.now(UTC)
    work.commit(Invocation(new_id(), "a", 1, Trigger.HTTP, Outcome.OK, 200, now, 0, 0, 0, 0))
    work.close()


def keep(units: UnitsOfWork, key: str, kept: KeptAnswer, script_id: int = 1) -> None:
    with closing(begin(units)) as work:
        assert work.answers.claim(script_id, key, PATIENCE_MS) is None
        work.answers.put(script_id, key, kept)
        commit(work)


def claim(units: UnitsOfWork, key: str, wait_ms: int = PATIENCE_MS, script_id: int = 1) -> KeptAnswer | None:
    with closing(begin(units)) as work:
        return work.answers.claim(script_id, key, wait_ms)


def test_what_is_kept_comes_back_as_it_was(units: UnitsOfWork) -> None:
    kept = answer(bytes(range(256)), ("x-a", "é\xff"), ("set-cookie", "a=1"), ("set-cookie", "b=2"))
    keep(units, "k", kept)
    assert claim(units, "k") == kept
    assert claim(units, "K") is None
    assert claim(units, "k", script_id=2) is None


def test_what_was_not_committed_is_not_kept(units: UnitsOfWork) -> None:
    with closing(begin(units)) as work:
        work.answers.claim(1, "k", PATIENCE_MS)
        work.answers.put(1, "k", answer())
    assert claim(units, "k") is None


def test_who_comes_second_waits_and_sees_what_the_first_has_kept(units: UnitsOfWork) -> None:
    kept, found = answer(), list[KeptAnswer | None]()
    first = begin(units)
    assert first.answers.claim(1, "k", PATIENCE_MS) is None
    second = threading.Thread(target=lambda: found.append(claim(units, "k")))
    second.start()
    assert claim(units, "other") is None  # which waits for nobody
    first.answers.put(1, "k", kept)
    assert not found
    commit(first)
    second.join(PATIENCE_S)
    assert found == [kept]


def test_who_waits_too_long_is_told_so_and_statements_after_a_claim_wait_as_before(units: UnitsOfWork) -> None:
    first = begin(units)
    first.answers.claim(1, "k", PATIENCE_MS)
    with pytest.raises(StillRunning):
        claim(units, "k", wait_ms=0)
    first.close()
    with closing(begin(units)) as work:
        assert work.answers.claim(1, "k", 1) is None
        assert work.read("SHOW lock_timeout", {}) == [("0",)]


def test_a_key_that_was_not_claimed_is_not_kept_twice(units: UnitsOfWork) -> None:
    keep(units, "k", kept := answer())
    with closing(begin(units)) as work, pytest.raises(TransactionConflict):
        work.answers.put(1, "k", answer())
    assert claim(units, "k") == kept


def test_what_has_expired_is_absent_replaced_and_deleted(
    database: str, units: UnitsOfWork, table: KeptAnswerTable
) -> None:
    for key in ("a", "b", "c"):
        keep(units, key, answer())
    execute(database, "UPDATE kept_answers SET expires_at = now() WHERE key <> 'c'")
    assert (claim(units, "a"), claim(units, "b")) == (None, None)
    keep(units, "a", again := answer())
    assert (table.expire(), table.expire()) == (1, 0)
    assert execute(database, "SELECT key FROM kept_answers ORDER BY key") == [("a",), ("c",)]
    assert claim(units, "a") == again
    table.vacuum()


def test_of_a_script_that_keeps_too_much_the_oldest_go(
    database: str, units: UnitsOfWork, table: KeptAnswerTable
) -> None:
    for script_id in (1, 2):
        for key in ("a", "b", "c"):
            keep(units, key, answer(), script_id)
    execute(database, "UPDATE kept_answers SET bytes = 128 * 1024 * 1024 WHERE script_id = 1")
    assert (table.expire(), table.expire()) == (1, 0)
    assert execute(database, "SELECT key FROM kept_answers WHERE script_id = 1 ORDER BY key") == [("b",), ("c",)]
    assert execute(database, "SELECT count(*) FROM kept_answers WHERE script_id = 2") == [(3,)]


def test_retention_takes_turns(database: str, units: UnitsOfWork, table: KeptAnswerTable) -> None:
    keep(units, "k", answer())
    execute(database, "UPDATE kept_answers SET expires_at = now()")
    with closing(begin(units)) as other:
        other.read("SELECT pg_advisory_xact_lock(%(number)s)", {"number": 0x5049_4B41})
        assert table.expire() == 0
    assert table.expire() == 1
