"""Events in a real PostgreSQL: each once, and one job for each script that hears of it, with it or not at all."""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from picloud.declared import Declared
from picloud.errors import InvalidRequest, NotFound
from picloud.model import (
    EVENT_DEPTH_MAX,
    Event,
    EventFilter,
    Invocation,
    Outcome,
    Published,
    Request,
    Trigger,
    Upload,
    new_id,
)
from picloud.storage.events import EventTable, publish, publish_all, publish_own
from picloud.storage.jobs import through
from picloud.storage.pool import Pool
from picloud.storage.scripts import ScriptTable
from picloud.storage.subscriptions import SubscriptionTable
from picloud.storage.unit_of_work import UnitsOfWork
from picloud.subscriptions import SubscriptionWanted

ONE = Event("1", "/shop", "order.created", "7", datacontenttype="application/json", data='{"total": 5}')
DUPLICATE = Published(duplicate=True, jobs=0)


def published(jobs: int) -> Published:
    return Published(duplicate=False, jobs=jobs)


@pytest.fixture
def table(pool: Pool) -> EventTable:
    return EventTable(pool, keep_days=30, keep_rows=1_000)


@pytest.fixture
def subscriptions(pool: Pool, scripts: ScriptTable) -> SubscriptionTable:
    for name in ("mail", "stock"):
        scripts.put(name, Upload({"main.lua": b"return 1"}, name, "me"))
    execute_all(pool, "DELETE FROM events")  # of these uploads
    return SubscriptionTable(pool)


@pytest.fixture
def units(database: str) -> Iterator[UnitsOfWork]:
    with closing(UnitsOfWork(database, size=4, wait_ms=10_000)) as ours:
        yield ours


def execute_all(pool: Pool, statement: str) -> list[tuple[object, ...]]:
    with pool.transaction() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def jobs(pool: Pool) -> list[tuple[str, Request]]:
    with pool.transaction() as cursor:
        cursor.execute("SELECT script, request FROM jobs ORDER BY id")
        return [(name, msgspec.msgpack.decode(bytes(it), type=Request)) for name, it in cursor.fetchall()]


def test_each_script_that_is_subscribed_gets_one_job(
    table: EventTable, subscriptions: SubscriptionTable, pool: Pool
) -> None:
    for pattern in ("order.*", "order.created", "*"):
        subscriptions.add("mail", SubscriptionWanted(pattern))
    subscriptions.add("stock", SubscriptionWanted("order.*", "/shop", "7"))
    assert table.publish([ONE], 2) == [published(2)]
    (mail, request), (stock, same) = jobs(pool)
    assert (mail, stock, same) == ("mail", "stock", request)
    assert (request.trigger, request.body, request.event_depth) == (Trigger.EVENT, b'{"total": 5}', 2)
    assert msgspec.json.decode(request.event)["subject"] == "7"


@pytest.mark.parametrize(
    "wanted",
    [
        SubscriptionWanted("order"),
        SubscriptionWanted("stock.*"),
        SubscriptionWanted("*", "/other"),
        SubscriptionWanted("*", "/shop", "8"),
    ],
)
def test_who_asked_for_something_else_gets_none(
    table: EventTable, subscriptions: SubscriptionTable, pool: Pool, wanted: SubscriptionWanted
) -> None:
    subscriptions.add("mail", wanted)
    assert table.publish([ONE], 1) == [published(0)]
    assert jobs(pool) == []


def test_a_source_and_id_are_there_once(table: EventTable, subscriptions: SubscriptionTable, pool: Pool) -> None:
    subscriptions.add("mail", SubscriptionWanted("*"))
    other_source, other_id = replace(ONE, source="/other"), replace(ONE, id="2")
    told = table.publish([ONE, other_source, replace(ONE, type="order.paid"), other_id], 1)
    assert told == [published(1), published(1), DUPLICATE, published(1)]
    assert table.publish([replace(ONE, data="{}")], 1) == [DUPLICATE]
    assert len(jobs(pool)) == 3
    found = {(it.event.source, it.event.id): it.event for it in table.page(EventFilter(), 9, None)}
    assert found == {("/shop", "1"): ONE, ("/other", "1"): other_source, ("/shop", "2"): other_id}


