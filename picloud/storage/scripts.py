"""Scripts and versions in PostgreSQL.

Every change is announced in its transaction: caches hear of it when it is visible.
Of settings only what was set is stored; the rest is the server's, and so is the last word on limits.
"""

from collections.abc import Collection, Sequence
from typing import Any

from picloud.declared import NOTHING, Declared
from picloud.model import (
    ANYWAY,
    DEFAULT_POLICY,
    Condition,
    Policy,
    Program,
    Script,
    Settings,
    SettingsChange,
    Upload,
    Uploaded,
    Version,
)
from picloud.storage import idempotency, uploads, values
from picloud.storage.changes import Changed, announce
from picloud.storage.connection import Cursor
from picloud.storage.pool import Pool
from picloud.storage.rows import found

_SCRIPT = "SELECT name, active_version, settings, created_at, updated_at FROM scripts"

_PAGE = "WHERE name > %(after)s AND (%(only)s IS NULL OR name = ANY(%(only)s)) ORDER BY name LIMIT %(limit)s"

_VERSION = """SELECT s.name, v.version, v.sha256, v.bytes, v.created_at, v.created_by
  FROM versions v JOIN scripts s ON s.id = v.script_id"""

_PROGRAM = """SELECT s.id, s.active_version, s.settings, f.path, f.content
  FROM scripts s JOIN version_files f ON f.script_id = s.id AND f.version = s.active_version WHERE s.name = %s"""

_PROGRAM_OF = """SELECT s.id, v.version, s.settings, f.path, f.content
  FROM scripts s JOIN versions v ON v.script_id = s.id
  JOIN version_files f ON f.script_id = s.id AND f.version = v.version WHERE s.name = %s AND v.version = %s"""

_FILES = """SELECT f.path, f.content FROM scripts s JOIN version_files f ON f.script_id = s.id
 WHERE s.name = %s AND f.version = %s ORDER BY f.path"""

_UNAPPLIED = """SELECT f.path, f.content FROM scripts s JOIN versions v ON v.script_id = s.id AND NOT v.applied
  JOIN version_files f ON f.script_id = s.id AND f.version = v.version WHERE s.name = %s AND v.version = %s"""


