"""A real PostgreSQL for tests: one server a session, one fresh migrated database a test.

`PICLOUD_TEST_POSTGRES_BIN`: the bin folder of another PostgreSQL than the wheel's.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from psycopg2 import sql
from psycopg2.extensions import parse_dsn

from picloud.storage.connection import connect
from picloud.storage.embedded import EmbeddedPostgres
from picloud.storage.migrate import migrate

BINARIES = Path(path) if (path := os.environ.get("PICLOUD_TEST_POSTGRES_BIN")) else None
_TEMPLATE = "migrated"
_numbers = count(1)

NewPostgres = Callable[[Path], EmbeddedPostgres]


def execute(dsn: str, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    """Run one statement on a connection of its own → its rows."""
    with closing(connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


def named(dsn: str, name: str) -> str:
    """The same server's database of another name."""
    assert parse_dsn(dsn)["dbname"] == "picloud"
    return dsn.replace("@/picloud?", f"@/{name}?")


def create_database(server: str, name: str, template: str = "template0") -> str:
    """Make a database → its DSN."""
    with closing(connect(server)) as connection, connection.cursor() as cursor:
        names = map(sql.Identifier, (name, template))
        cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
    return named(server, name)


@pytest.fixture(scope="session")
def short_dir() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name; pytest's own grow too long."""
    folder = Path(tempfile.mkdtemp(prefix="picloud-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(short_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A server that all tests share: do not restart it."""
    data = short_dir / "shared"
    data.mkdir()
    server = EmbeddedPostgres(data, data / "run", binaries=BINARIES, fsync=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_postgres(short_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A server of this test, to be restarted and killed; it is started."""
    data = short_dir / f"own{next(_numbers)}"
    data.mkdir()
    server = EmbeddedPostgres(data, data / "run", binaries=BINARIES, fsync=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated(postgres: EmbeddedPostgres) -> str:
    """The name of the database that fresh ones are copies of."""
    migrate(create_database(postgres.dsn, _TEMPLATE))
    return _TEMPLATE


def _fresh(server: str, template: str) -> Iterator[str]:
    name = f"test{next(_numbers)}"
    yield create_database(server, name, template)
    execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(postgres: EmbeddedPostgres, migrated: str) -> Iterator[str]:
    """The DSN of a fresh database with PiCloud's tables."""
    yield from _fresh(postgres.dsn, migrated)


@pytest.fixture
def other_database(postgres: EmbeddedPostgres, migrated: str) -> Iterator[str]:
    """The DSN of another one."""
    yield from _fresh(postgres.dsn, migrated)


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a fresh database without tables."""
    yield from _fresh(postgres.dsn, "template0")
