"""Requests that are kept: with their invocation, once, and no more of them than there is room for."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from picloud.model import Invocation, KeptRequest, Outcome, Record, Request, Trigger, new_id
from picloud.storage import requests
from picloud.storage.invocations import InvocationTable
from picloud.storage.pool import Pool

OLDER = "00000000-0000-7000-8000-000000000000"  # than any invocation


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    with closing(Pool(database, size=2, wait_ms=10_000)) as pool:
        yield pool


@pytest.fixture
def table(pool: Pool) -> InvocationTable:
    return InvocationTable(pool)


def record(body: bytes = b"", *, kept: bool = True) -> Record:
    now, identifier = datetime.now(UTC), new_id()
    invocation = Invocation(identifier, "a", 1, Trigger.HTTP, Outcome.OK, 200, now, 0, 0, 0, 0)
    request = Request(
        identifier,
        "PUT",
        "/\0ü",
        "q=1",
        (("x-a", "\xff"),),
        body,
        "h",
        "::1",
        Trigger.HTTP,
        "k",
        (("rest", "x"),),
        b"{}",
    )
    return Record(invocation, (), KeptRequest(request, len(body), cut=False, masked=True) if kept else None)


def all_kept(table: InvocationTable, records: list[Record]) -> list[bool]:
    return [table.request(it.invocation.id) is not None for it in records]


def test_a_request_comes_back_as_it_was(table: InvocationTable) -> None:
    one, other = record(b"\0\xff"), record(kept=False)
    table.add([one, other])
    assert table.request(one.invocation.id) == one.request
    assert table.request(other.invocation.id) is None


def test_a_batch_that_comes_twice_is_there_once(table: InvocationTable) -> None:
    one = record(b"x")
    table.add([one])
    table.add([one])
    assert table.request(one.invocation.id) == one.request


def test_a_request_goes_with_its_invocation(table: InvocationTable) -> None:
    records = [record() for _ in range(4)]
    table.add(records)
    while table.expire(keep_days=1, keep_rows=2):
        pass
    assert all_kept(table, records) == [False, False, True, True]


def test_the_newest_stay_if_they_are_too_large(pool: Pool, table: InvocationTable) -> None:
    records = [record(bytes(1000)) for _ in range(4)]
    table.add(records)
    with pool.transaction() as cursor:
        assert requests.expire(cursor, OLDER, bytes_max=2500) == 2
    assert all_kept(table, records) == [False, False, True, True]
    with pool.transaction() as cursor:
        assert requests.expire(cursor, OLDER, bytes_max=2500) == 0
    assert table.get(records[0].invocation.id), "its record stays"
