"""A database as one stream of bytes, and the rows in it: PostgreSQL's pg_dump and pg_restore.

Owns: where these programs are, which of them fits, how they are run, what they write. Knows nothing of files of ours.
pg_restore only reads here what pg_dump wrote: what is put into a database is put there by `loading`.
"""

import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import make_dsn, parse_dsn

from picloud.errors import ConfigurationError, PlatformError
from picloud.storage.cluster import find_wheel, last_lines
from picloud.storage.connection import Connection, Cursor, reason, translated
from picloud.storage.migrate import applied, connect_to, sequences, tables

_DEBIAN = Path("/usr/lib/postgresql")
_CHUNK_BYTES = 1024 * 1024
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")
_SNAPSHOT = re.compile(r"[0-9A-F-]+")
_SECRET_WORDS = ("password", "sslpassword")


@dataclass(frozen=True, slots=True)
class Program:
    """pg_dump or pg_restore of one PostgreSQL."""

    path: Path
    major: int
    version: str


def find(name: str, major: int, what: str) -> Program:
    """The program nearest to a major version, and not older; ConfigurationError: `what` needs a package."""
    found = list(_programs(name))
    fitting = [one for one in found if one.major >= major]
    if fitting:
        return min(fitting, key=lambda one: one.major)
    there = f"the newest here is {max(one.major for one in found)}" if found else "there is none here"
    raise ConfigurationError(
        f"{what} needs {name} of PostgreSQL {major} or newer; {there}: apt-get install postgresql-client-{major}"
    )


class Snapshot:
    """All of PiCloud's tables as they were at one moment, while others go on writing.

    `major`, `postgres`: the server's version. `schema`: its last migration. `rows`: table → how many.
    """

    def __init__(self, dsn: str, connection: Connection) -> None:
        self._dsn = dsn
        self.major = connection.server_version // 10_000
        self.postgres = str(connection.info.parameter_status("server_version")).split()[0]
        names = applied(connection)
        if not names:
            raise PlatformError("there is nothing to back up: the database has no PiCloud in it")
        self.schema = names[-1]
        with connection.cursor() as cursor:
            cursor.execute("SET idle_in_transaction_session_timeout = 0")
            cursor.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self._id = _text(cursor, "SELECT pg_export_snapshot()")
            self._schema_name = _text(cursor, "SELECT current_schema()")
            self.rows = {name: _count(cursor, name) for name in present(cursor)}
        self.program = find("pg_dump", self.major, f"a backup of PostgreSQL {self.major}")

    def dump(self) -> Iterator[bytes]:
        """What pg_dump writes, in its custom format; PlatformError if it does not come to its end."""
        given = parse_dsn(self._dsn)
        hidden = {word: given.pop(word) for word in _SECRET_WORDS if word in given}
        if "sslpassword" in hidden:
            raise ConfigurationError("pg_dump cannot be given an sslpassword unseen: name a key without one in the URI")
        given["application_name"] = "picloud backup"
        assert _SNAPSHOT.fullmatch(self._id)
        command = [
            str(self.program.path), "--format=custom", "--no-owner", "--no-privileges", "--no-password",
            "--encoding=UTF8", f"--snapshot={self._id}", f"--dbname={make_dsn(**given)}", *self._wanted(),
        ]  # fmt: skip
        environment = {"PGPASSWORD": hidden["password"]} if hidden else {}
        with _running(command, environment, chunks=()) as output:
            yield from iter(lambda: output.read(_CHUNK_BYTES), b"")

    def _wanted(self) -> Iterator[str]:
        for name in (*tables(), *sequences()):
            yield "--table=" + ".".join('"' + part.replace('"', '""') + '"' for part in (self._schema_name, name))


@contextmanager
def snapshot(dsn: str) -> Iterator[Snapshot]:
    """Take one; it holds nobody up. ConfigurationError, DatabaseUnavailable, PlatformError if there is no PiCloud."""
    with closing(connect_to(dsn)) as connection, refusals_said():
        yield Snapshot(dsn, connection)


@contextmanager
def refusals_said() -> Iterator[None]:
    """What PostgreSQL does not let this role do, or do now: PlatformError says it in PostgreSQL's words."""
    try:
        with translated():
            yield
    except psycopg2.Error as error:
        raise PlatformError(f"PostgreSQL refuses: {reason(error)}") from error


def has_password(dsn: str) -> bool:
    """Whether a DSN holds what must not be told; True of what is none."""
    try:
        return any(parse_dsn(dsn).get(word) for word in _SECRET_WORDS)
    except psycopg2.ProgrammingError:
        return True


def present(cursor: Cursor) -> list[str]:
    """Those tables of PiCloud's that a database has."""
    cursor.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename = ANY(%s)", (tables(),)
    )
    return sorted(str(row[0]) for row in cursor.fetchall())


@contextmanager
def contents(major: int, chunks: Iterable[bytes], *, only_list: bool = False) -> Iterator[IO[bytes]]:
    """A block that reads, as text, what pg_dump of PostgreSQL `major` wrote: statements, and below each COPY its rows.

    PlatformError at the block's end if that was no dump, or not a whole one.
    """
    program = find("pg_restore", major, "this backup")
    words = ["--list"] if only_list else ["--data-only", "--no-owner", "--file=-"]
    with _running([str(program.path), *words], {}, chunks) as output:
        yield output


@contextmanager
def _running(command: list[str], environment: Mapping[str, str], chunks: Iterable[bytes]) -> Iterator[IO[bytes]]:
    """A program in a block that reads its output; `chunks` is its input. PlatformError says why it fails."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
            env={**os.environ, "LC_ALL": "C", **environment},
        )  # fmt: skip
        assert process.stdin
        assert process.stdout
        feeder = _Feeder(process.stdin, chunks)
        try:
            yield process.stdout
            status = process.wait()
        finally:
            process.kill()
            process.stdout.close()
            process.wait()
            feeder.join()
        if feeder.error:
            raise feeder.error
        if status:
            said.seek(0)
            name = Path(command[0]).name
            raise PlatformError(f"{name} failed: {last_lines(said.read().decode(errors='replace'), count=3)}")


class _Feeder(threading.Thread):
    """Writes what a program reads; `error`: what kept it from that, unless the program was content with less."""

    def __init__(self, pipe: IO[bytes], chunks: Iterable[bytes]) -> None:
        super().__init__(name="feeder")
        self._pipe, self._chunks = pipe, chunks
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            with suppress(BrokenPipeError), self._pipe:
                for chunk in self._chunks:
                    self._pipe.write(chunk)
        except Exception as error:  # noqa: BLE001 - raised where the program is waited for
            self.error = error


def _programs(name: str) -> Iterator[Program]:
    """Every one of this name here: the embedded PostgreSQL's, Debian's, and that of PATH."""
    folders = [path / "bin" for path in sorted(_DEBIAN.glob("*"))]
    with suppress(ConfigurationError):
        folders.insert(0, find_wheel()[0])
    if on_path := shutil.which(name):
        folders.append(Path(on_path).parent)
    for folder in folders:
        with suppress(OSError):
            done = subprocess.run([folder / name, "--version"], capture_output=True, text=True, check=False)
            if version := _VERSION.search(done.stdout):
                yield Program(folder / name, int(version[1]), version[1] + version[2])


def _text(cursor: Cursor, statement: str) -> str:
    cursor.execute(statement)
    ((value,),) = cursor.fetchall()
    return str(value)


def _count(cursor: Cursor, table: str) -> int:
    cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
    ((count,),) = cursor.fetchall()
    return int(count)
