"""Retention: after the first batch and then by what was written, beside the writing, whatever becomes of it."""

import threading

import pytest

from picloud.errors import TransactionConflict
from picloud.orchestrator.retention import Retention


class Table:
    """Has so many chunks that are too old."""

    def __init__(self, chunks: int = 0) -> None:
        self.chunks = chunks
        self.asked: list[tuple[int, int]] = []
        self.vacuumed = 0
        self.failing = False
        self.done = threading.Semaphore(0)

    def expire(self, keep_days: int, keep_rows: int) -> int:
        self.asked.append((keep_days, keep_rows))
        if self.failing:
            self.done.release()
            raise TransactionConflict
        if self.chunks == 0:
            if not self.vacuumed and len(self.asked) == 1:
                self.done.release()
            return 0
        self.chunks -= 1
        return 5000

    def vacuum(self) -> None:
        self.vacuumed += 1
        self.done.release()


class Expiring:
    """Has so many chunks that nobody sees any more."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks
        self.vacuumed = 0
        self.done = threading.Semaphore(0)

    def expire(self) -> int:
        self.chunks = max(0, self.chunks - 1)
        return self.chunks

    def vacuum(self) -> None:
        self.vacuumed += 1
        self.done.release()


def test_the_first_batch_cleans_until_nothing_is_left() -> None:
    table = Table(chunks=3)
    Retention(table, keep_days=7, keep_rows=100).wrote(1)
    assert table.done.acquire(timeout=60)
    assert (table.asked, table.chunks, table.vacuumed) == ([(7, 100)] * 4, 0, 1)


def test_what_expires_by_itself_gets_its_space_back_at_every_turn() -> None:
    table, values = Table(), Expiring(chunks=2)
    Retention(table, keep_days=7, keep_rows=100, also=[values]).wrote(1)
    assert values.done.acquire(timeout=5)
    assert (values.chunks, values.vacuumed) == (0, 1)


def test_it_comes_again_after_many_records_only() -> None:
    table = Table()
    retention = Retention(table, keep_days=7, keep_rows=100)
    retention.wrote(1)
    assert table.done.acquire(timeout=60)
    retention.wrote(9_998)
    assert len(table.asked) == 1


def test_a_failure_is_told_and_ends_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    table = Table()
    table.failing = True
    retention = Retention(table, keep_days=7, keep_rows=100)
    retention.wrote(1)
    assert table.done.acquire(timeout=60)
    assert retention._thread
    retention._thread.join(60)
    assert "cut short" in caplog.text
    table.failing = False
    retention.wrote(10_000)
    assert retention._thread
    retention._thread.join(60)
    assert len(table.asked) == 2