class ScriptTable:
    """The scripts of this platform; every method is one transaction, and DatabaseUnavailable if there is none."""

    def __init__(self, pool: Pool, policy: Policy = DEFAULT_POLICY) -> None:
        self._pool = pool
        self._policy = policy

    def put(
        self,
        name: str,
        upload: Upload,
        condition: Condition = ANYWAY,
        declared: Declared = NOTHING,
        only: Collection[str] | None = None,
    ) -> Uploaded:
        """Store a new version, unless the active one has its sha256; and, if it is to be active, what it declares.

        All or nothing: PreconditionFailed, InvalidRequest, Conflict.
        ``only``: the scripts that who asks may know of, and a conflict names; None: all.
        """
        with self._pool.transaction() as cursor:
            script, done = uploads.store(cursor, name, upload, condition)
            if upload.activate:
                uploads.apply(cursor, script, declared, only)
            if done.created and upload.activate:
                uploads.tell_deployed(cursor, name, done.version)
            return done

    def get(self, name: str) -> Script:
        """One script; NotFound."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"{_SCRIPT} WHERE name = %s", (name,))
            return self._script(found(cursor.fetchone(), f"there is no script '{name}'"))

    def page(self, limit: int, after: str, only: Collection[str] | None = None) -> list[Script]:
        """At most limit scripts by name, those behind the name `after`; of ``only`` alone, unless it is None."""
        wanted = {"after": after, "limit": limit, "only": None if only is None else list(only)}
        with self._pool.transaction() as cursor:
            cursor.execute(f"{_SCRIPT} {_PAGE}", wanted)
            return [self._script(row) for row in cursor.fetchall()]

    def delete(self, name: str, condition: Condition = ANYWAY) -> None:
        """Drop a script with its versions, settings, routes and values; NotFound, PreconditionFailed.

        Its invocations stay.
        """
        with self._pool.transaction() as cursor:
            drop(cursor, _locked(cursor, name, condition))

    def activate(
        self,
        name: str,
        version: int,
        condition: Condition = ANYWAY,
        declared: Declared = NOTHING,
        only: Collection[str] | None = None,
    ) -> None:
        """Make a version the active one; and, if it never was, apply what it declares: see `unapplied`.

        NotFound names what is missing. All or nothing: PreconditionFailed, InvalidRequest, Conflict.
        """
        with self._pool.transaction() as cursor:
            script = _locked(cursor, name, condition)
            uploads.activate(cursor, script, version, declared, only)

    def versions(self, name: str, limit: int, before: int) -> list[Version]:
        """At most limit versions, newest first, those with a number below `before`; NotFound."""
        with self._pool.transaction() as cursor:
            _require(cursor, name)
            where = "WHERE s.name = %s AND v.version < %s ORDER BY v.version DESC LIMIT %s"
            cursor.execute(f"{_VERSION} {where}", (name, before, limit))
            return [Version(*row) for row in cursor.fetchall()]

    def version(self, name: str, version: int) -> Version:
        """One version; NotFound."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"{_VERSION} WHERE s.name = %s AND v.version = %s", (name, version))
            row = cursor.fetchone()
            if row is None:
                _require(cursor, name)
            return Version(*found(row, f"script '{name}' has no version {version}"))

    def files(self, name: str, version: int) -> dict[str, bytes]:
        """The files of one version: path → text; empty if there is no such version."""
        with self._pool.transaction() as cursor:
            cursor.execute(_FILES, (name, version))
            return {path: bytes(content) for path, content in cursor.fetchall()}

    def unapplied(self, name: str, version: int) -> dict[str, bytes]:
        """The files of a version that never was active: path → content; empty for any other."""
        with self._pool.transaction() as cursor:
            cursor.execute(_UNAPPLIED, (name, version))
            return {path: bytes(content) for path, content in cursor.fetchall()}

    def program(self, name: str) -> Program | None:
        """The active version, ready to run."""
        with self._pool.transaction() as cursor:
            cursor.execute(_PROGRAM, (name,))
            rows = cursor.fetchall()
        return self._program(name, rows) if rows else None

    def program_of(self, name: str, version: int) -> Program:
        """One version, ready to run with the settings of now; NotFound."""
        with self._pool.transaction() as cursor:
            cursor.execute(_PROGRAM_OF, (name, version))
            rows = cursor.fetchall()
            if not rows:
                _require(cursor, name)
        return self._program(name, found(rows or None, f"script '{name}' has no version {version}"))

    def change_settings(self, name: str, change: SettingsChange) -> Settings:
        """Replace what is set for a script by what ``change`` makes of it → what holds now; NotFound.

        Changes take turns; what ``change`` raises leaves everything as it was.
        """
        with self._pool.transaction() as cursor:
            script = _locked(cursor, name)
            return self._policy.hold(uploads.change_settings(cursor, script, change))

    def _program(self, name: str, rows: Sequence[Any]) -> Program:
        files = {path: bytes(content) for *_, path, content in rows}
        script_id, version, settings, *_ = rows[0]
        return Program(name, version, files, self._policy.hold(settings), script_id)

    def _script(self, row: Any) -> Script:
        name, active_version, settings, created_at, updated_at = row
        return Script(name, active_version, self._policy.hold(settings), created_at, updated_at)


def drop(cursor: Cursor, script: uploads.Locked) -> None:
    """Drop a script with all that is its own, in the caller's transaction."""
    values.drop(cursor, script.id)
    idempotency.drop(cursor, script.id)
    cursor.execute("DELETE FROM scripts WHERE id = %s", (script.id,))
    announce(cursor, Changed.SCRIPT, script.name)
    announce(cursor, Changed.ROUTES)


def _locked(cursor: Cursor, name: str, condition: Condition = ANYWAY) -> uploads.Locked:
    """A script that waits for this transaction; NotFound, PreconditionFailed."""
    script: uploads.Locked = found(uploads.lock(cursor, name), f"there is no script '{name}'")
    uploads.check(condition, name, script.active_version)
    return script


def _require(cursor: Cursor, name: str) -> None:
    cursor.execute("SELECT 1 FROM scripts WHERE name = %s", (name,))
    found(cursor.fetchone(), f"there is no script '{name}'")
