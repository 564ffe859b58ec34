"""Uploads and settings in a real PostgreSQL: all of it or nothing."""

import threading
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from picloud.declared import Declared
from picloud.errors import Conflict, InvalidRequest, NotFound, PreconditionFailed
from picloud.model import Access, Condition, Limits, Policy, Upload, Uploaded
from picloud.patterns import RouteWanted
from picloud.storage.changes import CHANNEL
from picloud.storage.connection import Cursor
from picloud.storage.pool import Pool
from picloud.storage.routes import RouteTable
from picloud.storage.scripts import ScriptTable
from tests.fixtures_postgres import execute

HI, BYE = RouteWanted("ANY", None, "/hi"), RouteWanted("GET", None, "/bye")


@pytest.fixture
def routes(pool: Pool) -> RouteTable:
    return RouteTable(pool)


def upload(text: str, *, activate: bool = True) -> Upload:
    return Upload({"main.lua": text.encode(), "a/b.txt": b"\xff"}, text, "me", activate)


def setting(**values: object) -> Any:
    return lambda stored: {**stored, **values}


def paths(routes: RouteTable) -> list[str]:
    return [route.path for route in routes.all()]


def test_a_version_may_wait_to_be_activated(scripts: ScriptTable) -> None:
    scripts.put("a", upload("1"))
    before = scripts.get("a")
    assert scripts.put("a", upload("2", activate=False)) == Uploaded(2, 1, created=True)
    assert scripts.get("a") == before
    assert scripts.files("a", 2) == dict(upload("2").files)
    assert scripts.put("a", upload("1", activate=False)) == Uploaded(1, 1, created=False)
    scripts.activate("a", 2)
    assert scripts.put("a", upload("3")) == Uploaded(3, 3, created=True)


def test_the_first_version_cannot_wait(scripts: ScriptTable) -> None:
    with pytest.raises(Conflict, match="no version before this one"):
        scripts.put("a", upload("1", activate=False))
    with pytest.raises(NotFound):
        scripts.get("a")
    assert scripts.put("a", upload("1")) == Uploaded(1, 1, created=True)


@pytest.mark.parametrize("condition", [Condition(frozenset({7, 8})), Condition(update_only=True)])
def test_a_condition_that_does_not_hold_stores_nothing(scripts: ScriptTable, condition: Condition) -> None:
    with pytest.raises(PreconditionFailed):
        scripts.put("a", upload("1"), condition)
    with pytest.raises(NotFound):
        scripts.get("a")


def test_conditions_that_hold_let_an_upload_pass(scripts: ScriptTable) -> None:
    scripts.put("a", upload("1"), Condition(create_only=True))
    assert scripts.put("a", upload("2"), Condition(update_only=True)).version == 2
    assert scripts.put("a", upload("3"), Condition(frozenset({2, 9}))).version == 3


def test_what_a_version_declares_comes_with_it(scripts: ScriptTable, routes: RouteTable) -> None:
    scripts.put("a", upload("1"), declared=Declared(settings=setting(env={"A": "1"}), routes=[HI, BYE]))
    assert scripts.get("a").settings.env == {"A": "1"}
    assert paths(routes) == [HI.path, BYE.path]
    scripts.put("a", upload("2"))
    assert len(paths(routes)) == 2  # it declares nothing, so all stays
    scripts.put(
        "a", upload("2"), declared=Declared(settings=setting(expose_errors=False), routes=[HI])
    )  # unchanged, and applied again
    assert (scripts.get("a").settings.expose_errors, paths(routes)) == (False, [HI.path])


def test_a_version_that_waits_declares_nothing_yet(scripts: ScriptTable, routes: RouteTable) -> None:
    scripts.put("a", upload("1"))
    for text in ("1", "2"):
        scripts.put("a", upload(text, activate=False), declared=Declared(settings=setting(env={"A": "1"}), routes=[HI]))
    assert (scripts.get("a").settings.env, paths(routes)) == ({}, [])


def test_it_is_applied_when_it_is_first_active_and_not_again(scripts: ScriptTable, routes: RouteTable) -> None:
    scripts.put("a", upload("1"))
    scripts.put("a", upload("2", activate=False))
    assert (scripts.unapplied("a", 1), scripts.unapplied("a", 2)) == ({}, dict(upload("2").files))
    scripts.activate("a", 2, declared=Declared(settings=setting(env={"A": "1"}), routes=[HI]))
    assert (scripts.get("a").settings.env, paths(routes)) == ({"A": "1"}, [HI.path])
    assert scripts.unapplied("a", 2) == {}
    scripts.change_settings("a", setting(env={"A": "2"}))
    for version in (1, 2):
        scripts.activate("a", version, declared=Declared(settings=setting(env={"A": "3"}), routes=[]))
    assert (scripts.get("a").settings.env, paths(routes)) == ({"A": "2"}, [HI.path])


