"""What PiCloud asks the database is seen, by who asks nothing itself."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from picloud.model import Invocation, Outcome, Record, Trigger
from picloud.storage.activity import Activity, Ran
from picloud.storage.connection import Connection, connect
from picloud.storage.invocations import InvocationTable
from picloud.storage.pool import Pool
from tests.fixtures_postgres import execute


@pytest.fixture
def activity(database: str) -> Iterator[Activity]:
    with closing(Activity(database)) as ours:
        yield ours


@pytest.fixture
def session(database: str) -> Iterator[Connection]:
    with closing(connect(database)) as other, other.cursor() as cursor:
        cursor.execute("SELECT 1")
        yield other


def test_a_session_at_rest_asks_nothing(activity: Activity, session: Connection) -> None:
    activity.begin()
    asked = activity.end()
    assert (asked.backends, asked.ran) == (frozenset(), ())


def test_a_session_that_sends_a_statement_is_seen(activity: Activity, session: Connection) -> None:
    activity.begin()
    with session.cursor() as cursor:
        cursor.execute("SELECT 2")
    assert activity.end().backends == {session.info.backend_pid}


def test_a_session_that_comes_is_seen(activity: Activity, database: str) -> None:
    activity.begin()
    with closing(connect(database)) as other:
        assert activity.end().backends == {other.info.backend_pid}


def test_those_of_others_are_not_ours(activity: Activity, database: str) -> None:
    activity.begin()
    with closing(connect(f"{database}&application_name=psql")) as other, other.cursor() as cursor:
        cursor.execute("SELECT 2")
        assert activity.end().backends == frozenset()


def test_what_ran_meanwhile_is_named(activity: Activity, database: str) -> None:
    with closing(Pool(database, size=1, wait_ms=5_000)) as pool:
        table = InvocationTable(pool)
        table.add([record("01980000-0000-7000-8000-000000000001", "before")])
        activity.begin()
        table.add([record(f"01980000-0000-7000-8000-00000000000{number}", "hello") for number in (2, 3)])
        table.add([record("01980000-0000-7000-8000-000000000004", "nightly", Trigger.SCHEDULE)])
        assert activity.end().ran == (Ran("hello", "http", 2), Ran("nightly", "schedule", 1))


def test_the_first_of_all_is_named_too(activity: Activity, database: str) -> None:
    activity.begin()
    with closing(Pool(database, size=1, wait_ms=5_000)) as pool:
        InvocationTable(pool).add([record("01980000-0000-7000-8000-000000000001", "hello")])
    assert activity.end().ran == (Ran("hello", "http", 1),)


def test_a_server_with_these_settings_is_tuned(activity: Activity) -> None:
    assert activity.untuned() == []


def test_it_knows_who_answers_it(activity: Activity, database: str) -> None:
    assert execute(database, "SELECT backend_type FROM pg_stat_activity WHERE pid = %s", activity.backend) == [
        ("client backend",)
    ]


def record(number: str, script: str, trigger: Trigger = Trigger.HTTP) -> Record:
    invocation = Invocation(number, script, 1, trigger, Outcome.OK, 200, datetime.now(UTC), 0, 1, 1, 1)
    return Record(invocation, ())
