"""What pg_dump says of a database comes back whole, into this PostgreSQL or an older one, or not at all."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from picloud.errors import ConfigurationError, Conflict, PlatformError
from picloud.storage.connection import connect
from picloud.storage.dump import find, snapshot
from picloud.storage.embedded import EmbeddedPostgres
from picloud.storage.loading import Dump, Holding, holding, load
from picloud.storage.migrate import applied, connect_to, locked, migrate_within, names, sequences, tables
from tests.fixtures_postgres import create_database, execute

DEBIANS = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("apt-get install postgresql"))

FILLED = """
INSERT INTO script_names VALUES ('one', 7), ('gone', 3);
INSERT INTO scripts (name, active_version) VALUES ('one', 7);
INSERT INTO versions (script_id, version, sha256, bytes, created_by) SELECT id, 7, 'x', 3, 'me' FROM scripts;
INSERT INTO version_files SELECT id, 7, 'main.lua', convert_to(E'\\\\.\\n\\\\.\\tß', 'UTF8') || '\\x00ff' FROM scripts;
INSERT INTO kv (space, key, json, bytes, version)
  VALUES ('script 1', E'a\\tb\\n\\\\.', '"\\u00e4"', 9, nextval('kv_versions'));
INSERT INTO tokens (name, secret_hash, scopes) VALUES ('t', 'hash', '{admin,"a b"}');
INSERT INTO log_lines (invocation, script, at, level, message)
  SELECT gen_random_uuid(), 'one', now(), 'info', repeat('long ', 30000) || E'\\n\\\\.\\n' FROM generate_series(1, 20);
