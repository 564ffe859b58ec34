"""Jobs as they stand in the table, in whatever state a test wants them, and what is known of their runs."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from picloud.model import NewJob, Request, Trigger, new_id
from picloud.storage.connection import connect
from picloud.storage.jobs import send, through
from tests.fixtures_postgres import execute

REQUEST = Request("", "POST", "/", "", (("content-type", "application/json"),), b'{"n": 1}', trigger=Trigger.JOB)


def sent(
    database: str,
    script: str = "s",
    request: Request = REQUEST,
    *,
    changed: Mapping[str, object] | None = None,
    **more: Any,
) -> str:
    """A job as somebody else sent it, then changed → its id."""
    with closing(connect(database)) as connection, connection.cursor() as cursor:
        identifier = send(through(cursor), NewJob(script, request, **more)).id
        if changed:
            cursor.execute(f"UPDATE jobs SET {', '.join(f'{it} = %({it})s' for it in changed)} WHERE id = %(id)s::uuid",
                           {**changed, "id": identifier})  # fmt: skip
    return identifier


def dead(database: str, script: str = "s", request: Request = REQUEST, **more: Any) -> str:
    """One that failed as often as it may → its id."""
    ended: dict[str, object] = {
        "state": "dead", "attempts": 3, "crashes": 2, "ended_at": datetime.now(UTC), "outcome": "script-error",
        "error": "main.lua:1: no", "invocation": new_id(),
    }  # fmt: skip
    return sent(database, script, request, changed=ended, **more)


def tried(database: str, job: str, outcome: str | None = None, *, left: timedelta = timedelta(minutes=1)) -> str:
    """An attempt at a job, and how long until its deadline → its invocation."""
    invocation = new_id()
    execute(
        database,
        "INSERT INTO job_attempts (invocation, job, node, deadline, outcome) VALUES (%s, %s, 'n', %s, %s)",
        invocation, job, datetime.now(UTC) + left, outcome,
    )  # fmt: skip
    return invocation


@contextmanager
def held(database: str, *identifiers: str) -> Iterator[None]:
    """Somebody runs these, or changes them."""
    with closing(connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN; SELECT 1 FROM jobs WHERE id = ANY(%s::uuid[]) FOR NO KEY UPDATE", (list(identifiers),))
        yield
        cursor.execute("ROLLBACK")
