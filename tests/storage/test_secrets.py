"""Secrets in PostgreSQL: sealed, listed without their values, and sealed anew while others go on."""

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from picloud.errors import NotFound
from picloud.manager.secrets import Secrets, rotate
from picloud.sealing import CannotOpen, KeyFile
from picloud.storage.changes import CHANNEL
from picloud.storage.connection import connect
from picloud.storage.listener import Listener
from picloud.storage.pool import Pool
from picloud.storage.scripts import ScriptTable
from picloud.storage.secrets import SecretTable
from tests.fixtures_postgres import execute
from tests.storage.test_nouns import put

VALUE = "a plaintext that nobody may find"


@pytest.fixture
def table(pool: Pool) -> SecretTable:
    return SecretTable(pool)


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    made = KeyFile(tmp_path / "secret.key")
    made.create()
    return made


@pytest.fixture
def secrets(table: SecretTable, keys: KeyFile) -> Secrets:
    return Secrets(table, keys, lambda: None)


def opened(table: SecretTable, keys: KeyFile, name: str) -> str:
    sealed = table.sealed(name)
    assert sealed is not None
    return keys.open(name, sealed)


def test_what_is_stored_opens_with_the_key_and_is_found_nowhere_else(
    secrets: Secrets, table: SecretTable, keys: KeyFile, database: str
) -> None:
    secrets.put("NAME", VALUE)
    assert opened(table, keys, "NAME") == VALUE
    tables = execute(database, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    everything = [row for (name,) in tables for row in execute(database, f'SELECT it::text FROM "{name}" it')]
    assert any("NAME" in str(row) for row in everything)
    assert not [row for row in everything if VALUE in str(row)]


def test_a_value_is_replaced_and_its_secret_stays(secrets: Secrets, table: SecretTable, keys: KeyFile) -> None:
    first, is_new = secrets.put("NAME", "one")
    assert is_new
    second, is_new = secrets.put("NAME", "two")
    assert (is_new, second.created_at, opened(table, keys, "NAME")) == (False, first.created_at, "two")
    assert second.updated_at > first.updated_at


def test_secrets_are_listed_by_name_with_the_scripts_that_are_granted_them(
    secrets: Secrets, scripts: ScriptTable
) -> None:
    for name in ("b", "A", "_c"):
        secrets.put(name, "x")
    for name in ("two", "one", "none"):
        put(scripts, name, b"return 1")
    scripts.change_settings("two", lambda _: {"secrets": ["A", "not-there"]})
    scripts.change_settings("one", lambda _: {"secrets": ["A", "b"]})
    assert [(it.name, it.scripts) for it in secrets.page(10, "")] == [
        ("A", ("one", "two")),
        ("_c", ()),
        ("b", ("one",)),
    ]
    assert [it.name for it in secrets.page(1, "A")] == ["_c"]
    assert secrets.get("b").scripts == ("one",)


def test_what_is_forgotten_is_gone(secrets: Secrets, table: SecretTable) -> None:
    assert not table.any()
    secrets.put("NAME", VALUE)
    assert table.any()
    secrets.delete("NAME")
    assert table.sealed("NAME") is None
    with pytest.raises(NotFound, match="there is no secret 'NAME'"):
        secrets.delete("NAME")
    with pytest.raises(NotFound):
        secrets.get("NAME")


def test_changes_are_announced_by_name_and_all_at_once(
    secrets: Secrets, table: SecretTable, keys: KeyFile, database: str
) -> None:
    heard: list[str] = []
    listening, all_heard = threading.Event(), threading.Event()

    def hear(message: str) -> None:
        heard.append(message)
        if len(heard) == 3:
            all_heard.set()

    listener = Listener(database, CHANNEL, on_message=hear, on_listening=listening.set)
    listener.start()
    try:
        assert listening.wait(30)
        secrets.put("NAME", VALUE)
        rotate(keys, table)
        secrets.delete("NAME")
        assert all_heard.wait(30)
    finally:
        listener.stop()
    assert heard == ["secrets NAME", "secrets ", "secrets NAME"]


def test_after_a_rotation_the_old_key_opens_nothing_and_the_new_one_all(
    secrets: Secrets, table: SecretTable, keys: KeyFile, tmp_path: Path
) -> None:
    for number in range(5):
        secrets.put(f"N{number}", f"{VALUE} {number}")
    stolen = tmp_path / "stolen.key"
    stolen.write_bytes((tmp_path / "secret.key").read_bytes())
    stolen.chmod(0o600)
    assert rotate(keys, table) == 5
    assert [opened(table, keys, f"N{number}") for number in range(5)] == [f"{VALUE} {number}" for number in range(5)]
    with pytest.raises(CannotOpen):
        opened(table, KeyFile(stolen), "N1")


def test_a_value_that_does_not_open_stops_a_rotation_and_no_key_is_lost(
    secrets: Secrets, table: SecretTable, keys: KeyFile
) -> None:
    secrets.put("GOOD", VALUE)
    table.put("LOST", lambda: "sealed by nobody")
    with pytest.raises(CannotOpen):
        rotate(keys, table)
    assert opened(table, keys, "GOOD") == VALUE


@pytest.mark.parametrize("first", ["put", "rotate"])
def test_what_is_set_during_a_rotation_opens_after_it(
    first: str, secrets: Secrets, table: SecretTable, keys: KeyFile, database: str
) -> None:
    """Whichever comes to the table first: it is held until both want it, in this order."""
    secrets.put("NAME", "before")
    wanted: dict[str, Callable[[], object]] = {
        "put": lambda: secrets.put("NAME", "after"),
        "rotate": lambda: rotate(keys, table),
    }
    order = sorted(wanted, key=lambda it: it != first)
    threads = [threading.Thread(target=wanted[name]) for name in order]
    with closing(connect(database)) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE secrets IN ACCESS EXCLUSIVE MODE")
        for count, thread in enumerate(threads, start=1):
            thread.start()
            wait_for_waiters(database, count)
        cursor.execute("COMMIT")
    for thread in threads:
        thread.join()
    assert opened(table, keys, "NAME") == "after"


def wait_for_waiters(database: str, count: int) -> None:
    """Until so many wait for the table."""
    waiting = """SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
      WHERE NOT granted AND relation = 'secrets'::regclass AND datname = current_database()"""
    while execute(database, waiting) != [(count,)]:
        pass
