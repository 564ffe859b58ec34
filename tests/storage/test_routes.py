"""Routes in a real PostgreSQL: one of a shape, with their script and no longer, announced with each commit."""

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from picloud.declared import Declared
from picloud.errors import Conflict, Forbidden, NotFound
from picloud.model import Route, Upload
from picloud.patterns import RouteWanted
from picloud.storage.changes import CHANNEL
from picloud.storage.connection import Connection, connect
from picloud.storage.pool import Pool
from picloud.storage.routes import RouteTable, replace_declared
from picloud.storage.scripts import ScriptTable


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    with closing(Pool(database, size=2, wait_ms=5_000)) as ours:
        scripts = ScriptTable(ours)
        for name in ("one", "two"):
            scripts.put(name, Upload({"main.lua": b"return 1"}, name, "me"))
        yield ours


@pytest.fixture
def table(pool: Pool) -> RouteTable:
    return RouteTable(pool)


@pytest.fixture
def listening(pool: Pool, database: str) -> Iterator[Connection]:
    """A connection that hears of what is committed from here on."""
    with closing(connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
        yield connection


def wanted(text: str) -> RouteWanted:
    method, _, place = text.partition(" ")
    host, slash, path = place.partition("/")
    return RouteWanted(method, host or None, slash + path)


def heard(listening: Connection) -> list[str]:
    with listening.cursor() as cursor:
        cursor.execute("SELECT 1")
    payloads = [notification.payload for notification in listening.notifies]
    listening.notifies.clear()
    return payloads


def declare(pool: Pool, script: str, *texts: str) -> None:
    with pool.transaction() as cursor:
        cursor.execute("SELECT id FROM scripts WHERE name = %s", (script,))
        row = cursor.fetchone()
        assert row
        replace_declared(cursor, row[0], [wanted(text) for text in texts])


def told(table: RouteTable) -> list[str]:
    return sorted(f"{it.script}: {RouteWanted(it.method, it.host, it.path)}" for it in table.all())


def test_a_route_is_stored_as_it_was_wanted(table: RouteTable) -> None:
    added = table.add("one", wanted("GET a.example/u/{x}"))
    assert added == Route(added.id, "GET", "a.example", "/u/{x}", "one")
    anywhere = table.add("one", wanted("ANY /u/{x}"))
    assert anywhere.host is None
    assert [table.get(added.id), table.get(anywhere.id)] == table.all() == [added, anywhere]


@pytest.mark.parametrize("clashing", ["GET /u/{x}", "GET /u/{y}", "GET /%75/{x}"])
def test_two_of_one_shape_clash_and_the_other_is_named(table: RouteTable, clashing: str) -> None:
    table.add("one", wanted("GET /u/{x}"))
    with pytest.raises(Conflict, match=re.escape("clashes with 'GET /u/{x}' of script 'one'")):
        table.add("two", wanted(clashing))
    assert told(table) == ["one: GET /u/{x}"]


@pytest.mark.parametrize(
    ("only", "named"),
    [
        (None, "clashes with 'GET /u/{x}' of script 'one'"),
        (["one", "two"], "clashes with 'GET /u/{x}' of script 'one'"),
        (["two"], "meets a route of a script that this token is not good for"),
    ],
)
def test_a_clash_names_no_script_that_who_asks_may_not_know_of(
    table: RouteTable, pool: Pool, only: list[str] | None, named: str
) -> None:
    table.add("one", wanted("GET /u/{x}"))
    expected = re.escape(f"'GET /u/{{y}}' {named}") + "$"
    with pytest.raises((Conflict, Forbidden), match=expected):
        table.add("two", wanted("GET /u/{y}"), only)
    waiting = Upload({"main.lua": b"return 2"}, "2", "me")
    with pytest.raises((Conflict, Forbidden), match=expected):
        ScriptTable(pool).put("two", waiting, declared=Declared(routes=[wanted("GET /u/{y}")]), only=only)


@pytest.mark.parametrize("other", ["POST /u/{x}", "ANY /u/{x}", "GET a.example/u/{x}", "GET /u/{x*}", "GET /u/{x}/"])
def test_what_differs_in_anything_does_not_clash(table: RouteTable, other: str) -> None:
    table.add("one", wanted("GET /u/{x}"))
    table.add("two", wanted(other))
    assert len(table.all()) == 2


def test_the_longest_pattern_fits_into_the_index(table: RouteTable) -> None:
    host = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    for path in ("/" + "é😀" * 170, "/" + "%2F" * 341):
        assert table.add("one", RouteWanted("GET", host, path)).path == path


def test_what_is_missing_is_named(table: RouteTable) -> None:
    with pytest.raises(NotFound, match="there is no script 'three'"):
        table.add("three", wanted("GET /a"))
    with pytest.raises(NotFound, match="there is no route 9"):
        table.get(9)
    with pytest.raises(NotFound, match="there is no route 9"):
        table.delete(9)


def test_routes_of_other_scripts_do_not_exist_for_who_is_limited(table: RouteTable) -> None:
    own, other = table.add("one", wanted("GET /a")), table.add("two", wanted("GET /b"))
    assert table.page(10, 0, {"one"}) == [own]
    assert table.page(10, 0, set()) == []
    for ask in (table.get, table.delete):
        with pytest.raises(NotFound):
            ask(other.id, {"one"})
    table.delete(own.id, {"one"})
    assert table.all() == [other]


def test_pages_follow_each_other(table: RouteTable) -> None:
    added = [table.add("one", wanted(f"GET /r{number}")) for number in range(5)]
    assert table.page(3, 0) == added[:3]
    assert table.page(3, added[2].id) == added[3:]


def test_the_routes_of_a_deleted_script_are_gone(table: RouteTable, pool: Pool, listening: Connection) -> None:
    table.add("one", wanted("GET /a"))
    heard(listening)
    ScriptTable(pool).delete("one")
    assert table.all() == []
    assert heard(listening) == ["script one", "routes "]


def test_every_change_is_notified_and_nothing_else(table: RouteTable, pool: Pool, listening: Connection) -> None:
    added = table.add("one", wanted("GET /a"))
    assert heard(listening) == ["routes "]
    with pytest.raises(Conflict):
        table.add("one", wanted("GET /a"))
    assert heard(listening) == []
    table.delete(added.id)
    assert heard(listening) == ["routes "]
    for routes in (["GET /b"], ["GET /b", "GET /c"], ["GET /b"], []):
        declare(pool, "one", *routes)
        assert heard(listening) == ["routes "]
        declare(pool, "one", *routes)
        assert heard(listening) == []


def test_declared_routes_are_exactly_those_and_equal_ones_stay(table: RouteTable, pool: Pool) -> None:
    table.add("one", wanted("GET /by-hand"))
    table.add("two", wanted("GET /other"))
    declare(pool, "one", "GET /a", "POST /b")
    kept = next(route for route in table.all() if route.path == "/a")
    declare(pool, "one", "POST h.example/c", "GET /a")
    assert told(table) == ["one: GET /a", "one: GET /by-hand", "one: POST h.example/c", "two: GET /other"]
    assert table.get(kept.id) == kept
    declare(pool, "one")
    assert told(table) == ["one: GET /by-hand", "two: GET /other"]


def test_a_parameter_gets_a_new_name_in_place(table: RouteTable, pool: Pool) -> None:
    declare(pool, "one", "GET /u/{x}")
    (before,) = table.all()
    declare(pool, "one", "GET /u/{y}")
    assert table.all() == [Route(before.id, "GET", None, "/u/{y}", "one")]


def test_a_route_by_hand_that_is_declared_later_belongs_to_the_declaration(table: RouteTable, pool: Pool) -> None:
    added = table.add("one", wanted("GET /a"))
    declare(pool, "one", "GET /a")
    assert table.all() == [added]
    declare(pool, "one")
    assert table.all() == []


def test_a_declaration_that_clashes_changes_nothing(table: RouteTable, pool: Pool) -> None:
    declare(pool, "one", "GET /a")
    table.add("two", wanted("GET /b"))
    with pytest.raises(Conflict, match="'GET /b' clashes with 'GET /b' of script 'two'"):
        declare(pool, "one", "GET /c", "GET /b")
    with pytest.raises(Conflict, match=re.escape("'GET /{y}' clashes with 'GET /{x}'")):
        declare(pool, "one", "GET /{x}", "GET /{y}")
    assert told(table) == ["one: GET /a", "two: GET /b"]
