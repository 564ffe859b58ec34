"""A COMMIT whose answer was lost: whether it happened is found out, and never guessed."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from picloud.errors import OutcomeUnknown
from picloud.model import Invocation, Outcome, Trigger, new_id
from picloud.storage import invocations
from picloud.storage.connection import Connection, connect
from picloud.storage.invocations import InvocationTable
from picloud.storage.pool import Pool
from picloud.storage.unit_of_work import UnitsOfWork
from tests.fixtures_postgres import execute

PATIENCE_S = 60.0
NUMBER = "SELECT pg_current_xact_id()::text"


@pytest.fixture
def units(database: str) -> Iterator[UnitsOfWork]:
    with closing(UnitsOfWork(database, size=1, wait_ms=10_000)) as ours:
        yield ours


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """With a transaction begun, which may not be seen to end."""
    with closing(connect(database)) as ours:
        ours.cursor().execute("BEGIN")
        yield ours


def invocation() -> Invocation:
    return Invocation(new_id(), "a", 1, Trigger.HTTP, Outcome.OK, 200, datetime.now(UTC), 0, 0, 0, 0)


def begun(connection: Connection, ours: Invocation | None = None) -> tuple[str, str]:
    """Write the row of an invocation → its id, and the number of its transaction."""
    ours = ours or invocation()
    with connection.cursor() as cursor:
        invocations.put(cursor, ours)
        cursor.execute(NUMBER)
        ((number,),) = cursor.fetchall()
    return ours.id, number


def soon() -> float:
    return time.monotonic() + PATIENCE_S


@pytest.mark.parametrize(("end", "happened"), [("COMMIT", True), ("ROLLBACK", False)])
def test_what_has_ended_has_happened_or_not(
    units: UnitsOfWork, connection: Connection, end: str, happened: bool
) -> None:
    name, number = begun(connection)
    connection.cursor().execute(end)
    assert units.committed(number, name, soon()) is happened


@pytest.mark.parametrize(("end", "happened"), [("COMMIT", True), ("ROLLBACK", False)])
def test_what_is_still_in_progress_is_waited_for(
    units: UnitsOfWork, connection: Connection, end: str, happened: bool
) -> None:
    name, number = begun(connection)
    with pytest.raises(OutcomeUnknown):
        units.committed(number, name, time.monotonic())
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(units.committed, number, name, soon())
        connection.cursor().execute(end)
        assert answer.result() is happened


def test_a_number_that_another_transaction_was_given_after_a_crash_is_not_ours(units: UnitsOfWork, pool: Pool) -> None:
    with pool.transaction() as cursor:
        cursor.execute(NUMBER)
        ((number,),) = cursor.fetchall()
    assert units.committed(number, new_id(), soon()) is False


def test_a_number_that_nobody_was_given_since_the_crash_is_none(units: UnitsOfWork, database: str) -> None:
    ((number,),) = execute(database, NUMBER)
    assert units.committed(str(int(str(number)) + 1_000), new_id(), soon()) is False


def test_the_mark_of_a_run_that_called_out_says_nothing_of_its_end(
    units: UnitsOfWork, database: str, pool: Pool
) -> None:
    ours = invocation()
    InvocationTable(pool).mark(replace(ours, outcome=Outcome.OUTCOME_UNKNOWN))
    ((number,),) = execute(database, NUMBER)
    assert units.committed(str(number), ours.id, soon()) is False


@pytest.mark.parametrize("marked", [False, True])
def test_the_row_of_an_answer_that_has_only_begun_says_that_it_has(
    units: UnitsOfWork, connection: Connection, pool: Pool, *, marked: bool
) -> None:
    ours = replace(invocation(), outcome=Outcome.OUTCOME_UNKNOWN)  # as a stream's is until its last byte
    if marked:
        InvocationTable(pool).mark(ours)
    name, number = begun(connection, ours)
    connection.cursor().execute("COMMIT")
    assert units.committed(number, name, soon()) is True
