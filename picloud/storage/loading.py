"""Rows of a dump into a database of this version's tables: all of them, or none.

Owns: one transaction that makes the tables as they were when the dump was made, fills them, and brings them up to date.
No statement of the dump is run: tables come from the migrations, and a dump gives rows and the ends of sequences. So it
goes into an older PostgreSQL than it came from, too, and one that somebody tampered with can do no more than hold rows.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import IO

import psycopg2
from psycopg2 import sql

from picloud.errors import Conflict, PlatformError
from picloud.storage.connection import Connection, Cursor, commit, reason
from picloud.storage.dump import contents, present, refusals_said
from picloud.storage.migrate import applied, connect_to, locked, migrate_within, sequences, tables

_COPY = re.compile(rb"COPY (?:[^ .]+\.)?(\S+) \((.*)\) FROM stdin;\n")
_SETVAL = re.compile(rb"SELECT pg_catalog\.setval\('(?:[^' .]+\.)?([^' .]+)', (\d+), (true|false)\);\n")
_END = b"\\.\n"
_CHUNK_BYTES = 64 * 1024
_OF_AN_INSTALLATION = ("tokens",)  # has rows before anybody uploaded anything
_OF_MIGRATIONS = "_yoyo"
_LEAVING_MS = 5_000  # for a connection that was closed to be gone from the list, ours among them
_LOOK_MS = 20

_OTHERS = """SELECT count(*) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'picloud'"""
_FOREIGN_KEYS = """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
  WHERE contype = 'f' AND connamespace = current_schema()::regnamespace ORDER BY oid"""
_COLUMNS = """SELECT column_name FROM information_schema.columns
  WHERE table_schema = current_schema() AND table_name = %s"""
_SEQUENCES = "SELECT sequencename FROM pg_sequences WHERE schemaname = current_schema()"


@dataclass(frozen=True, slots=True)
class Holding:
    """What a database has in it: `others` are tables that have names of ours and are not; `held` have rows."""

    others: tuple[str, ...]
    held: tuple[str, ...]


def holding(dsn: str) -> Holding:
    """Look what there is; Conflict if a PiCloud is connected to it."""
    with closing(connect_to(dsn)) as connection, refusals_said(), connection.cursor() as cursor:
        _refuse_others(cursor)
        return _holding(connection, cursor)


@dataclass(frozen=True, slots=True)
class Dump:
    """What is to be loaded. `chunks`: the dump's bytes; `major`: of the pg_dump that wrote them; `schema`: the last
    migration that its database had; `rows`: how many each table has.
    """

    chunks: Iterable[bytes]
    major: int
    schema: str
    rows: Mapping[str, int]


def load(dsn: str, dump: Dump, *, replace: bool) -> None:
    """Put a dump into a database that has nothing of PiCloud, or in the place of all that it has.

    Conflict if there is something and not `replace`, or if a PiCloud is connected; PlatformError if the dump is not
    what it is said to be. Whatever is raised, the database is as before.
    """
    with locked(dsn) as connection, refusals_said(), connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SET LOCAL lock_timeout = '10s'")
        cursor.execute("SET LOCAL datestyle = 'ISO'")
        _refuse_others(cursor)
        _clear(cursor, _holding(connection, cursor), replace=replace)
        migrate_within(connection, dump.schema)
        with _said_of_the_dump(), _without_foreign_keys(cursor), contents(dump.major, dump.chunks) as lines:
            found = _fill(cursor, lines)
        _compare(found, dump.rows)
        migrate_within(connection)
        cursor.execute(sql.SQL("ANALYZE {}").format(sql.SQL(", ").join(map(sql.Identifier, present(cursor)))))
        _refuse_others(cursor)
        commit(cursor)


def _refuse_others(cursor: Cursor) -> None:
    for _ in range(_LEAVING_MS // _LOOK_MS):
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(_OTHERS)
        ((count,),) = cursor.fetchall()
        if not count:
            return
        time.sleep(_LOOK_MS / 1000)
    raise Conflict(f"a PiCloud uses this database ({count} connections): stop it on every node; nothing was done")


def _holding(connection: Connection, cursor: Cursor) -> Holding:
    there = present(cursor)
    if not applied(connection):
        return Holding(tuple(name for name in there if not name.startswith(_OF_MIGRATIONS)), ())
    ours = [it for it in there if not it.startswith(_OF_MIGRATIONS) and it not in _OF_AN_INSTALLATION]
    return Holding((), tuple(name for name in ours if _has_rows(cursor, name)))


def _has_rows(cursor: Cursor, table: str) -> bool:
    cursor.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(table)))
    return cursor.fetchone() is not None


def _clear(cursor: Cursor, there: Holding, *, replace: bool) -> None:
    if there.others:
        raise Conflict(f"the database has tables that are not PiCloud's: {', '.join(there.others)}; name another one")
    if there.held and not replace:
        raise Conflict(f"the database is not empty: {', '.join(there.held)} have rows")
    for kind, names in (("TABLE", tables()), ("SEQUENCE", sequences())):
        every = sql.SQL(", ").join(map(sql.Identifier, names))
        cursor.execute(sql.SQL("DROP {} IF EXISTS {}").format(sql.SQL(kind), every))


@contextmanager
def _without_foreign_keys(cursor: Cursor) -> Iterator[None]:
    """Tables can be filled in any order; at the end all keys are checked."""
    cursor.execute(_FOREIGN_KEYS)
    keys = cursor.fetchall()
    for table, name, _ in keys:
        cursor.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(sql.SQL(table), sql.Identifier(name)))
    yield
    for table, name, definition in keys:
        words = (sql.SQL(table), sql.Identifier(name), sql.SQL(definition))
        cursor.execute(sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(*words))


@contextmanager
def _said_of_the_dump() -> Iterator[None]:
    """What PostgreSQL finds wrong with rows."""
    try:
        yield
    except (psycopg2.DataError, psycopg2.IntegrityError, psycopg2.ProgrammingError) as error:
        raise PlatformError(f"the backup's rows do not fit its own version's tables: {reason(error)}") from error


def _fill(cursor: Cursor, lines: IO[bytes]) -> dict[str, int]:
    """Copy every table's rows and set every sequence → table → rows."""
    known = {name for name in present(cursor) if not name.startswith(_OF_MIGRATIONS)}
    cursor.execute(_SEQUENCES)
    counters = {str(name) for (name,) in cursor.fetchall()}
    found = dict.fromkeys(known, 0)
    for line in lines:
        if copied := _COPY.fullmatch(line):
            found |= _copy(cursor, lines, _name(copied[1]), copied[2], known)
        elif ended := _SETVAL.fullmatch(line):
            _require(_name(ended[1]), counters)
            cursor.execute("SELECT setval(%s, %s, %s)", (_name(ended[1]), int(ended[2]), ended[3] == b"true"))
    return found


