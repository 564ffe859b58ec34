"""When tokens were used: once a minute, off the path, kept while the database is away."""

import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import pytest

from picloud.errors import DatabaseUnavailable, TransactionConflict
from picloud.manager.uses import TokenUses


class Table:
    """Where notes arrive; it may refuse them."""

    def __init__(self) -> None:
        self.touched: list[Mapping[int, datetime]] = []
        self.arrived = threading.Semaphore(0)
        self.refused = threading.Semaphore(0)
        self.fault: Exception | None = None

    def touch(self, used: Mapping[int, datetime]) -> None:
        if self.fault:
            self.refused.release()
            raise self.fault
        self.touched.append(used)
        self.arrived.release()

    @property
    def ids(self) -> list[int]:
        return [identifier for used in self.touched for identifier in used]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def uses(table: Table, clock: Clock) -> Iterator[TokenUses]:
    ours = TokenUses(table, clock)
    ours.start()
    yield ours
    ours.stop()


def test_a_first_use_is_written_with_its_time(uses: TokenUses, table: Table) -> None:
    before = datetime.now(UTC)
    uses.note(7)
    assert table.arrived.acquire(timeout=60)
    (used,) = table.touched
    assert before <= used[7] <= datetime.now(UTC)


def test_more_uses_within_a_minute_are_not(uses: TokenUses, table: Table, clock: Clock) -> None:
    for _ in range(1000):
        uses.note(7)
    assert table.arrived.acquire(timeout=60)
    clock.now += 59
    uses.note(7)
    uses.note(8)
    assert table.arrived.acquire(timeout=60)
    assert table.ids == [7, 8]
    clock.now += 1
    uses.note(7)
    assert table.arrived.acquire(timeout=60)
    assert table.ids == [7, 8, 7]


@pytest.mark.parametrize("fault", [DatabaseUnavailable(), TransactionConflict()])
def test_a_use_waits_for_a_database_that_is_away(uses: TokenUses, table: Table, fault: Exception) -> None:
    table.fault = fault
    uses.note(7)
    assert table.refused.acquire(timeout=60)
    uses.note(8)
    table.fault = None
    assert table.arrived.acquire(timeout=60)
    assert sorted(table.ids) == [7, 8]


def test_a_note_that_cannot_be_written_does_not_end_the_others(
    uses: TokenUses, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    table.fault = ValueError()
    uses.note(7)
    assert table.refused.acquire(timeout=60)
    table.fault = None
    uses.note(8)
    assert table.arrived.acquire(timeout=60)
    assert table.ids == [8]
    assert "could not be written: 1" in caplog.text


def test_stop_writes_what_is_left(table: Table) -> None:
    uses = TokenUses(table)
    for identifier in range(100):
        uses.note(identifier)
    uses.start()
    uses.stop()
    assert sorted(table.ids) == list(range(100))


def test_stop_does_not_wait_for_a_database_that_is_away(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    table.fault = DatabaseUnavailable()
    uses = TokenUses(table)
    uses.start()
    uses.note(7)
    assert table.refused.acquire(timeout=60)
    uses.stop()
    assert "the last use of 1 tokens is lost" in caplog.text


def test_what_was_noted_is_forgotten_before_it_is_too_much(uses: TokenUses, table: Table) -> None:
    uses.note(0)
    assert table.arrived.acquire(timeout=60)
    for identifier in range(1, 10_001):
        uses.note(identifier)
    uses.note(0)  # costs one UPDATE more, and memory is bounded
    uses.stop()
    assert table.ids.count(0) == 2
    assert set(table.ids) == set(range(10_001))
