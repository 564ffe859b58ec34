"""Invocations and log lines as they are looked for, followed and dropped, in a real PostgreSQL."""

import queue
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from picloud.errors import DatabaseUnavailable
from picloud.model import (
    Invocation,
    InvocationFilter,
    Level,
    LineFilter,
    LinePage,
    LogLine,
    Outcome,
    Record,
    StoredLine,
    Trigger,
    new_id,
)
from picloud.storage import logs
from picloud.storage.connection import connect
from picloud.storage.invocations import InvocationTable, first_id_at
from picloud.storage.logs import LogTable
from picloud.storage.pool import Pool
from tests.fixtures_postgres import execute

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
WAIT_S = 60


def record(
    script: str = "a",
    *texts: str,
    minute: int = 0,
    level: Level = Level.INFO,
    outcome: Outcome = Outcome.OK,
    trigger: Trigger = Trigger.HTTP,
) -> Record:
    """One that ran some minutes after noon, with these lines."""
    at = NOON + timedelta(minutes=minute)
    invocation = Invocation(first_id_at(at)[:14] + new_id()[14:], script, 1, trigger, outcome, 200, at, 0, 0, 0, 0)
    return Record(invocation, tuple(LogLine(at, level, text, "") for text in texts))


def texts(found: Sequence[StoredLine]) -> list[str]:
    return [line.message for line in found]


SCRIPT_A, SCRIPT_B = InvocationFilter(script="a"), InvocationFilter(script="b")


@pytest.mark.parametrize(
    ("wanted", "minutes"),
    [
        (InvocationFilter(), [5, 4, 3, 2, 1]),
        (SCRIPT_A, [5, 3, 1]),
        (InvocationFilter(scripts=frozenset({"b", "c"})), [4, 2]),
        (InvocationFilter(scripts=frozenset()), []),
        (InvocationFilter(script="a", scripts=frozenset({"b"})), []),
        (InvocationFilter(outcome=Outcome.TIMEOUT), [3]),
        (InvocationFilter(outcome=Outcome.OK), [5, 4, 2, 1]),
        (InvocationFilter(trigger=Trigger.INVOKE), [5]),
        (InvocationFilter(since=NOON + timedelta(minutes=4)), [5, 4]),
        (InvocationFilter(until=NOON + timedelta(minutes=4)), [3, 2, 1]),
        (InvocationFilter(script="a", since=NOON + timedelta(minutes=2), until=NOON + timedelta(minutes=5)), [3]),
        (InvocationFilter(since=datetime(1, 1, 2, tzinfo=UTC)), [5, 4, 3, 2, 1]),
        (InvocationFilter(until=datetime(9999, 12, 31, tzinfo=UTC)), [5, 4, 3, 2, 1]),
    ],
)  # fmt: skip
def test_invocations_are_found_by_what_they_are(
    invocations: InvocationTable, wanted: InvocationFilter, minutes: list[int]
) -> None:
    invocations.add(
        [
            record("a", minute=1),
            record("b", minute=2),
            record("a", minute=3, outcome=Outcome.TIMEOUT),
            record("b", minute=4),
            record("a", minute=5, trigger=Trigger.INVOKE),
        ]
    )
    assert [it.started_at.minute for it in invocations.page(wanted, 10, "")] == minutes


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (LineFilter(), ["four", "three", "two", "one"]),
        (LineFilter(script="a"), ["three", "one"]),
        (LineFilter(scripts=frozenset({"b"})), ["four", "two"]),
        (LineFilter(scripts=frozenset()), []),
        (LineFilter(script="a", scripts=frozenset({"b"})), []),
        (LineFilter(level=Level.DEBUG), ["four", "three", "two", "one"]),
        (LineFilter(level=Level.INFO), ["four", "three", "two"]),
        (LineFilter(level=Level.WARN), ["four", "three"]),
        (LineFilter(level=Level.ERROR), ["four"]),
        (LineFilter(since=NOON + timedelta(minutes=3)), ["four", "three"]),
        (LineFilter(until=NOON + timedelta(minutes=3)), ["two", "one"]),
    ],
)
def test_lines_are_found_by_what_they_are(
    invocations: InvocationTable, lines: LogTable, wanted: LineFilter, expected: list[str]
) -> None:
    invocations.add(
        [
            record("a", "one", minute=1, level=Level.DEBUG),
            record("b", "two", minute=2),
            record("a", "three", minute=3, level=Level.WARN),
            record("b", "four", minute=4, level=Level.ERROR),
        ]
    )
    assert texts(lines.page(wanted, 10, 0)) == expected
    assert texts(lines.following(wanted, 0, 10).lines) == expected[::-1]


def test_pages_stay_as_they_were_while_more_is_written(invocations: InvocationTable, lines: LogTable) -> None:
    invocations.add([record("a", str(minute), minute=minute) for minute in range(6)])
    first, first_lines = invocations.page(InvocationFilter(), 3, ""), lines.page(LineFilter(), 3, 0)
    invocations.add([record("a", "new", minute=30)])
    rest = invocations.page(InvocationFilter(), 10, first[-1].id)
    assert [it.started_at.minute for it in first + rest] == [5, 4, 3, 2, 1, 0]
    assert texts(first_lines + lines.page(LineFilter(), 10, first_lines[-1].id)) == ["5", "4", "3", "2", "1", "0"]


def test_a_follower_begins_behind_all_there_is_or_with_the_newest(
    invocations: InvocationTable, lines: LogTable
) -> None:
    assert lines.before_newest(LineFilter(), 5) == 0
    invocations.add([record("a", "1"), record("b", "2"), record("a", "3"), record("b", "4")])
    for wanted, count, begun in (
        (LineFilter(), 0, []),
        (LineFilter(), 3, ["2", "3", "4"]),
        (LineFilter(), 9, ["1", "2", "3", "4"]),
        (LineFilter(script="a"), 1, ["3"]),
        (LineFilter(script="none"), 5, []),
    ):
        page = lines.following(wanted, lines.before_newest(wanted, count), 100)
        assert (texts(page.lines), page.cursor, page.more) == (begun, 4, False)


