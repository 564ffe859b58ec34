"""All that is configured of scripts, read and changed as one.

Owns: the statement that reads it, who waits for whom while it is changed, and the order of the changes. Each change is
made by its noun's own module.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from picloud.configuration import FILES_BYTES_MAX, SCRIPTS_MAX, Plan, ScriptState, Snapshot, tag_of, tidy
from picloud.errors import Conflict, TransactionConflict
from picloud.model import ANYWAY, Missed, NewSchedule, Origin, Overlap, SettingsChange, StoredSettings
from picloud.patterns import RouteWanted
from picloud.storage import routes, schedules, scripts, subscriptions, uploads
from picloud.storage.connection import Cursor
from picloud.storage.jobs import through
from picloud.storage.pool import Pool
from picloud.storage.schedules import Maker
from picloud.subscriptions import SubscriptionWanted

# One statement: one moment. Schedules of the operator's file and of scripts' own runs are not among what is configured.
_STATES = """SELECT s.name, v.sha256, v.bytes, s.settings,
  (SELECT json_agg(json_build_array(method, NULLIF(host, ''), path)) FROM routes WHERE script_id = s.id),
  (SELECT json_agg(json_build_array(type, NULLIF(source, ''), NULLIF(subject, '')))
     FROM subscriptions WHERE script_id = s.id),
  (SELECT json_agg(json_build_array(name, cron, every, at, timezone, convert_from(payload, 'UTF8'), overlap, missed,
     missed_within_s, jitter_s)) FROM schedules WHERE script_id = s.id AND origin IN ('api', 'bundle'))
  FROM scripts s JOIN versions v ON v.script_id = s.id AND v.version = s.active_version"""

_FILES = """SELECT s.name, f.path, f.content FROM scripts s
  JOIN version_files f ON f.script_id = s.id AND f.version = s.active_version
  WHERE %(names)s IS NULL OR s.name = ANY(%(names)s) ORDER BY s.name, f.path"""

# In the order in which an upload takes them, and in one order: two of these wait for each other, and not in a circle.
_LOCK_NAMES = "SELECT 1 FROM script_names ORDER BY name FOR NO KEY UPDATE"
_LOCK_SCRIPTS = "SELECT 1 FROM scripts ORDER BY name FOR NO KEY UPDATE"


class ConfigurationTable:
    """What is configured; every method is one transaction, and DatabaseUnavailable if there is none."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def read(self, names: Collection[str] | None) -> Snapshot:
        """What stands now, with the files of these scripts; None: of all. Conflict: they are too large for that."""
        with self._pool.transaction() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            states = _states(cursor)
            _check_size([it for it in states.values() if names is None or it.name in names])
            cursor.execute(_FILES, {"names": None if names is None else list(names)})
            files: dict[str, dict[str, bytes]] = {}
            for name, path, content in cursor.fetchall():
                files.setdefault(name, {})[path] = bytes(content)
            cursor.execute("SELECT name FROM secrets")
            return Snapshot(states, files, frozenset(name for (name,) in cursor.fetchall()))

    def apply(self, plan: Plan, tag: str, *, keep: bool) -> None:
        """Make all of a plan's changes; or, unless they are to be kept, try that they can be made, and undo them.

        TransactionConflict: what stands is not what the plan was made for, whose tag is given. Conflict, NotFound,
        InvalidRequest: one of them cannot be made. All or nothing.
        """
        with suppress(_NotKept), self._pool.transaction() as cursor:
            cursor.execute(_LOCK_NAMES)
            cursor.execute(_LOCK_SCRIPTS)
            if tag_of(_states(cursor).values()) != tag:
                raise TransactionConflict
            _remove(cursor, plan)
            _make(cursor, plan)
            if not keep:
                raise _NotKept


class _NotKept(Exception):
    """It was a trial."""


def _remove(cursor: Cursor, plan: Plan) -> None:
    for name in plan.scripts_gone:
        scripts.drop(cursor, _locked(cursor, name))
    if plan.routes_gone:
        routes.remove(cursor, plan.routes_gone)
    for it in plan.subscriptions_gone:
        subscriptions.remove(cursor, _locked(cursor, it.script).id, it.subscription)
    if plan.schedules_gone:
        schedules.remove(through(cursor), plan.schedules_gone)


def _make(cursor: Cursor, plan: Plan) -> None:
    for name, upload in plan.uploads:
        _, done = uploads.store(cursor, name, upload, ANYWAY)
        uploads.tell_deployed(cursor, name, done.version)
    for name, settings in plan.settings:
        uploads.change_settings(cursor, _locked(cursor, name), _exactly(settings))
    for own in plan.routes:
        routes.put(cursor, _locked(cursor, own.script).id, own.route, declared=own.declared)
    for it in plan.subscriptions:
        script = _locked(cursor, it.script)
        subscriptions.put(cursor, script.id, it.subscription, declared=it.declared)
    for wanted in plan.schedules:
        origin = Origin.BUNDLE if wanted.declared else Origin.API
        maker = Maker(origin, _locked(cursor, wanted.schedule.script).id)
        schedules.take(through(cursor), wanted.schedule, maker)


def _exactly(settings: StoredSettings) -> SettingsChange:
    return lambda _: settings


def _locked(cursor: Cursor, name: str) -> uploads.Locked:
    """A script that was locked before, or is new; nobody can have removed it."""
    script = uploads.lock(cursor, name)
    assert script
    return script


def _states(cursor: Cursor) -> dict[str, ScriptState]:
    cursor.execute(_STATES)
    return {row[0]: _state(*row) for row in cursor.fetchall()}


def _state(
    name: str, sha256: str, size: int, settings: Mapping[str, Any], ways: Any, heard: Any, times: Any
) -> ScriptState:
    return ScriptState(
        name,
        sha256,
        size,
        tidy(settings),
        tuple(RouteWanted(*it) for it in ways or ()),
        tuple(SubscriptionWanted(*it) for it in heard or ()),
        tuple(_schedule(name, *it) for it in times or ()),
    )


def _schedule(script: str, name: str, *fields: Any) -> NewSchedule:
    cron, every, at, timezone, payload, overlap, missed, *spans = fields
    policies = (Overlap(overlap), Missed(missed), *spans)
    return NewSchedule(name, script, cron, every, at, timezone, payload.encode(), *policies)


def _check_size(states: Sequence[ScriptState]) -> None:
    if len(states) > SCRIPTS_MAX:
        raise Conflict(f"there are {len(states)} scripts, and at most {SCRIPTS_MAX} are a configuration: make a backup")
    size = sum(it.bytes for it in states)
    if size > FILES_BYTES_MAX:
        raise Conflict(
            f"the active versions have {size} bytes together, and at most {FILES_BYTES_MAX} are a configuration:"
            " 'picloud source NAME --output DIR' gives one script, a backup all of them"
        )
