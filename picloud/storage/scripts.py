"""Scripts and versions in PostgreSQL.

Every change is announced in its transaction: caches hear of it when it is visible.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from picloud.errors import NotFound, PreconditionFailed
from picloud.model import ANYWAY, Condition, Program, Script, Settings, Version
from picloud.storage.changes import Changed, announce
from picloud.storage.connection import Cursor
from picloud.storage.pool import Pool

_SCRIPT = "SELECT name, active_version, settings, created_at, updated_at FROM scripts"

_PAGE = "WHERE name > %(after)s AND (%(only)s IS NULL OR name = ANY(%(only)s)) ORDER BY name LIMIT %(limit)s"

_VERSION = """SELECT s.name, v.version, v.sha256, v.bytes, v.created_at, v.created_by
  FROM versions v JOIN scripts s ON s.id = v.script_id"""

_LOCK_NAME = """INSERT INTO script_names (name, last_version) VALUES (%s, 0)
    ON CONFLICT (name) DO UPDATE SET last_version = script_names.last_version"""

_ACTIVE_SHA256 = """SELECT v.version, v.sha256 FROM scripts s
  JOIN versions v ON v.script_id = s.id AND v.version = s.active_version WHERE s.name = %s"""

_NEXT_VERSION = "UPDATE script_names SET last_version = last_version + 1 WHERE name = %s RETURNING last_version"

_PUT_SCRIPT = """INSERT INTO scripts (name, active_version) VALUES (%s, %s)
    ON CONFLICT (name) DO UPDATE SET active_version = excluded.active_version, updated_at = now() RETURNING id"""

_PUT_VERSION = "INSERT INTO versions (script_id, version, sha256, bytes, created_by) VALUES (%s, %s, %s, %s, %s)"

_PUT_FILE = "INSERT INTO version_files (script_id, version, path, content) VALUES (%s, %s, %s, %s)"

_ACTIVATE = """UPDATE scripts s SET active_version = v.version, updated_at = now() FROM versions v
 WHERE s.name = %s AND v.script_id = s.id AND v.version = %s"""

_PROGRAM = """SELECT s.active_version, s.settings, f.path, f.content
  FROM scripts s JOIN version_files f ON f.script_id = s.id AND f.version = s.active_version WHERE s.name = %s"""

_FILES = """SELECT f.path, f.content FROM scripts s JOIN version_files f ON f.script_id = s.id
 WHERE s.name = %s AND f.version = %s ORDER BY f.path"""


class ScriptTable:
    """The scripts of this platform; every method is one transaction, and DatabaseUnavailable if there is none."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def put(
        self, name: str, files: Mapping[str, bytes], sha256: str, created_by: str, condition: Condition = ANYWAY
    ) -> tuple[int, bool]:
        """Store files as a new active version → (its number, True); (the active one, False) if that has this sha256.

        PreconditionFailed.
        """
        with self._pool.transaction() as cursor:
            cursor.execute(_LOCK_NAME, (name,))  # uploads to one name take turns
            cursor.execute(_ACTIVE_SHA256, (name,))
            active = cursor.fetchone()
            _check(condition, name, int(active[0]) if active else None)
            if active and active[1] == sha256:
                return int(active[0]), False
            cursor.execute(_NEXT_VERSION, (name,))
            version = int(_row(cursor)[0])
            cursor.execute(_PUT_SCRIPT, (name, version))
            script_id = _row(cursor)[0]
            size = sum(map(len, files.values()))
            cursor.execute(_PUT_VERSION, (script_id, version, sha256, size, created_by))
            for path, content in files.items():
                cursor.execute(_PUT_FILE, (script_id, version, path, content))
            announce(cursor, Changed.SCRIPT, name)
            return version, True

    def get(self, name: str) -> Script:
        """One script; NotFound."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"{_SCRIPT} WHERE name = %s", (name,))
            return _script(_found(cursor.fetchone(), name))

    def page(self, limit: int, after: str, only: Collection[str] | None = None) -> list[Script]:
        """At most limit scripts by name, those behind the name `after`; of ``only`` alone, unless it is None."""
        wanted = {"after": after, "limit": limit, "only": None if only is None else list(only)}
        with self._pool.transaction() as cursor:
            cursor.execute(f"{_SCRIPT} {_PAGE}", wanted)
            return [_script(row) for row in cursor.fetchall()]

    def delete(self, name: str) -> None:
        """Drop a script with its versions, settings and routes; NotFound. Its invocations stay."""
        with self._pool.transaction() as cursor:
            cursor.execute("DELETE FROM scripts WHERE name = %s RETURNING name", (name,))
            _found(cursor.fetchone(), name)
            announce(cursor, Changed.SCRIPT, name)
            announce(cursor, Changed.ROUTES)

    def activate(self, name: str, version: int) -> None:
        """Make a version the active one; NotFound names what is missing."""
        with self._pool.transaction() as cursor:
            cursor.execute(_ACTIVATE, (name, version))
            if cursor.rowcount == 0:
                cursor.execute("SELECT 1 FROM scripts WHERE name = %s", (name,))
                _found(cursor.fetchone(), name)
                raise NotFound(f"script '{name}' has no version {version}")
            announce(cursor, Changed.SCRIPT, name)

    def versions(self, name: str, limit: int, before: int) -> list[Version]:
        """At most limit versions, newest first, those with a number below `before`; NotFound."""
        with self._pool.transaction() as cursor:
            cursor.execute("SELECT 1 FROM scripts WHERE name = %s", (name,))
            _found(cursor.fetchone(), name)
            where = "WHERE s.name = %s AND v.version < %s ORDER BY v.version DESC LIMIT %s"
            cursor.execute(f"{_VERSION} {where}", (name, before, limit))
            return [Version(*row) for row in cursor.fetchall()]

    def version(self, name: str, version: int) -> Version:
        """One version; NotFound."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"{_VERSION} WHERE s.name = %s AND v.version = %s", (name, version))
            return Version(*_found(cursor.fetchone(), f"{name}' version '{version}"))

    def files(self, name: str, version: int) -> dict[str, bytes]:
        """The files of one version: path → text; empty if there is no such version."""
        with self._pool.transaction() as cursor:
            cursor.execute(_FILES, (name, version))
            return {path: bytes(content) for path, content in cursor.fetchall()}

    def program(self, name: str) -> Program | None:
        """The active version, ready to run."""
        with self._pool.transaction() as cursor:
            cursor.execute(_PROGRAM, (name,))
            rows = cursor.fetchall()
        if not rows:
            return None
        files = {path: bytes(content) for _, _, path, content in rows}
        return Program(name, rows[0][0], files, _settings(rows[0][1]))

    def put_settings(self, name: str, settings: Mapping[str, object]) -> None:
        """Replace what is set for a script (a JSON object: limits, env, expose_errors); NotFound."""
        with self._pool.transaction() as cursor:
            cursor.execute(
                "UPDATE scripts SET settings = %s WHERE name = %s RETURNING name", (json.dumps(settings), name)
            )
            _found(cursor.fetchone(), name)
            announce(cursor, Changed.SCRIPT, name)


def _check(condition: Condition, name: str, active_version: int | None) -> None:
    if condition.create_only and active_version is not None:
        raise PreconditionFailed(f"there is a script '{name}' already")
    if condition.active_version not in (None, active_version):
        now = "there is no such script" if active_version is None else f"version {active_version} is active"
        raise PreconditionFailed(f"version {condition.active_version} of '{name}' is not active: {now}")


def _row(cursor: Cursor) -> tuple[Any, ...]:
    """Of a statement that always gives one."""
    row = cursor.fetchone()
    assert row
    return row


def _found(row: Any, name: str) -> Any:
    if row is None:
        raise NotFound(f"there is no script '{name}'")
    return row


def _script(row: Any) -> Script:
    name, active_version, settings, created_at, updated_at = row
    return Script(name, active_version, _settings(settings), created_at, updated_at)


def _settings(stored: dict[str, Any]) -> Settings:
    return msgspec.convert(stored, Settings)
