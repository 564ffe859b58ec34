"""Jobs that have ended go by age and by number, dead ones later, and with them the lanes that nobody needs."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from picloud.model import NewJob, new_id
from picloud.storage.connection import connect
from picloud.storage.job_retention import JobRetention
from picloud.storage.jobs import send, through
from picloud.storage.pool import Pool
from tests.fixtures_postgres import execute
from tests.queued import REQUEST, held, sent, tried

DAYS, ROWS, DEAD_DAYS = 14, 1000, 90


@pytest.fixture
def retention(pool: Pool) -> JobRetention:
    return JobRetention(pool, keep_days=DAYS, keep_rows=ROWS, dead_days=DEAD_DAYS)


def ended(database: str, state: str, days: float, born_days: float | None = None) -> str:
    """A job that ended so many days ago, and was made then or before."""
    moment = datetime.now(UTC) - timedelta(days=days)
    it = sent(database, changed={"state": state, "ended_at": moment})
    born = moment if born_days is None else datetime.now(UTC) - timedelta(days=born_days)
    return aged(database, it, born)


def aged(database: str, job: str, moment: datetime) -> str:
    """As if it had been made then → its id from now on."""
    stamp = f"{int(moment.timestamp() * 1000):012x}"
    identifier = f"{stamp[:8]}-{stamp[8:]}-{new_id()[14:]}"
    execute(database, "UPDATE jobs SET id = %s, created_at = %s WHERE id = %s", identifier, moment, job)
    return identifier


def left(database: str) -> set[object]:
    return {it for (it,) in execute(database, "SELECT id::text FROM jobs")}


def until_nothing(retention: JobRetention) -> int:
    gone = 0
    while some := retention.expire():
        gone += some
    return gone


def test_what_ended_goes_when_its_time_is_over_and_dead_ones_later(retention: JobRetention, database: str) -> None:
    for state, days in (("done", 15), ("cancelled", 15), ("dead", 91)):
        ended(database, state, days)
    stay = {
        ended(database, state, days) for state, days in (("done", 13), ("cancelled", 13), ("dead", 15), ("dead", 89))
    }
    stay |= {ended(database, "done", 13, born_days=400), ended(database, "dead", 1, born_days=400)}
    stay.add(aged(database, sent(database), datetime.now(UTC) - timedelta(days=400)))  # it waits
    assert until_nothing(retention) == 3
    assert left(database) == stay


def test_what_is_known_of_its_runs_goes_with_a_job(retention: JobRetention, database: str) -> None:
    old, young = ended(database, "done", 15), ended(database, "done", 1)
    tried(database, old, "ok")
    stays = tried(database, young, "ok")
    until_nothing(retention)
    assert execute(database, "SELECT invocation::text FROM job_attempts") == [(stays,)]


def test_what_ended_goes_if_there_are_too_many_and_what_waits_or_is_dead_does_not(pool: Pool, database: str) -> None:
    waits, lost = sent(database), ended(database, "dead", 0.5)
    ended(database, "done", 0.3)
    ended(database, "cancelled", 0.2)
    newest = {ended(database, "done", 0.1), sent(database)}
    aged(database, waits, datetime.now(UTC) - timedelta(days=1))
    retention = JobRetention(pool, keep_days=DAYS, keep_rows=2, dead_days=DEAD_DAYS)
    assert until_nothing(retention) == 2
    assert left(database) > newest | {lost}
    assert len(left(database)) == 4


def test_what_ended_goes_if_it_is_too_large_together(pool: Pool, database: str) -> None:
    large = replace(REQUEST, body=b"x" * 1000)
    oldest, lost, *newest = (sent(database, "s", large) for _ in range(5))
    execute(database, "UPDATE jobs SET state = 'done', ended_at = now(), body = request WHERE id <> %s", lost)
    execute(database, "UPDATE jobs SET state = 'dead', ended_at = now() WHERE id = %s", lost)
    ((size,),) = execute(database, "SELECT 2 * octet_length(request) FROM jobs WHERE id = %s", oldest)
    assert isinstance(size, int)
    for bytes_max, gone in ((4 * size, 0), (4 * size - 1, 1), (3 * size, 0)):
        retention = JobRetention(pool, keep_days=DAYS, keep_rows=ROWS, dead_days=DEAD_DAYS, bytes_max=bytes_max)
        assert until_nothing(retention) == gone
    assert left(database) == {lost, *newest}
    assert oldest not in left(database)


def test_more_than_go_at_once_go_in_turns(pool: Pool, retention: JobRetention, database: str) -> None:
    old = ended(database, "done", 15)
    execute(
        database,
        """INSERT INTO jobs (id, script, trigger, state, request, priority, due_at, ended_at)
           SELECT (left(id::text, 24) || to_char(n, 'FM000000000000'))::uuid, script, trigger, state, request, priority,
             due_at, ended_at FROM jobs, generate_series(1, 2500) AS n WHERE id = %s""",
        old,
    )
    assert 0 < retention.expire() < 2501
    until_nothing(retention)
    assert left(database) == set()
    retention.vacuum()


def test_one_process_does_it_at_a_time(retention: JobRetention, database: str) -> None:
    ended(database, "done", 15)
    with closing(connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (0x5049_4A4F,))
        assert retention.expire() == 0
        cursor.execute("SELECT pg_advisory_unlock(%s)", (0x5049_4A4F,))  # a backend may outlive its connection a while
    assert retention.expire() == 1


def test_who_holds_an_ended_job_keeps_it_and_no_other(retention: JobRetention, database: str) -> None:
    kept, _ = ended(database, "done", 15), ended(database, "done", 15)
    with held(database, kept):
        assert until_nothing(retention) == 1
        assert left(database) == {kept}


def lanes(database: str) -> set[tuple[object, ...]]:
    return set(execute(database, "SELECT script, ordering_key FROM lanes"))


@contextmanager
def sending(database: str, ordering_key: str) -> Iterator[None]:
    """Somebody has sent a job, and commits at the end."""
    with closing(connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        send(through(cursor), NewJob("s", REQUEST, ordering_key=ordering_key))
        yield
        cursor.execute("COMMIT")


def test_lanes_go_whose_jobs_have_ended(retention: JobRetention, database: str) -> None:
    for key in ("done", "dead", "waits"):
        it = sent(database, ordering_key=key)
        if key != "waits":
            execute(database, "UPDATE jobs SET state = %s, ended_at = now() WHERE id = %s", key, it)
    sent(database, "t", ordering_key="done")
    until_nothing(retention)
    assert lanes(database) == {("s", "waits"), ("t", "done")}


def test_a_lane_that_somebody_extends_stays_and_is_not_waited_for(retention: JobRetention, database: str) -> None:
    execute(database, "INSERT INTO lanes VALUES ('s', 'idle', 5), ('s', 'new', 5)")
    with sending(database, "new"):
        assert until_nothing(retention) == 1
        assert lanes(database) == {("s", "new")}
    assert until_nothing(retention) == 0
    assert execute(database, "SELECT position FROM jobs") == [(6,)]
