"""The steps of an upload in PostgreSQL, each in its caller's transaction.

Owns: their SQL, and who waits for whom: uploads to one name take turns, and so do changes of one script's settings.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from psycopg2.extras import execute_values

from picloud.declared import Declared
from picloud.errors import Conflict, PreconditionFailed
from picloud.events import DEPLOYED
from picloud.model import Condition, Origin, SettingsChange, StoredSettings, Upload, Uploaded
from picloud.storage.changes import Changed, announce
from picloud.storage.connection import Cursor
from picloud.storage.events import publish_own
from picloud.storage.jobs import through
from picloud.storage.routes import replace_declared as replace_routes
from picloud.storage.rows import found
from picloud.storage.schedules import Maker, replace_own
from picloud.storage.subscriptions import replace_declared as replace_subscriptions

_LOCK_NAME = """INSERT INTO script_names (name, last_version) VALUES (%s, 0)
    ON CONFLICT (name) DO UPDATE SET last_version = script_names.last_version"""

_LOCK_SCRIPT = "SELECT id, active_version, settings FROM scripts WHERE name = %s FOR NO KEY UPDATE"

_SHA256 = "SELECT sha256 FROM versions WHERE script_id = %s AND version = %s"

_NEXT_VERSION = "UPDATE script_names SET last_version = last_version + 1 WHERE name = %s RETURNING last_version"

_NEW_SCRIPT = "INSERT INTO scripts (name, active_version) VALUES (%s, %s) RETURNING id"

_NEW_VERSION = """INSERT INTO versions (script_id, version, sha256, bytes, created_by, applied)
    VALUES (%s, %s, %s, %s, %s, %s)"""

_NEW_FILES = "INSERT INTO version_files (script_id, version, path, content) VALUES %s"

_APPLIED = "SELECT applied FROM versions WHERE script_id = %s AND version = %s"

_SET_APPLIED = "UPDATE versions SET applied = true WHERE script_id = %s AND version = %s"

_ACTIVATE = "UPDATE scripts SET active_version = %s, updated_at = now() WHERE id = %s"

_SET_SETTINGS = "UPDATE scripts SET settings = %s, updated_at = now() WHERE id = %s"


@dataclass(frozen=True, slots=True)
class Locked:
    """A script that nobody else changes until the transaction ends."""

    id: int
    name: str
    active_version: int
    settings: StoredSettings


def lock(cursor: Cursor, name: str) -> Locked | None:
    """Wait for a script, if there is one."""
    cursor.execute(_LOCK_SCRIPT, (name,))
    row = cursor.fetchone()
    return Locked(row[0], name, *row[1:]) if row else None


def store(cursor: Cursor, name: str, upload: Upload, condition: Condition) -> tuple[Locked, Uploaded]:
    """Store a version, unless the active one has its sha256, and make it active if it is to be.

    PreconditionFailed; Conflict for a first version that is not to be active.
    """
    cursor.execute(_LOCK_NAME, (name,))
    script = lock(cursor, name)
    check(condition, name, script.active_version if script else None)
    if script and _is_active(cursor, script, upload.sha256):
        return script, Uploaded(script.active_version, script.active_version, created=False)
    if script is None and not upload.activate:
        raise _never_active()
    cursor.execute(_NEXT_VERSION, (name,))
    version = _one(cursor)
    script = script or _new_script(cursor, name, version)
    _store_version(cursor, script.id, version, upload)
    if upload.activate:
        cursor.execute(_ACTIVATE, (version, script.id))
        announce(cursor, Changed.SCRIPT, name)
    return script, Uploaded(version, version if upload.activate else script.active_version, created=True)


def activate(
    cursor: Cursor,
    script: Locked,
    version: int,
    declared: Declared,
    only: Collection[str] | None,
) -> None:
    """Make a version the active one; the first time, apply what it declares. NotFound, Conflict."""
    cursor.execute(_APPLIED, (script.id, version))
    (applied,) = found(cursor.fetchone(), f"script '{script.name}' has no version {version}")
    if not applied:
        apply(cursor, script, declared, only)
        cursor.execute(_SET_APPLIED, (script.id, version))
    cursor.execute(_ACTIVATE, (version, script.id))
    announce(cursor, Changed.SCRIPT, script.name)
    if version != script.active_version:
        tell_deployed(cursor, script.name, version)


def apply(
    cursor: Cursor,
    script: Locked,
    declared: Declared,
    only: Collection[str] | None,
) -> None:
    """Apply what a version declares; Conflict.

    ``only``: the scripts that who asks may know of, and a conflict names; None: all.
    """
    if declared.settings is not None:
        change_settings(cursor, script, declared.settings)
    if declared.routes is not None:
        replace_routes(cursor, script.id, declared.routes, only)
    if declared.subscriptions is not None:
        replace_subscriptions(cursor, script.id, declared.subscriptions, only)
    if declared.schedules is not None:
        replace_own(through(cursor), Maker(Origin.BUNDLE, script.id), declared.schedules, only)


def tell_deployed(cursor: Cursor, name: str, version: int) -> None:
    """Publish that a version is the active one now, in the same transaction; whoever commits rings."""
    publish_own(through(cursor), DEPLOYED, name, {"script": name, "version": version})


def change_settings(cursor: Cursor, script: Locked, change: SettingsChange) -> dict[str, Any]:
    """Replace what is set for a script by what ``change`` makes of it → that. Announced if it is anything else."""
    now = dict(change(script.settings))
    if now != script.settings:
        cursor.execute(_SET_SETTINGS, (json.dumps(now), script.id))
        announce(cursor, Changed.SCRIPT, script.name)
    return now


def _is_active(cursor: Cursor, script: Locked, sha256: str) -> bool:
    cursor.execute(_SHA256, (script.id, script.active_version))
    return bool(_one(cursor) == sha256)


def _new_script(cursor: Cursor, name: str, version: int) -> Locked:
    cursor.execute(_NEW_SCRIPT, (name, version))
    return Locked(_one(cursor), name, version, {})


def _store_version(cursor: Cursor, script_id: int, version: int, upload: Upload) -> None:
    size = sum(map(len, upload.files.values()))
    cursor.execute(_NEW_VERSION, (script_id, version, upload.sha256, size, upload.created_by, upload.activate))
    rows = [(script_id, version, path, content) for path, content in upload.files.items()]
    execute_values(cursor, _NEW_FILES, rows, page_size=len(rows))


def check(condition: Condition, name: str, active_version: int | None) -> None:
    """PreconditionFailed unless the condition holds; None: there is no such script."""
    if condition.create_only and active_version is not None:
        raise PreconditionFailed(f"there is a script '{name}' already")
    if condition.update_only and active_version is None:
        raise PreconditionFailed(f"there is no script '{name}' yet")
    if condition.active_versions is not None and active_version not in condition.active_versions:
        now = "there is no such script" if active_version is None else f"version {active_version} is active"
        wanted = " or ".join(map(str, sorted(condition.active_versions)))
        raise PreconditionFailed(f"version {wanted} of '{name}' is not active: {now}")


def _never_active() -> Conflict:
    return Conflict("?activate=false: there is no version before this one that could stay active; upload it without")


def _one(cursor: Cursor) -> Any:
    """The value of a statement that always gives one."""
    row = cursor.fetchone()
    assert row
    return row[0]