def test_an_activation_that_cannot_apply_it_changes_nothing(scripts: ScriptTable, routes: RouteTable) -> None:
    for name in ("other", "a"):
        scripts.put(name, upload("1"))
    scripts.put("a", upload("2", activate=False))
    routes.add("other", HI)
    with pytest.raises(Conflict, match="clashes with 'ANY /hi' of script 'other'"):
        scripts.activate("a", 2, declared=Declared(settings=setting(env={"A": "1"}), routes=[BYE, HI]))
    found = scripts.get("a")
    assert (found.active_version, found.settings.env, paths(routes)) == (1, {}, [HI.path])
    assert scripts.unapplied("a", 2)


def test_routes_that_were_added_by_hand_stay(scripts: ScriptTable, routes: RouteTable) -> None:
    scripts.put("a", upload("1"))
    routes.add("a", BYE)
    scripts.put("a", upload("2"), declared=Declared(routes=[HI]))
    scripts.put("a", upload("3"), declared=Declared(routes=[]))
    assert paths(routes) == [BYE.path]


def test_a_change_that_is_refused_stores_no_version(scripts: ScriptTable, routes: RouteTable) -> None:
    def refuse(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise InvalidRequest("no")

    scripts.put("other", upload("1"), declared=Declared(routes=[HI]))
    scripts.put("a", upload("1"))
    with pytest.raises(InvalidRequest):
        scripts.put("a", upload("2"), declared=Declared(settings=refuse, routes=[BYE]))
    with pytest.raises(Conflict, match="clashes with 'ANY /hi' of script 'other'"):
        scripts.put("a", upload("2"), declared=Declared(settings=setting(env={"A": "1"}), routes=[BYE, HI]))
    with pytest.raises(Conflict):
        scripts.put("new", upload("1"), declared=Declared(routes=[HI]))
    assert [version.version for version in scripts.versions("a", 10, 100)] == [1]
    assert (scripts.get("a").settings.env, paths(routes)) == ({}, [HI.path])
    assert [script.name for script in scripts.page(10, "")] == ["a", "other"]


class WatchedCursor(Cursor):
    """Keeps what it was asked to execute."""

    statements: ClassVar[list[str]] = []

    def execute(self, query: Any, values: Any = None) -> None:
        self.statements.append(str(query))
        super().execute(query, values)


def test_a_hundred_files_are_one_statement(scripts: ScriptTable, pool: Pool) -> None:
    files = {f"{number}.txt": bytes([number]) * number for number in range(100)}
    with pool.transaction() as cursor:
        cursor.connection.cursor_factory = WatchedCursor
    scripts.put("a", Upload(files, "x", "me"))
    assert sum("version_files" in statement for statement in WatchedCursor.statements) == 1
    assert scripts.files("a", 1) == files


def test_settings_change_one_after_the_other(scripts: ScriptTable) -> None:
    scripts.put("a", upload("1"))

    def add(number: int) -> None:
        scripts.change_settings("a", lambda old: {**old, "env": {**old.get("env", {}), f"V{number}": "x"}})

    threads = [threading.Thread(target=add, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(scripts.get("a").settings.env) == sorted(f"V{number}" for number in range(16))


def test_a_change_moves_updated_at_and_is_announced_and_none_does_neither(scripts: ScriptTable, pool: Pool) -> None:
    scripts.put("a", upload("1"))
    first = scripts.get("a").updated_at
    with pool.transaction() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
    assert scripts.change_settings("a", setting(access="token")).access is Access.TOKEN
    second = scripts.get("a").updated_at
    scripts.change_settings("a", setting(access="token"))
    scripts.put("a", upload("1"), declared=Declared(settings=setting(access="token")))
    with pool.transaction() as cursor:
        cursor.execute("SELECT 1")
        assert [notification.payload for notification in cursor.connection.notifies] == ["script a"]
    assert first < second == scripts.get("a").updated_at


def test_settings_of_a_script_that_is_none_are_not_found(scripts: ScriptTable) -> None:
    with pytest.raises(NotFound, match="there is no script 'a'"):
        scripts.change_settings("a", dict)


def test_only_what_was_set_is_stored_and_the_rest_is_the_servers(
    scripts: ScriptTable, pool: Pool, database: str
) -> None:
    scripts.put("a", upload("1"))
    scripts.change_settings("a", setting(limits={"wall_ms": 200_000, "cpu_ms": 7}))
    assert execute(database, "SELECT settings FROM scripts") == [({"limits": {"wall_ms": 200_000, "cpu_ms": 7}},)]
    strict = ScriptTable(pool, Policy(Limits(wall_ms=100, memory_bytes=2**20), Access.TOKEN))
    program = strict.program("a")
    assert program
    for settings in (strict.get("a").settings, strict.page(1, "")[0].settings, program.settings):
        assert settings.access is Access.TOKEN
        assert (settings.limits.wall_ms, settings.limits.cpu_ms) == (100, 7)
        assert settings.limits.memory_bytes == 2**20
    assert scripts.get("a").settings.limits.wall_ms == 200_000


def test_what_a_script_says_beats_the_default_access(pool: Pool) -> None:
    scripts = ScriptTable(pool, Policy(access=Access.TOKEN))
    scripts.put("a", upload("1"))
    assert scripts.change_settings("a", setting(access="public")).access is Access.PUBLIC
