"""Schedules in a real PostgreSQL: whose is whose, what a change keeps, and the ledger as it is read."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from picloud.errors import Conflict, InvalidRequest, NotFound
from picloud.model import Missed, NewSchedule, Origin, Overlap, Schedule, SlotState, Upload
from picloud.storage import schedules
from picloud.storage.jobs import through
from picloud.storage.pool import Pool
from picloud.storage.schedule_table import ScheduleTable
from picloud.storage.schedules import Maker, ScriptSchedules
from picloud.storage.scripts import ScriptTable
from tests.fixtures_postgres import execute

DAILY = NewSchedule("daily", "one", cron="0 3 * * *")
EVERY = NewSchedule("often", "one", every="10 minutes")


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    with closing(Pool(database, size=2, wait_ms=5_000)) as ours:
        scripts = ScriptTable(ours)
        for name in ("one", "two"):
            scripts.put(name, Upload({"main.lua": b"return 1"}, name, "me"))
        yield ours


@pytest.fixture
def table(pool: Pool) -> ScheduleTable:
    return ScheduleTable(pool)


def script_id(database: str, name: str) -> int:
    return int(str(execute(database, "SELECT id FROM scripts WHERE name = %s", name)[0][0]))


def by_script(pool: Pool, database: str, script: str, *wanted: NewSchedule) -> None:
    with pool.transaction() as cursor:
        run, identifier = through(cursor), script_id(database, script)
        for it in wanted:
            ScriptSchedules(run, run, lambda: None).put(it, identifier)


def by_bundle(pool: Pool, database: str, script: str, *wanted: NewSchedule) -> None:
    with pool.transaction() as cursor:
        schedules.replace_own(through(cursor), Maker(Origin.BUNDLE, script_id(database, script)), wanted)


def names(table: ScheduleTable, **which: Any) -> list[str]:
    return [f"{it.name} {it.origin}" for it in table.page(100, "", **which)]


def test_a_schedule_is_stored_as_it_was_wanted(table: ScheduleTable) -> None:
    wanted = NewSchedule(
        "reports", "one", cron="*/5 * * * *", timezone="Europe/Berlin", payload=b'{"a":[1,null]}',
        overlap=Overlap.QUEUE, missed=Missed.RUN_ALL, missed_within_s=60, jitter_s=5,
    )  # fmt: skip
    before = datetime.now(UTC)
    made = table.add(wanted)
    assert {field: getattr(made, field) for field in NewSchedule.__dataclass_fields__} == {
        field: getattr(wanted, field) for field in NewSchedule.__dataclass_fields__
    }
    assert made.origin is Origin.API
    assert made.error == ""
    assert before <= made.anchor
    assert made.next_due
    assert before < made.next_due <= datetime.now(UTC) + timedelta(minutes=5)
    assert (made.next_due.minute % 5, made.next_due.second) == (0, 0)
    assert table.get("reports") == made
    assert table.page(10, "") == [made]


def test_an_interval_counts_from_the_moment_when_it_was_made(table: ScheduleTable) -> None:
    made = table.add(EVERY)
    assert made.next_due == made.anchor + timedelta(minutes=10)


@pytest.mark.parametrize(
    ("change", "keeps_anchor", "keeps_due"),
    [
        ({}, True, True),
        ({"payload": b"1", "overlap": Overlap.ALLOW, "missed": Missed.SKIP, "jitter_s": 9}, True, True),
        ({"script": "two"}, True, True),
        ({"every": "20 minutes"}, False, False),
        ({"every": None, "cron": "@daily"}, False, False),
        ({"timezone": "Asia/Tokyo"}, True, False),
    ],
)
def test_a_change_keeps_what_is_due_unless_it_is_due_at_other_times(
    table: ScheduleTable, database: str, change: dict[str, Any], keeps_anchor: bool, keeps_due: bool
) -> None:
    table.add(EVERY)
    execute(database, "UPDATE schedules SET anchor = anchor - interval '1 day', next_due = anchor - interval '1 hour'")
    before = table.get("often")
    now, is_new = table.put(replace(EVERY, **change))
    assert not is_new
    assert (now.anchor == before.anchor, now.next_due == before.next_due) == (keeps_anchor, keeps_due)
    assert now.next_due
    assert keeps_due or now.next_due > datetime.now(UTC) - timedelta(minutes=1)
    assert (now.updated_at == before.updated_at) is (change == {})
    assert now.created_at == before.created_at


def test_one_that_made_no_more_slots_does_so_again_once_it_is_written_anew(table: ScheduleTable, database: str) -> None:
    table.add(DAILY)
    execute(database, "UPDATE schedules SET next_due = NULL, error = 'no such zone'")
    now, _ = table.put(DAILY)
    assert now.error == ""
    assert now.next_due


def test_what_is_no_schedule_is_refused_by_its_fields(table: ScheduleTable) -> None:
    wanted = NewSchedule("No", "one", cron="61 * * * *", payload=b" " * 70_000, missed_within_s=-1, jitter_s=10**9)
    with pytest.raises(InvalidRequest) as caught:
        table.put(wanted)
    fields = [one["field"] for one in caught.value.errors]
    assert fields == ["name", "payload", "missed_within_s", "jitter_s", "cron"]


def test_a_schedule_of_no_script_is_not_found(table: ScheduleTable) -> None:
    for make in (table.add, table.put):
        with pytest.raises(NotFound, match="there is no script 'three'"):
            make(replace(DAILY, script="three"))
    for ask in (table.get, table.delete, lambda name: table.slots(name, 1)):
        with pytest.raises(NotFound, match="there is no schedule 'nothing'"):
            ask("nothing")


def test_a_name_is_made_once_by_post(table: ScheduleTable) -> None:
    table.add(DAILY)
    with pytest.raises(Conflict, match="there is a schedule 'daily' already"):
        table.add(DAILY)


def test_what_the_configuration_declares_is_made_changed_and_removed(table: ScheduleTable) -> None:
    assert table.declare([DAILY, EVERY, replace(DAILY, name="ahead", script="not-there-yet")]) == []
    assert names(table) == ["ahead config", "daily config", "often config"]
    before = table.get("often")
    assert table.declare([EVERY, replace(DAILY, cron="0 4 * * *")]) == []
    assert names(table) == ["daily config", "often config"]
    assert table.get("often") == before
    assert table.get("daily").cron == "0 4 * * *"
    assert table.declare([]) == []
    assert names(table) == []


def test_what_others_made_stays_as_it_is_and_the_rest_of_the_configuration_applies(
    table: ScheduleTable, pool: Pool, database: str
) -> None:
    table.add(replace(DAILY, name="api"))
    by_bundle(pool, database, "one", replace(DAILY, name="bundle"))
    by_script(pool, database, "two", replace(DAILY, name="script", script="two"))
    mine = ("api", "bundle", "script", "own")
    clashes = table.declare([replace(EVERY, name=name) for name in mine])
    assert len(clashes) == 3
    for clash, words in zip(
        clashes, ("made by the API", "picloud.toml of script 'one'", "run of script 'two'"), strict=True
    ):
        assert words in clash
    assert names(table) == ["api api", "bundle bundle", "own config", "script script"]
    assert table.declare([]) == []
    assert names(table) == ["api api", "bundle bundle", "script script"]


def test_the_api_changes_what_it_made_and_says_where_the_rest_is_declared(
    table: ScheduleTable, pool: Pool, database: str
) -> None:
    table.declare([replace(DAILY, name="config")])
    by_bundle(pool, database, "one", replace(DAILY, name="bundle"))
    by_script(pool, database, "one", replace(DAILY, name="script"))
    for name, words in (("config", "file of PICLOUD_CONFIG"), ("bundle", "picloud.toml"), ("script", "by a run of")):
        with pytest.raises(Conflict, match=words):
            table.put(replace(EVERY, name=name))
    with pytest.raises(Conflict, match="file of PICLOUD_CONFIG"):
        table.delete("config")
    table.delete("bundle")
    table.delete("script")
    assert names(table) == ["config config"]


def test_a_bundle_has_exactly_what_it_declares(table: ScheduleTable, pool: Pool, database: str) -> None:
    by_bundle(pool, database, "one", DAILY, EVERY)
    before = table.get("often")
    by_bundle(pool, database, "two", replace(DAILY, name="other", script="two"))
    by_bundle(pool, database, "one", EVERY, replace(DAILY, name="nightly"))
    assert names(table) == ["nightly bundle", "often bundle", "other bundle"]
    assert table.get("often") == before
    with pytest.raises(Conflict, match=r"picloud\.toml of script 'two'"):
        by_bundle(pool, database, "one", replace(DAILY, name="other"))
    by_bundle(pool, database, "one")
    assert names(table) == ["other bundle"]


def test_what_was_made_for_or_by_a_script_goes_with_it_and_the_configurations_stays(
    table: ScheduleTable, pool: Pool, database: str
) -> None:
    table.declare([replace(DAILY, name="config")])
    table.add(replace(DAILY, name="api"))
    by_bundle(pool, database, "one", replace(DAILY, name="bundle"))
    by_script(pool, database, "one", replace(DAILY, name="script"))
    table.add(replace(DAILY, name="of-two", script="two"))
    ScriptTable(pool).delete("one")
    assert names(table) == ["config config", "of-two api"]


def test_a_script_changes_its_own_alone(table: ScheduleTable, pool: Pool, database: str) -> None:
    by_script(pool, database, "one", DAILY)
    by_script(pool, database, "one", replace(DAILY, cron="0 4 * * *"))
    assert table.get("daily").cron == "0 4 * * *"
    with pytest.raises(Conflict, match="not yours"):
        by_script(pool, database, "two", replace(DAILY, script="two"))
    table.add(EVERY)
    with pytest.raises(Conflict, match="not yours"):
        by_script(pool, database, "one", EVERY)
    with pool.transaction() as cursor:
        run = through(cursor)
        own = ScriptSchedules(run, run, lambda: None)
        with pytest.raises(Conflict):
            own.remove("often", script_id(database, "one"))
        assert [it.name for it in own.own(script_id(database, "one"))] == ["daily"]
        assert own.remove("daily", script_id(database, "one"))
        assert not own.remove("daily", script_id(database, "one"))
    assert names(table) == ["often api"]


def test_a_script_makes_a_hundred_and_no_more(table: ScheduleTable, pool: Pool, database: str) -> None:
    by_script(pool, database, "one", *(replace(DAILY, name=f"daily-{n}") for n in range(100)))
    by_script(pool, database, "one", replace(EVERY, name="daily-7"))
    with pytest.raises(Conflict, match="at most 100"):
        by_script(pool, database, "one", replace(DAILY, name="one-more"))
    by_script(pool, database, "two", replace(DAILY, name="one-more", script="two"))


def test_a_script_that_is_gone_makes_none(pool: Pool, database: str) -> None:
    with pool.transaction() as cursor:
        run = through(cursor)
        own = ScriptSchedules(run, run, lambda: None)
        with pytest.raises(Conflict, match="deleted meanwhile"):
            own.put(DAILY, 10**9)


def test_a_limited_reader_knows_of_its_scripts_alone(table: ScheduleTable, database: str) -> None:
    table.add(DAILY)
    table.add(replace(DAILY, name="of-two", script="two"))
    slot(database, "daily", 1, SlotState.RAN)
    assert names(table, only={"two"}) == ["of-two api"]
    assert names(table, only={"one", "two"}, script="one") == ["daily api"]
    for ask in (table.get, table.delete):
        with pytest.raises(NotFound):
            ask("daily", {"two"})
    with pytest.raises(NotFound):
        table.slots("daily", 10, only={"two"})
    with pytest.raises(Conflict) as caught:
        table.put(replace(DAILY, script="two"), {"two"})
    assert "one" not in str(caught.value).split()
    assert table.slots("daily", 10, only={"one"})


def slot(database: str, name: str, hours_ago: int, state: SlotState, *, script: str = "one") -> datetime:
    due = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours_ago)
    insert = "INSERT INTO slots (schedule, due_at, script, state) VALUES (%s, %s, %s, %s)"
    execute(database, insert, name, due, script, str(state))
    return due


def test_the_ledger_is_read_newest_first_page_by_page(table: ScheduleTable, database: str) -> None:
    due = [slot(database, "daily", hours, SlotState.RAN if hours % 2 else SlotState.FAILED) for hours in range(1, 6)]
    table.add(DAILY)
    first = table.slots("daily", 3)
    assert [it.due_at for it in first] == due[:3]
    assert [it.due_at for it in table.slots("daily", 3, first[-1].due_at)] == due[3:]
    assert [it.due_at for it in table.slots("daily", 9, state=SlotState.FAILED)] == due[1::2]
    assert table.slots("daily", 9, state=SlotState.MISSED) == []
    assert (first[0].count, first[0].until, first[0].state) == (1, None, SlotState.RAN)


def test_the_ledger_outlives_the_schedule(table: ScheduleTable, database: str) -> None:
    table.add(DAILY)
    slot(database, "daily", 1, SlotState.RAN)
    table.delete("daily")
    assert [it.state for it in table.slots("daily", 9)] == [SlotState.RAN]
    assert table.slots("daily", 9, state=SlotState.MISSED) == []


def test_two_who_make_one_of_a_name_at_once_make_one(table: ScheduleTable, pool: Pool) -> None:
    with pool.transaction() as cursor:
        run = through(cursor)
        made, is_new = schedules.put(run, DAILY, Maker(Origin.CONFIG))
        assert isinstance(made, Schedule)
        assert is_new
        assert table.page(9, "") == []  # of another transaction
    with pytest.raises(Conflict, match="PICLOUD_CONFIG"):
        table.put(DAILY)
