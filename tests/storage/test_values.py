"""Values as the control plane has them, and how they go: with their script, with their time."""

import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from picloud.errors import NotFound, PreconditionFailed, SpaceFull
from picloud.model import SPACE_BYTES_MAX, Upload, Value, own_space
from picloud.storage.pool import Pool
from picloud.storage.scripts import ScriptTable
from picloud.storage.unit_of_work import UnitOfWork, UnitsOfWork
from picloud.storage.values import ValueTable
from tests.fixtures_postgres import execute
from tests.storage.test_kv import PATIENCE_S, commit, expire, rows, usage

ONE = Value.of_number(1)


@pytest.fixture
def values(pool: Pool, scripts: ScriptTable) -> ValueTable:
    for name in ("a", "b"):
        scripts.put(name, Upload({"main.lua": b"return 1"}, "1", "me"))
    return ValueTable(pool)


@pytest.fixture
def work(database: str) -> Iterator[UnitOfWork]:
    """The transaction of an invocation."""
    with closing(UnitsOfWork(database, size=1, wait_ms=10_000)) as units, closing(begin(units)) as ours:
        yield ours


def begin(units: UnitsOfWork) -> UnitOfWork:
    return units.begin(time.monotonic() + PATIENCE_S)


def anything(_version: int | None) -> None:
    """Whatever is there is right."""


def put(values: ValueTable, key: str, value: Value = ONE, ttl_ms: int | None = None, script: str = "a") -> int:
    return values.put(script, "", key, value, ttl_ms, anything).version


def space_of(scripts: ScriptTable, name: str) -> str:
    program = scripts.program(name)
    assert program
    return own_space(program.script_id)


def test_a_value_is_stored_listed_and_removed(database: str, values: ValueTable) -> None:
    version = put(values, "k")
    assert values.get("a", "", "k").version == version
    assert [it.key for it in values.page("a", "", "", "", 10)] == ["k"]
    assert values.page("b", "", "", "", 10) == []
    assert usage(database) == rows(database)
    values.delete("a", "", "k", anything)
    assert usage(database) == rows(database) == {}


def test_what_is_missing_is_named(values: ValueTable) -> None:
    for ask in (lambda: values.get("a", "", "k"), lambda: values.delete("a", "", "k", anything)):
        with pytest.raises(NotFound, match="script 'a' has no 'k'"):
            ask()
    with pytest.raises(NotFound, match="there is no script 'c'"):
        values.page("c", "", "", "", 10)


def test_who_asks_is_shown_the_version_that_is_there(database: str, values: ValueTable) -> None:
    seen: list[int | None] = []
    values.put("a", "", "k", ONE, None, seen.append)
    version = values.put("a", "", "k", ONE, 3_600_000, seen.append).version
    values.put("a", "", "k", ONE, 3_600_000, seen.append)
    expire(database, "k")
    values.put("a", "", "k", ONE, None, seen.append)
    assert (seen[0], seen[2], seen[3]) == (None, version, None)


def test_a_check_that_fails_leaves_all_as_it_was(database: str, values: ValueTable) -> None:
    def refuse(_version: int | None) -> None:
        raise PreconditionFailed

    version = put(values, "k")
    with pytest.raises(PreconditionFailed):
        values.put("a", "", "k", Value.of_number(2), None, refuse)
    with pytest.raises(PreconditionFailed):
        values.delete("a", "", "k", refuse)
    assert (values.get("a", "", "k").version, values.get("a", "", "k").value) == (version, ONE)


def test_a_full_space_stays_as_it_was(database: str, values: ValueTable, scripts: ScriptTable) -> None:
    execute(database, "INSERT INTO kv_usage VALUES (%s, 0, %s)", space_of(scripts, "a"), SPACE_BYTES_MAX)
    with pytest.raises(SpaceFull):
        put(values, "k")
    assert rows(database) == {}


def test_a_shared_space_is_there_for_scripts_that_are_granted_it(values: ValueTable, scripts: ScriptTable) -> None:
    scripts.change_settings("a", lambda _: {"kv": ["orders"]})
    values.put("a", "orders", "k", ONE, None, anything)
    assert values.page("a", "", "", "", 10) == []
    for script, space in (("b", "orders"), ("a", "others")):
        with pytest.raises(NotFound, match="its setting 'kv' does not name it"):
            values.get(script, space, "k")
    scripts.change_settings("b", lambda _: {"kv": ["orders"]})
    assert values.get("b", "orders", "k").value == ONE


def test_a_script_takes_its_values_with_it(database: str, values: ValueTable, scripts: ScriptTable) -> None:
    put(values, "k")
    put(values, "k", script="b")
    scripts.delete("a")
    assert list(rows(database)) == [space_of(scripts, "b")]
    assert usage(database) == rows(database)
    scripts.put("a", Upload({"main.lua": b"return 1"}, "1", "me"))
    assert values.page("a", "", "", "", 10) == []


def test_a_script_is_deleted_while_an_invocation_writes_and_nothing_is_found_of_it(
    database: str, values: ValueTable, scripts: ScriptTable, work: UnitOfWork
) -> None:
    space = space_of(scripts, "a")
    for key in ("replaced", "left", "deleted"):
        put(values, key)
    work.kv.put(space, "replaced", Value.of_number(2), None)
    work.kv.delete(space, "deleted")
    scripts.delete("a")
    work.kv.put(space, "new", ONE, None)
    commit(work)
    scripts.put("a", Upload({"main.lua": b"return 1"}, "1", "me"))
    assert values.page("a", "", "", "", 10) == []
    assert values.expire() > 0
    assert values.expire() == 0
    assert rows(database) == {}
    assert execute(database, "SELECT * FROM kv_usage") == []


def test_retention_deletes_what_has_expired_and_keeps_the_count(
    database: str, values: ValueTable, scripts: ScriptTable
) -> None:
    for key in ("k", "l", "m"):
        put(values, key, ttl_ms=3_600_000)
        put(values, key, ttl_ms=3_600_000, script="b")
    expire(database, "k")
    expire(database, "l")
    assert (values.expire(), values.expire()) == (4, 0)
    assert execute(database, "SELECT key FROM kv ORDER BY space") == [("m",), ("m",)]
    assert usage(database) == rows(database)
    values.vacuum()


def test_retention_waits_for_nobody(database: str, values: ValueTable, scripts: ScriptTable, work: UnitOfWork) -> None:
    put(values, "k", ttl_ms=3_600_000)
    put(values, "l", ttl_ms=3_600_000)
    expire(database, "k")
    expire(database, "l")
    work.kv.put(space_of(scripts, "a"), "k", ONE, None)
    assert (values.expire(), values.expire()) == (1, 0)
    commit(work)
    assert list(usage(database).values()) == list(rows(database).values())
    assert values.get("a", "", "k").value == ONE


def test_one_process_at_a_time_does_it(database: str, values: ValueTable, pool: Pool) -> None:
    put(values, "k", ttl_ms=3_600_000)
    expire(database, "k")
    with pool.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(x'50494B56'::int)")
        assert values.expire() == 0
    assert values.expire() == 1