def test_twins_at_once_are_published_once(table: EventTable, subscriptions: SubscriptionTable, pool: Pool) -> None:
    subscriptions.add("mail", SubscriptionWanted("*"))
    together = threading.Barrier(4)

    def send(_: int) -> list[Published]:
        together.wait()
        return table.publish([replace(ONE, id=str(number)) for number in range(20)], 1)

    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(send, range(4)))
    for number in range(20):
        assert sorted(answers[number].jobs for answers in told) == [0, 0, 0, 1]
        assert sum(answers[number].duplicate for answers in told) == 3
    assert len(jobs(pool)) == 20


def test_a_twin_that_is_not_committed_is_waited_for(
    table: EventTable, subscriptions: SubscriptionTable, pool: Pool
) -> None:
    subscriptions.add("mail", SubscriptionWanted("*"))
    with ThreadPoolExecutor(1) as threads:
        with pool.transaction() as first:
            assert publish(through(first), ONE, 1) == published(1)
            second = threads.submit(table.publish, [ONE], 1)
            wait_for_a_lock(pool)
            first.execute("ROLLBACK; BEGIN")
        assert second.result() == [published(1)]
    assert len(jobs(pool)) == 1


def wait_for_a_lock(pool: Pool) -> None:
    until = time.monotonic() + 60
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while execute_all(pool, waiting) == [(0,)]:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_batches_in_another_order_do_not_wait_for_each_other(table: EventTable) -> None:
    batch = [replace(ONE, id=str(number)) for number in range(50)]
    for attempt in range(10):
        ours = [replace(it, source=f"/{attempt}") for it in batch]
        together = threading.Barrier(2)

        def send(events: list[Event], together: threading.Barrier = together) -> list[Published]:
            together.wait()
            return table.publish(events, 1)

        with ThreadPoolExecutor(2) as threads:
            told = list(threads.map(send, (ours, ours[::-1])))
        assert sum(it.duplicate for answers in told for it in answers) == 50


def test_an_event_is_kept_as_it_came(table: EventTable) -> None:
    whole = replace(
        ONE, time="2026-01-31T12:00:00.123456789+01:00", dataschema="https://example.org/s", data=b"\xff\0",
        datacontenttype="image/png", extensions={"a": "x", "b": True, "c": 7, "d": False, "e": 1},
    )  # fmt: skip
    bare = Event("bare", "/shop", "x")
    text = replace(ONE, id="text", data="ü\0", datacontenttype="text/plain")
    table.publish([whole, bare, text], 3)
    found = table.page(EventFilter(), 9, None)
    assert {it.event.id: it.event for it in found} == {"1": whole, "bare": bare, "text": text}
    kept = next(it for it in found if it.event.id == "1")
    assert [type(value) for value in kept.event.extensions.values()] == [str, bool, int, bool, int]
    assert (kept.depth, table.get(kept.number)) == (3, kept)
    with pytest.raises(NotFound):
        table.get(999_999)


def test_events_are_listed_newest_first_by_what_they_are(table: EventTable) -> None:
    for at, (kind, source) in enumerate([("a.b", "/x"), ("a.c", "/x/y"), ("b", "/x"), ("a_b", "/z")]):
        table.publish([Event(str(at), source, kind)], 1)

    def ids(limit: int = 9, after: int | None = None, **wanted: str) -> list[str]:
        return [it.event.id for it in table.page(EventFilter(**wanted), limit, after)]

    assert ids() == ["3", "2", "1", "0"]
    first = table.page(EventFilter(), 2, None)
    assert ids(2, first[-1].number) == ["1", "0"]
    assert ids(type="a.*") == ["1", "0"]
    assert ids(type="b") == ["2"]
    assert ids(source="/x") == ["2", "0"]
    assert ids(source="/x*", type="*") == ["2", "1", "0"]
    assert ids(source="/x", id="0") == ["0"]


