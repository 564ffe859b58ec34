"""Jobs for tests: sent as whatever makes jobs sends them, and what has become of them."""

import contextlib
from collections import Counter
from dataclasses import replace
from typing import Any

from picloud.model import NewJob, Request, Trigger
from picloud.storage.jobs import ring, send, through
from picloud.storage.pool import Pool
from tests.fixtures_postgres import execute
from tests.running import eventually

REQUEST = Request("", "POST", "/", "", (("content-type", "application/json"),), b"null", trigger=Trigger.JOB)


def job(script: str, body: bytes = b"null", **fields: Any) -> NewJob:
    """One of a script with a payload."""
    return NewJob(script, replace(REQUEST, body=body), **fields)


def send_jobs(dsn: str, *jobs: NewJob) -> None:
    """Store some, and tell the dispatchers."""
    with contextlib.closing(Pool(dsn, size=1, wait_ms=5_000)) as pool:
        with pool.transaction() as cursor:
            for one in jobs:
                send(through(cursor), one)
        ring(pool)


def states(dsn: str) -> Counter[str]:
    """How many jobs there are in each state."""
    return Counter(str(state) for (state,) in execute(dsn, "SELECT state FROM jobs"))


def await_jobs(dsn: str, **wanted: int) -> None:
    """Until so many are in each state."""
    eventually(lambda: states(dsn), lambda found: found == Counter(wanted))
