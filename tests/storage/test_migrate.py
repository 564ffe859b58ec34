"""Migrations happen whole or not at all, once, whoever starts them and whatever kills them."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from picloud.errors import ConfigurationError, DatabaseUnavailable, PlatformError
from picloud.storage import migrate as module
from picloud.storage.connection import connect
from picloud.storage.migrate import FOLDER, migrate, pending
from tests.fixtures_postgres import execute

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in FOLDER.glob("*.sql") if not path.stem.endswith(".rollback"))
SLEEPERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"

WAITERS = """SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
  WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two migrations, at a path that is no good glob."""
    it = tmp_path / "some [folder] with ünicode"
    it.mkdir()
    (it / "0001_first.sql").write_text("-- §\nCREATE TABLE first (id integer, share text DEFAULT '50 %s');")
    (it / "0002_second.sql").write_text("CREATE TABLE second (id integer);\nINSERT INTO first VALUES (2);")
    return it


def tables(dsn: str) -> list[str]:
    wanted = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    return sorted(str(row[0]) for row in execute(dsn, wanted) if not str(row[0]).startswith("_yoyo"))


def migrator(dsn: str, folder: Path) -> "subprocess.Popen[str]":
    """A process of its own that migrates and prints what it applied."""
    code = "import sys; from pathlib import Path; from picloud.storage.migrate import migrate;"
    code += "print(*migrate(sys.argv[1], Path(sys.argv[2])))"
    command = [sys.executable, "-W", "error", "-c", code, dsn, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_a_fresh_database_gets_every_table_once(empty_database: str) -> None:
    assert pending(empty_database) == NAMES
    assert migrate(empty_database) == NAMES
    assert migrate(empty_database) == []
    assert pending(empty_database) == []
    assert {"scripts", "versions"} <= set(tables(empty_database))


def test_asking_what_is_pending_changes_nothing(empty_database: str) -> None:
    pending(empty_database)
    assert execute(empty_database, "SELECT * FROM pg_tables WHERE tablename LIKE '%yoyo%'") == []


def test_migrations_are_applied_in_order_wherever_the_folder_lies(empty_database: str, folder: Path) -> None:
    assert migrate(empty_database, folder) == ["0001_first", "0002_second"]
    assert execute(empty_database, "SELECT id, share FROM first") == [(2, "50 %s")]


def test_a_later_version_adds_what_is_new(empty_database: str, folder: Path) -> None:
    migrate(empty_database, folder)
    (folder / "0003_third.sql").write_text("CREATE TABLE third (id integer)")
    assert pending(empty_database, folder) == ["0003_third"]
    assert migrate(empty_database, folder) == ["0003_third"]


def test_a_migration_that_fails_leaves_nothing_of_itself(empty_database: str, folder: Path) -> None:
    second = folder / "0002_second.sql"
    good = second.read_text()
    second.write_text(good + "\nSELECT 1 / 0;")
    with pytest.raises(PlatformError, match="0002_second failed, nothing of it is stored: division by zero"):
        migrate(empty_database, folder)
    assert tables(empty_database) == ["first"]
    second.write_text(good)
    assert migrate(empty_database, folder) == ["0002_second"]


def test_two_at_once_apply_each_migration_once(empty_database: str, folder: Path) -> None:
    with closing(connect(empty_database)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (module._LOCK,))
        both = [migrator(empty_database, folder) for _ in range(2)]
        while execute(empty_database, WAITERS) != [(2,)]:
            assert not [process for process in both if process.poll() is not None]
    said = sorted(process.communicate(timeout=60)[0].strip() for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said == ["", "0001_first 0002_second"]


def test_a_migrator_killed_on_the_way_leaves_a_database_that_migrates(empty_database: str, folder: Path) -> None:
    second = folder / "0002_second.sql"
    good = second.read_text()
    second.write_text(good + "\nSELECT pg_sleep(60);")
    process = migrator(empty_database, folder)
    while execute(empty_database, SLEEPERS) != [(1,)]:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    second.write_text(good)
    assert migrate(empty_database, folder) == ["0002_second"]
    assert tables(empty_database) == ["first", "second"]


def test_what_a_newer_version_applied_stops_an_older_one(empty_database: str, folder: Path) -> None:
    migrate(empty_database, folder)
    (folder / "0002_second.sql").unlink()
    for ask in (migrate, pending):
        with pytest.raises(ConfigurationError, match="newer PiCloud: it has 0002_second"):
            ask(empty_database, folder)


def test_a_postgresql_that_is_too_old_is_refused(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OLDEST_SERVER", 99)
    with pytest.raises(ConfigurationError, match="PiCloud needs 99 or newer"):
        migrate(empty_database)


def test_a_migration_outside_of_a_transaction_is_refused(empty_database: str, folder: Path) -> None:
    (folder / "0002_second.sql").write_text("-- transactional: false\nCREATE TABLE second (id integer);")
    with pytest.raises(PlatformError, match="0002_second is marked as not transactional"):
        migrate(empty_database, folder)


@pytest.mark.parametrize("wrong", ["DROP SCHEMA public", "REVOKE CREATE ON SCHEMA public FROM pg_database_owner"])
def test_a_database_that_takes_no_tables_is_the_operators_to_change(empty_database: str, wrong: str) -> None:
    execute(empty_database, wrong)
    with pytest.raises(
        ConfigurationError, match=r"cannot hold PiCloud's tables: .*schema.*; make PiCloud's role its owner"
    ):
        migrate(empty_database)


def test_a_database_that_is_away_is_unavailable(tmp_path: Path) -> None:
    for ask in (migrate, pending):
        with pytest.raises(DatabaseUnavailable):
            ask(f"postgresql://someone:sesame@/nothing?host={tmp_path}")
