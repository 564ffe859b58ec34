"""Records: batched, kept while the database is away, bounded, flushed at stop."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from picloud.errors import DatabaseUnavailable
from picloud.model import Invocation, KeptRequest, Level, LogLine, Outcome, Record, Request, Trigger, new_id
from picloud.orchestrator.record import Recorder

PATIENCE_S = 60


class Table:
    """Where batches arrive; `away` refuses them."""

    def __init__(self) -> None:
        self.batches: list[list[Record]] = []
        self.arrived = threading.Semaphore(0)
        self.refused = threading.Semaphore(0)
        self.away = False
        self.broken = False

    def mark(self, invocation: Invocation) -> None:
        self.add([Record(invocation, ())])

    def add(self, records: Sequence[Record]) -> None:
        if self.away:
            self.refused.release()
            raise DatabaseUnavailable()
        if self.broken:
            self.broken = False
            self.refused.release()
            raise ValueError
        self.batches.append(list(records))
        self.arrived.release()

    @property
    def records(self) -> list[Record]:
        return [record for batch in self.batches for record in batch]


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def recorder(table: Table) -> Iterator[Recorder]:
    ours = Recorder(table, lambda _: None)
    ours.start()
    yield ours
    ours.stop()


def record(text: str = "") -> Record:
    now = datetime.now(UTC)
    invocation = Invocation(new_id(), "a", 1, Trigger.HTTP, Outcome.OK, 200, now, 0, 0, 0, 0)
    return Record(invocation, (LogLine(now, Level.INFO, text, ""),) if text else ())


def test_records_of_a_moment_are_written_together(recorder: Recorder, table: Table) -> None:
    sent = [record() for _ in range(50)]
    for one in sent:
        recorder.add(one)
    assert table.arrived.acquire(timeout=60)
    assert table.batches == [sent]


def test_what_is_waited_for_is_written_when_the_wait_ends(recorder: Recorder, table: Table) -> None:
    for _ in range(20):
        sent = record()
        recorder.add(sent)
        recorder.wait_until_written(PATIENCE_S)
        assert table.records[-1] is sent
    recorder.wait_until_written(PATIENCE_S)  # for nothing


def test_a_wait_ends_while_the_database_is_away(recorder: Recorder, table: Table) -> None:
    table.away = True
    recorder.add(record())
    recorder.wait_until_written(0.01)
    assert table.records == []
    table.away = False
    recorder.wait_until_written(PATIENCE_S)
    assert len(table.records) == 1


def test_a_wait_ends_when_what_was_waited_for_is_lost(table: Table) -> None:
    table.away = True
    recorder = Recorder(table, lambda _: None)
    recorder.start()
    recorder.add(record())
    waiting = threading.Thread(target=recorder.wait_until_written, args=(10 * PATIENCE_S,))
    waiting.start()
    recorder.stop()
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()


def test_stop_writes_what_is_left(table: Table) -> None:
    recorder = Recorder(table, lambda _: None)
    recorder.start()
    sent = [record() for _ in range(2500)]
    for one in sent:
        recorder.add(one)
    recorder.stop()
    assert table.records == sent


def test_records_wait_for_a_database_that_is_away(recorder: Recorder, table: Table) -> None:
    table.away = True
    first, second = record(), record()
    recorder.add(first)
    assert table.refused.acquire(timeout=60)
    recorder.add(second)
    table.away = False
    assert table.arrived.acquire(timeout=60)
    assert table.records == [first, second]


def test_stop_does_not_wait_for_a_database_that_is_away(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    table.away = True
    recorder = Recorder(table, lambda _: None)
    recorder.start()
    recorder.add(record())
    recorder.stop()
    assert "records lost at stop" in caplog.text


def test_a_batch_that_cannot_be_written_does_not_stop_the_next(
    recorder: Recorder, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    table.broken = True
    recorder.add(record())
    assert table.refused.acquire(timeout=60)
    after = record()
    recorder.add(after)
    assert table.arrived.acquire(timeout=60)
    assert table.records == [after]
    assert "could not be written" in caplog.text


def test_memory_is_bounded_while_the_database_is_away(
    recorder: Recorder, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    table.away = True
    text = "x" * 1024 * 1024
    for _ in range(40):
        recorder.add(record(text))
    assert table.refused.acquire(timeout=60)
    table.away = False
    recorder.stop()
    assert len(table.records) == 40
    assert 25 <= sum(len(one.lines) for one in table.records) <= 32
    assert "invocations lost their log lines or request, 0 their record" in caplog.text


def test_requests_count_towards_that_bound_and_towards_retention(table: Table) -> None:
    told: list[int] = []
    recorder = Recorder(table, told.append)
    request = Request(new_id(), "POST", "/", "", (), b"x" * 1024 * 1024)
    with_request = replace(record(), request=KeptRequest(request, len(request.body), cut=False, masked=False))
    for _ in range(40):
        recorder.add(with_request)
    recorder.start()
    recorder.stop()
    kept = sum(one.request is not None for one in table.records)
    assert 25 <= kept <= 32
    assert sum(told) >= 40 + 256 * kept, "as much as so many records"


def test_answers_that_are_kept_count_for_the_cleaning_by_their_size(table: Table) -> None:
    told: list[int] = []
    recorder = Recorder(table, told.append)
    recorder.start()
    recorder.add(replace(record(), kept_bytes=1024 * 1024))
    recorder.stop()
    assert told == [257]