def _copy(cursor: Cursor, lines: IO[bytes], table: str, names: bytes, known: set[str]) -> dict[str, int]:
    if table.startswith(_OF_MIGRATIONS):
        for _ in _below(lines):
            pass
        return {}
    _require(table, known)
    cursor.execute(_COLUMNS, (table,))
    columns = {str(name) for (name,) in cursor.fetchall()}
    named = [_name(it) for it in names.split(b", ")]
    for name in named:
        _require(name, columns)
    into = sql.SQL(", ").join(map(sql.Identifier, named))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), into)
    cursor.copy_expert(statement, _Rows(lines))  # type: ignore[arg-type] # it calls `read` alone
    return {table: cursor.rowcount}


def _below(lines: IO[bytes]) -> Iterator[bytes]:
    """The rows of a COPY; they end with the dump, too: that it is cut off shows elsewhere."""
    return iter(lambda: lines.readline() or _END, _END)


def _name(quoted: bytes) -> str:
    return quoted.decode(errors="replace").strip('"')


def _require(name: str, known: set[str]) -> None:
    if name not in known:
        raise PlatformError(f"the backup has rows for '{name}', which its own version of PiCloud does not have")


def _compare(found: Mapping[str, int], rows: Mapping[str, int]) -> None:
    wanted = {name: count for name, count in rows.items() if not name.startswith(_OF_MIGRATIONS)}
    wrong = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    if wrong:
        raise PlatformError(f"the backup is not whole: it has other rows of {', '.join(wrong)} than it says")


class _Rows:
    """The rows below a COPY, as COPY reads them."""

    def __init__(self, lines: IO[bytes]) -> None:
        self._lines = _below(lines)

    def read(self, _size: int) -> bytes:
        """Some whole rows; b"" at the end. A row may be larger than was asked for: psycopg2 sends it in pieces."""
        rows, size = [], 0
        for line in self._lines:
            rows.append(line)
            size += len(line)
            if size >= _CHUNK_BYTES:
                break
        return b"".join(rows)
