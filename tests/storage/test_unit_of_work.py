"""One invocation's transaction: when its COMMIT counts, and what its savepoints undo."""

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import psycopg2
import pytest

from picloud.errors import DeadlinePassed, Overloaded, PicloudError, TransactionConflict
from picloud.model import Invocation, Outcome, Trigger, Value, new_id
from picloud.storage.unit_of_work import UnitOfWork, UnitsOfWork
from tests.fixtures_postgres import execute

PATIENCE_S = 60.0
ONE = Value.of_number(1)


@pytest.fixture
def units(database: str) -> Iterator[UnitsOfWork]:
    with closing(UnitsOfWork(database, size=2, wait_ms=100)) as ours:
        yield ours


def begin(units: UnitsOfWork) -> UnitOfWork:
    return units.begin(time.monotonic() + PATIENCE_S)


def commit(work: UnitOfWork) -> str:
    """With the row of an invocation → its id."""
    name = new_id()
    work.commit(Invocation(name, "x", 1, Trigger.HTTP, Outcome.OK, 200, datetime.now(UTC), 0.0, 0.0, 0.0, 0))
    return name


def stored(database: str) -> tuple[list[object], list[object]]:
    """Keys, and ids of invocations."""
    keys = [row[0] for row in execute(database, "SELECT key FROM kv ORDER BY key")]
    return keys, [row[0] for row in execute(database, "SELECT id::text FROM invocations")]


def test_what_was_written_and_the_row_are_stored_together(units: UnitsOfWork, database: str) -> None:
    with closing(begin(units)) as work:
        writes = [work.writes]
        work.kv.put("s", "k", ONE, None)
        assert [*writes, work.writes] == [False, True]
        assert stored(database) == ([], [])
        name = commit(work)
    assert stored(database) == (["k"], [name])


def test_a_transaction_that_a_failed_statement_has_spoiled_is_never_stored(units: UnitsOfWork, database: str) -> None:
    with closing(begin(units)) as work:
        work.kv.put("s", "k", ONE, None)
        with pytest.raises(psycopg2.DataError):
            work.read("SELECT 1 / 0", {})
        with pytest.raises((PicloudError, psycopg2.Error)):
            commit(work)
    assert stored(database) == ([], [])
    with closing(begin(units)) as work:  # and its connection is as good as new
        work.kv.put("s", "k", ONE, None)
        commit(work)
    assert stored(database)[0] == ["k"]


def test_a_savepoint_undoes_its_own_also_after_a_statement_that_failed(units: UnitsOfWork, database: str) -> None:
    with closing(begin(units)) as work:
        work.kv.put("s", "before", ONE, None)
        with pytest.raises(psycopg2.DataError), work.savepoint():  # noqa: PT012 - all of the block
            work.kv.put("s", "undone", ONE, None)
            work.read("SELECT 1 / 0", {})
        with work.savepoint(), pytest.raises(KeyError), work.savepoint():  # noqa: PT012 - all of the block
            work.kv.put("s", "undone, too", ONE, None)
            raise KeyError
        with work.savepoint():
            work.kv.put("s", "kept", ONE, None)
        commit(work)
    assert stored(database)[0] == ["before", "kept"]


def test_no_statement_outlives_the_deadline_and_the_savepoint_still_ends(units: UnitsOfWork, database: str) -> None:
    with closing(begin(units)) as work:
        work.kv.put("s", "before", ONE, None)
        work.deadline = time.monotonic() + 0.1
        with pytest.raises(DeadlinePassed), work.savepoint():
            work.read("SELECT pg_sleep(60)", {})
        with pytest.raises(DeadlinePassed):
            work.read("SELECT 1", {})
        work.deadline = time.monotonic() + PATIENCE_S  # its caller's
        commit(work)
    assert stored(database)[0] == ["before"]


def test_who_finds_every_connection_in_use_is_overloaded(units: UnitsOfWork) -> None:
    with closing(begin(units)), closing(begin(units)), pytest.raises(Overloaded, match="in use for 100 ms"):
        begin(units)
    begin(units).close()


def test_a_commit_that_the_server_takes_back_as_a_clash_is_one(units: UnitsOfWork, database: str) -> None:
    execute(
        database,
        """CREATE FUNCTION clash() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'serialization_failure'; END $$;
           CREATE CONSTRAINT TRIGGER clash AFTER INSERT ON kv DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION clash()""",
    )
    with closing(begin(units)) as work:
        work.kv.put("s", "k", ONE, None)
        with pytest.raises(TransactionConflict):
            commit(work)
    assert stored(database) == ([], [])