def test_a_follower_reads_page_by_page_and_does_not_read_again_what_is_not_wanted(
    invocations: InvocationTable, lines: LogTable
) -> None:
    invocations.add([record("a", "1", "2", "3"), record("b", "not")])
    first = lines.following(LineFilter(script="a"), 0, 2)
    assert (texts(first.lines), first.cursor, first.more) == (["1", "2"], 2, True)
    rest = lines.following(LineFilter(script="a"), first.cursor, 2)
    assert (texts(rest.lines), rest.cursor, rest.more) == (["3"], 4, False)
    assert lines.following(LineFilter(script="a"), rest.cursor, 2) == LinePage((), 4, more=False)
    with lines._pool.transaction() as change:
        change.execute("DELETE FROM log_lines")
    assert lines.following(LineFilter(), rest.cursor, 2) == LinePage((), 4, more=False)


def test_a_page_of_long_lines_is_a_short_one(invocations: InvocationTable, lines: LogTable) -> None:
    invocations.add([record("a", *(f"{number}{'x' * 100_000}" for number in range(7)))])
    seen: list[str] = []
    page = LinePage((), 0, more=True)
    while page.more:
        page = lines.following(LineFilter(), page.cursor, 100)
        assert len(page.lines) <= 3
        seen += [line.message[0] for line in page.lines]
    assert seen == [str(number) for number in range(7)]


def test_of_many_writers_a_follower_loses_and_doubles_no_line(
    database: str, invocations: InvocationTable, lines: LogTable
) -> None:
    writers, batches = 6, 40
    problems: list[BaseException] = []

    def write(name: int) -> None:
        try:
            with closing(Pool(database, size=1, wait_ms=5_000)) as own:
                for number in range(batches):
                    InvocationTable(own).add([record("a", f"{name}/{number}/{line}") for line in range(3)])
        except BaseException as error:  # noqa: BLE001 - told below
            problems.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(writers)]
    for thread in threads:
        thread.start()
    seen: list[StoredLine] = []
    page = LinePage((), 0, more=True)
    while any(thread.is_alive() for thread in threads):
        page = lines.following(LineFilter(), page.cursor, 100)
        seen += page.lines
    while (page := lines.following(LineFilter(), page.cursor, 100)).lines:
        seen += page.lines
    assert not problems
    assert len(seen) == writers * batches * 3
    assert texts(seen) == texts(lines.page(LineFilter(), 10_000, 0)[::-1])


def test_who_listens_is_told_of_each_batch_with_lines(database: str, invocations: InvocationTable) -> None:
    news: queue.Queue[str] = queue.Queue()
    listener = logs.listen(database, lambda: news.put("news"))
    listener.start()
    try:
        assert news.get(timeout=WAIT_S) == "news"  # it listens: look again
        invocations.add([record("a")])
        invocations.add([record("a", "line")])
        assert news.get(timeout=WAIT_S) == "news"
        invocations.add([record("a", "line")])
        assert news.get(timeout=WAIT_S) == "news"
        assert news.empty()
    finally:
        listener.stop()


def test_when_nobody_listens_nothing_is_sent(database: str, invocations: InvocationTable) -> None:
    with closing(connect(database)) as spy, spy.cursor() as cursor:
        cursor.execute(f"LISTEN {logs.CHANNEL}")  # without the lock that followers hold
        invocations.add([record("a", "line")])
        cursor.execute("SELECT 1")
        assert spy.notifies == []
        cursor.execute("SELECT pg_advisory_lock_shared(%s)", (logs._FOLLOWED,))
        invocations.add([record("a", "line")])
        cursor.execute("SELECT 1")
        assert [it.channel for it in spy.notifies] == [logs.CHANNEL]


def test_a_writer_that_stops_in_the_middle_does_not_hold_up_the_others(
    database: str, pool: Pool, invocations: InvocationTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_FROZEN_MS", 1500)  # also the time that the other may stop in the middle

    def stop_in_the_middle() -> None:
        with pool.transaction() as cursor:
            logs.write(cursor, [record("a", "never written")])
            invocations.add([record("a", "written")])

    with pytest.raises(DatabaseUnavailable):
        stop_in_the_middle()
    assert [row[0] for row in execute(database, "SELECT message FROM log_lines")] == ["written"]


def test_lines_without_a_record_go_with_their_time(invocations: InvocationTable, lines: LogTable, pool: Pool) -> None:
    orphan, young = record("a", "orphan"), replace_now(record("a", "young"))
    with pool.transaction() as cursor:
        logs.write(cursor, [orphan])
    invocations.add([young])
    assert invocations.expire(7, 1000) == 1
    assert texts(lines.page(LineFilter(), 10, 0)) == ["young"]
    assert invocations.expire(7, 1000) == 0


def test_of_lines_ten_times_as_many_as_rows_are_kept(invocations: InvocationTable, lines: LogTable) -> None:
    invocations.add([replace_now(record("a", *(str(number) for number in range(25))))])
    assert invocations.expire(7, 1) == 15
    assert texts(lines.page(LineFilter(), 100, 0)) == [str(number) for number in range(24, 14, -1)]
    assert len(invocations.page(InvocationFilter(), 10, "")) == 1
    assert invocations.expire(7, 1) == 0


def replace_now(it: Record) -> Record:
    return replace(it, invocation=replace(it.invocation, id=new_id()))
