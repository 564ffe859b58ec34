"""The tables of this version: yoyo's migrations, each whole or not at all.

Owns: the order of the files in `sql/`, the lock between two migrators, the oldest PostgreSQL.
yoyo commits a migration before it marks it, and its lock is a row that a killed migrator leaves behind. Here both are
in one transaction, and the lock is the session's: a migrator that dies leaves nothing.
"""

import contextlib
import glob
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlBackend
from yoyo.connections import parse_uri

from picloud.errors import ConfigurationError, PlatformError
from picloud.storage.connection import Connection, commit, connect, reason, translated

FOLDER = Path(__file__).with_name("sql")

_OLDEST_SERVER = 15
_TABLE = "_yoyo_migration"
_YOYOS = ("_yoyo_log", _TABLE, "_yoyo_version")
_MADE = re.compile(r"^CREATE (TABLE|SEQUENCE) (\w+)", re.MULTILINE)
_LOCK = int.from_bytes(b"picloud", "big")  # an advisory lock's number, in this database


def migrate(dsn: str, folder: Path = FOLDER) -> list[str]:
    """Apply what is not yet applied → its names, in order; waits while another process does the same.

    ConfigurationError if the database cannot be used by this version, DatabaseUnavailable, PlatformError if a migration
    fails: that one is rolled back, those before it stay.
    """
    with locked(dsn) as connection:
        wanted, backend = _missing(connection, folder), _Backend(connection)
        _prepare(backend)
        for migration in backend.to_apply(_known(folder)):
            _apply(backend, migration)
    return wanted


def migrate_within(connection: Connection, last: str = "", folder: Path = FOLDER) -> list[str]:
    """The same in the transaction that `connection` is in, up to and with the migration `last` → the names.

    Within `locked`. What it raises leaves the transaction to be rolled back.
    """
    wanted, backend = _missing(connection, folder), _Joined(connection)
    wanted = [name for name in wanted if not last or name <= last]
    _prepare(backend)
    for migration in backend.to_apply(_known(folder)):
        if migration.id in wanted:
            _apply(backend, migration)
    return wanted


def pending(dsn: str, folder: Path = FOLDER) -> list[str]:
    """The names of the migrations that are not applied; changes nothing. Raises as `migrate` does."""
    with closing(connect_to(dsn)) as connection, translated():
        return _missing(connection, folder)


def names(folder: Path = FOLDER) -> list[str]:
    """Every migration that this version knows, in order."""
    return [migration.id for migration in _known(folder)]


def applied(connection: Connection, folder: Path = FOLDER) -> list[str]:
    """The migrations that a database has, in order; ConfigurationError if a newer PiCloud made it."""
    missing = _missing(connection, folder)
    return [name for name in names(folder) if name not in missing]


def tables(folder: Path = FOLDER) -> list[str]:
    """Every table that the migrations make, and those that say which were applied."""
    return [*_made("TABLE", folder), *_YOYOS]


def sequences(folder: Path = FOLDER) -> list[str]:
    """Every sequence that they make, beside those that are a table's own."""
    return _made("SEQUENCE", folder)


@contextmanager
def locked(dsn: str) -> Iterator[Connection]:
    """A connection that alone may migrate this database; the lock ends with it. Raises as `migrate` does."""
    with closing(connect_to(dsn)) as connection, translated():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        yield connection


def connect_to(dsn: str) -> Connection:
    """A connection whose statements may take their time; ConfigurationError if PiCloud cannot use this database."""
    connection = connect(dsn, timeouts=False)
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        connection.close()
        raise ConfigurationError(
            f"the database's encoding is {encoding}; PiCloud needs UTF8: CREATE DATABASE … ENCODING UTF8"
        )
    major = connection.server_version // 10_000
    if major < _OLDEST_SERVER:
        connection.close()
        raise ConfigurationError(f"the database is PostgreSQL {major}; PiCloud needs {_OLDEST_SERVER} or newer")
    return connection


class _Backend(PostgresqlBackend):  # type: ignore[misc] # yoyo has no types
    """yoyo on a connection of ours, which it never opens, locks or closes: it does not see the DSN."""

    def __init__(self, connection: Connection) -> None:
        self._ours = connection
        super().__init__(parse_uri("postgresql:"), _TABLE)
        self._is_locked = True  # by us

    def connect(self, _uri: object) -> Connection:
        return self._ours

    def copy(self) -> Any:
        return contextlib.nullcontext(self)

    def commit(self) -> None:
        with self.connection.cursor() as cursor:
            commit(cursor)
        self._in_transaction = False

    def log_migration(self, _migration: object, _operation: str) -> None:
        """Nothing: yoyo's log asks DNS for this host's name, and its table of migrations says enough."""


class _Joined(_Backend):
    """The same within a transaction that is somebody else's to commit."""

    def begin(self) -> None:
        self._in_transaction = True
        self.execute("SAVEPOINT migration")

    def commit(self) -> None:
        self.execute("RELEASE SAVEPOINT migration")
        self._in_transaction = False

    def rollback(self) -> None:
        self.execute("ROLLBACK TO SAVEPOINT migration")
        self._in_transaction = False


def _known(folder: Path) -> Any:
    return read_migrations(glob.escape(str(folder)))


def _made(kind: str, folder: Path) -> list[str]:
    texts = (path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.sql")))
    return [name for text in texts for what, name in _MADE.findall(text) if what == kind]


def _prepare(backend: _Backend) -> None:
    """yoyo's own tables."""
    try:
        backend.ensure_internal_schema_updated()
    except (psycopg2.ProgrammingError, psycopg2.InternalError) as error:  # no right, no schema, a read-only server
        raise ConfigurationError(
            f"the database cannot hold PiCloud's tables: {reason(error)}; make PiCloud's role its owner"
        ) from error


def _missing(connection: Connection, folder: Path) -> list[str]:
    known = names(folder)
    present = _applied(connection)
    unknown = sorted(present - set(known))
    if unknown:
        raise ConfigurationError(
            f"the database was made by a newer PiCloud: it has {', '.join(unknown)}, which this version does not know; "
            "start that version again, or restore a backup of this one"
        )
    return [name for name in known if name not in present]


def _applied(connection: Connection) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (_TABLE,))
        if cursor.fetchone() != (True,):
            return set()
        cursor.execute(f"SELECT migration_id FROM {_TABLE}")
        return {str(row[0]) for row in cursor.fetchall()}


def _apply(backend: _Backend, migration: Any) -> None:
    """Run a migration and mark it, in one transaction."""
    migration.load()
    if not migration.use_transactions:
        raise PlatformError(f"migration {migration.id} is marked as not transactional")
    try:
        with backend.transaction():
            backend.apply_one(migration)
    except psycopg2.OperationalError:
        raise  # of the connection
    except psycopg2.Error as error:
        raise PlatformError(f"migration {migration.id} failed, nothing of it is stored: {reason(error)}") from error