"""


def rows_of(dsn: str) -> dict[str, list[tuple[object, ...]]]:
    """Everything that PiCloud keeps, and where its sequences stand."""
    kept = {name: execute(dsn, f"SELECT t::text FROM {name} t ORDER BY 1") for name in tables() if "yoyo" not in name}
    stand = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = current_schema() ORDER BY 1"
    return kept | {"": execute(dsn, stand)}


def taken(dsn: str) -> Dump:
    with snapshot(dsn) as it:
        return Dump([*it.dump()], it.program.major, it.schema, it.rows)


@pytest.fixture
def filled(database: str) -> str:
    execute(database, FILLED)
    return database


def test_every_table_and_sequence_of_a_migrated_database_is_known(database: str) -> None:
    made = execute(database, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")
    assert sorted(tables()) == [name for (name,) in made]
    free = """SELECT relname FROM pg_class c WHERE relkind = 'S' AND relnamespace = current_schema()::regnamespace
      AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND deptype IN ('a', 'i'))"""
    assert sorted(sequences()) == [name for (name,) in execute(database, free)]


def test_what_was_dumped_comes_back_to_the_byte(filled: str, empty_database: str) -> None:
    assert holding(empty_database) == Holding((), ())
    load(empty_database, taken(filled), replace=False)
    assert rows_of(empty_database) == rows_of(filled)
    with closing(connect_to(empty_database)) as connection:
        assert applied(connection) == names()
    keys = "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1, 2"
    assert execute(empty_database, keys) == execute(filled, keys)
    assert "scripts" in holding(empty_database).held


def test_it_comes_back_into_debians_postgresql_which_is_older(filled: str, short_dir: Path) -> None:
    data = short_dir / "older"
    data.mkdir()
    server = EmbeddedPostgres(data, data / "run", binaries=DEBIANS, fsync=False)
    try:
        older = server.start()
        load(older, taken(filled), replace=False)
        assert rows_of(older) == rows_of(filled)
        again = taken(older)
        assert again.major < taken(filled).major, "pg_dump is the one nearest to its server"
        execute(filled, "DELETE FROM kv")
        load(filled, again, replace=True)
        assert rows_of(older) == rows_of(filled)
    finally:
        server.stop()


def test_a_dump_is_one_moment_whatever_is_written_meanwhile(filled: str, empty_database: str) -> None:
    with snapshot(filled) as it:
        chunks = it.dump()
        first = next(chunks)
        execute(filled, "INSERT INTO kv (space, key, raw, bytes, version) VALUES ('s', 'late', '', 0, 99)")
        load(empty_database, Dump([first, *chunks], it.program.major, it.schema, it.rows), replace=False)
    assert execute(empty_database, "SELECT count(*) FROM kv WHERE key = 'late'") == [(0,)]


def test_a_dump_of_older_tables_is_brought_up_to_date(empty_database: str, postgres: EmbeddedPostgres) -> None:
    old = create_database(postgres.dsn, "old")
    with locked(old) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        migrate_within(connection, "0003_control_plane")
        cursor.execute("COMMIT")
    execute(old, "INSERT INTO tokens (name, secret_hash, scopes) VALUES ('t', 'hash', '{admin}')")
    taken_then = taken(old)
    assert (taken_then.schema, "kv" in taken_then.rows) == ("0003_control_plane", False)
    load(empty_database, taken_then, replace=False)
    assert execute(empty_database, "SELECT name FROM tokens") == [("t",)]
    with closing(connect_to(empty_database)) as connection:
        assert applied(connection) == names()


def test_only_what_is_asked_for_replaces_what_is_there(filled: str, postgres: EmbeddedPostgres) -> None:
    before, first = rows_of(filled), taken(filled)
    execute(filled, "INSERT INTO tokens (name, secret_hash, scopes) VALUES ('later', 'h', '{read}')")
    with pytest.raises(Conflict, match="the database is not empty: kv, log_lines, script_names"):
        load(filled, first, replace=False)
    assert len(rows_of(filled)["tokens"]) == 2
    load(filled, first, replace=True)
    assert rows_of(filled) == before


def test_a_database_that_was_only_installed_is_empty(database: str, filled: str) -> None:
    execute(filled, "DELETE FROM scripts; DELETE FROM script_names; DELETE FROM kv; DELETE FROM log_lines")
    assert holding(filled) == Holding((), ())
    load(filled, taken(filled), replace=False)


def test_tables_of_others_are_left_alone(filled: str, empty_database: str) -> None:
    execute(empty_database, "CREATE TABLE events (id integer); CREATE TABLE theirs (id integer)")
    assert holding(empty_database) == Holding(("events",), ())
    for is_wanted in (False, True):
        with pytest.raises(Conflict, match="not PiCloud's: events"):
            load(empty_database, taken(filled), replace=is_wanted)
    execute(empty_database, "DROP TABLE events")
    load(empty_database, taken(filled), replace=True)
    assert execute(empty_database, "SELECT count(*) FROM theirs") == [(0,)]


def test_nothing_is_replaced_below_a_picloud_that_runs(filled: str) -> None:
    it, before = taken(filled), rows_of(filled)
    with closing(connect(filled)), pytest.raises(Conflict, match="stop it"):
        load(filled, it, replace=True)
    assert rows_of(filled) == before


def cut(it: Dump) -> Dump:
    return replace(it, chunks=[b"".join(it.chunks)[:-3000]])


def no_dump(it: Dump) -> Dump:
    return replace(it, chunks=[b"DROP TABLE scripts;" * 1000])


def fewer_rows(it: Dump) -> Dump:
    return replace(it, rows={**it.rows, "kv": 5})


def another_schema(it: Dump) -> Dump:
    return replace(it, schema="0003_control_plane")


def a_reader_that_fails(it: Dump) -> Dump:
    def chunks() -> Iterator[bytes]:
        yield from it.chunks
        raise PlatformError("the disk is gone")

    return replace(it, chunks=chunks())


@pytest.mark.parametrize("spoil", [cut, no_dump, fewer_rows, another_schema, a_reader_that_fails])
def test_a_dump_that_is_not_whole_changes_nothing(spoil: Callable[[Dump], Dump], filled: str) -> None:
    it, before = taken(filled), rows_of(filled)
    with pytest.raises(PlatformError) as raised:
        load(filled, spoil(it), replace=True)
    assert "\n" not in str(raised.value)
    assert rows_of(filled) == before


def test_statements_of_a_dump_are_not_run(filled: str, empty_database: str) -> None:
    """Whoever can write the file may own the tables, but gives the server no orders."""
    execute(filled, "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'sprung'; END $$")
    execute(filled, "CREATE TRIGGER trap BEFORE INSERT ON kv FOR EACH ROW EXECUTE FUNCTION trap()")
    load(empty_database, taken(filled), replace=False)
    assert execute(empty_database, "SELECT count(*) FROM pg_proc WHERE proname = 'trap'") == [(0,)]


def test_a_column_that_is_not_there_is_refused(filled: str, empty_database: str) -> None:
    execute(filled, "ALTER TABLE kv ADD more text")
    with pytest.raises(PlatformError, match="'more', which its own version of PiCloud does not have"):
        load(empty_database, taken(filled), replace=False)
    assert execute(empty_database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []


def test_rows_that_break_a_rule_are_refused(filled: str, empty_database: str) -> None:
    execute(filled, "ALTER TABLE versions DROP CONSTRAINT versions_script_id_fkey")
    execute(filled, "INSERT INTO versions VALUES (99, 1, '', 0, now(), 'nobody')")
    with pytest.raises(PlatformError, match="do not fit"):
        load(empty_database, taken(filled), replace=False)


def test_what_postgresql_refuses_is_said_in_one_line(filled: str) -> None:
    it, before = taken(filled), rows_of(filled)
    execute(filled, "CREATE VIEW theirs AS SELECT name FROM scripts")
    with pytest.raises(PlatformError, match="PostgreSQL refuses: cannot drop"):
        load(filled, it, replace=True)
    assert rows_of(filled) == before
    execute(filled, "REVOKE ALL ON kv FROM picloud")
    with pytest.raises(PlatformError, match="PostgreSQL refuses: permission denied for table kv"), snapshot(filled):
        pass


def test_there_must_be_a_picloud_to_dump(empty_database: str) -> None:
    with pytest.raises(PlatformError, match="nothing to back up"), snapshot(empty_database):
        pass


def test_a_program_that_is_too_old_is_named_with_its_package() -> None:
    assert 15 <= find("pg_dump", 15, "this").major <= int(DEBIANS.parent.name)
    assert find("pg_dump", 18, "this").major == 18
    with pytest.raises(ConfigurationError, match="the newest here is 18: apt-get install postgresql-client-99"):
        find("pg_dump", 99, "this")


def test_no_password_is_in_a_process_list(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], Mapping[str, str]]] = []
    popen = subprocess.Popen

    def spy(command: list[str], **options: Any) -> Any:
        started.append((command, options.get("env") or {}))
        return popen(command, **options)

    monkeypatch.setattr(subprocess, "Popen", spy)
    taken(filled.replace("picloud@", "picloud:s3cr%40t@"))
    command, environment = started[-1]
    assert "--format=custom" in command
    assert "s3cr" not in " ".join(command)
    assert environment["PGPASSWORD"] == "s3cr@t"