def test_events_that_lead_to_each_other_come_to_an_end(
    table: EventTable, subscriptions: SubscriptionTable, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    subscriptions.add("mail", SubscriptionWanted("*"))
    assert table.publish([ONE], EVENT_DEPTH_MAX) == [published(1)]
    with pytest.raises(InvalidRequest, match="loop"):
        table.publish([replace(ONE, id="2")], EVENT_DEPTH_MAX + 1)
    with caplog.at_level(logging.WARNING), pool.transaction() as cursor:
        publish_own(through(cursor), "picloud.job.dead", "mail", {}, EVENT_DEPTH_MAX + 1)
    assert "picloud.job.dead of 'mail' is not published: 16 events led to it" in caplog.text
    assert len(table.page(EventFilter(), 9, None)) == 1


def test_an_invocations_event_is_there_with_its_commit_and_its_jobs_are_told_of(
    units: UnitsOfWork, table: EventTable, subscriptions: SubscriptionTable, pool: Pool
) -> None:
    rung: list[bool] = []
    units.ring = lambda: rung.append(True)
    subscriptions.add("mail", SubscriptionWanted("order.*"))
    for event, commits in ((ONE, False), (replace(ONE, type="nobody.hears"), True), (replace(ONE, id="2"), True)):
        with closing(units.begin(time.monotonic() + 60)) as work:
            work.events.publish(event, 1)
            if commits:
                work.commit(
                    Invocation(new_id(), "x", 1, Trigger.HTTP, Outcome.OK, 200, datetime.now(UTC), 0.0, 0.0, 0.0, 0)
                )
    assert [it.event.id for it in table.page(EventFilter(), 9, None)] == ["2", "1"]
    assert (len(jobs(pool)), rung) == (1, [True])


def test_a_script_that_goes_hears_of_nothing_more(
    table: EventTable, subscriptions: SubscriptionTable, scripts: ScriptTable
) -> None:
    subscriptions.add("mail", SubscriptionWanted("*"))
    scripts.delete("mail")
    assert subscriptions.page(9, 0) == []
    assert table.publish([ONE], 1) == [published(0)]


def test_what_is_deployed_is_told_in_the_same_commit(
    table: EventTable, subscriptions: SubscriptionTable, scripts: ScriptTable, pool: Pool
) -> None:
    subscriptions.add("mail", SubscriptionWanted("picloud.script.*"))

    def deployed() -> list[object]:
        found = table.page(EventFilter(), 99, None)
        assert {(it.event.source, it.event.type) for it in found} <= {("/picloud", "picloud.script.deployed")}
        return [msgspec.json.decode(it.event.data or "") for it in found][::-1]

    def upload(text: str, *, activate: bool = True) -> Upload:
        return Upload({"main.lua": text.encode()}, text, "me", activate)

    scripts.put("stock", upload("2"))
    scripts.put("stock", upload("2"))  # the same
    scripts.put("stock", upload("3", activate=False))
    assert deployed() == [{"script": "stock", "version": 2}]
    scripts.activate("stock", 3)
    scripts.activate("stock", 3)
    scripts.activate("stock", 1)
    with pytest.raises(NotFound):
        scripts.activate("stock", 9)
    assert deployed()[1:] == [{"script": "stock", "version": 3}, {"script": "stock", "version": 1}]
    assert [name for name, _ in jobs(pool)] == ["mail"] * 3
    itself = SubscriptionWanted("picloud.script.deployed", subject="new")
    scripts.put("new", upload("1"), declared=Declared(subscriptions=[itself]))
    assert [name for name, _ in jobs(pool)][3:] == ["mail", "new"], "it holds what its first version declares"


def test_old_events_go_and_so_do_those_beyond_what_is_kept(pool: Pool) -> None:
    table = EventTable(pool, keep_days=1, keep_rows=3)
    table.publish([replace(ONE, id=f"{number}") for number in range(10, 16)], 1)
    assert table.expire() == 3
    assert table.expire() == 0
    assert [it.event.id for it in table.page(EventFilter(), 99, None)] == ["15", "14", "13"]
    execute_all(pool, "UPDATE events SET published_at = now() - interval '25 hours' WHERE id = '14'")
    assert table.expire() == 1
    table.vacuum()
    assert [it.event.id for it in table.page(EventFilter(), 99, None)] == ["15", "13"]
    assert table.publish([replace(ONE, id="14")], 1) == [published(0)], "what is forgotten can be published anew"


def test_several_are_published_in_the_order_of_their_coming(subscriptions: SubscriptionTable, pool: Pool) -> None:
    subscriptions.add("mail", SubscriptionWanted("*"))
    with pool.transaction() as cursor:
        publish_all(through(cursor), [replace(ONE, id=name) for name in ("c", "a", "b")], 1)
    assert [msgspec.json.decode(request.event)["id"] for _, request in jobs(pool)] == ["c", "a", "b"]
