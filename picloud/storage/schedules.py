"""Schedules as they are made and changed, in the transaction of whoever does it.

Owns: whose schedule is whose, and what a change keeps. Who made one changes it: the operator's file, a script's
bundle, the API, or a script's own runs. One that stays as it is is not written; one that is due at the same times
as before keeps what is due of it; intervals count from where they did. Who commits a change then tells the
dispatchers (`jobs.NEWS`). `schedule_table` has how they are read.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from picloud import planning
from picloud.errors import Conflict
from picloud.model import SCHEDULES_OF_SCRIPT_MAX, Missed, NewSchedule, Origin, Overlap, Schedule
from picloud.storage.jobs import Run
from picloud.timetable import following

COLUMNS = """name, script, cron, every, at, timezone, payload, overlap, missed, missed_within_s, jitter_s, origin,
  anchor, next_due, error, created_at, updated_at"""
"""Of a row of `schedules`, for `schedule_of`."""

_LOCKED = f"SELECT {COLUMNS}, script_id FROM schedules WHERE name = %(name)s FOR UPDATE"

_FIELDS = "script, script_id, cron, every, at, timezone, payload, overlap, missed, missed_within_s, jitter_s, origin"
_VALUES = ", ".join(f"%({name})s" for name in _FIELDS.split(", "))

_INSERT = f"""INSERT INTO schedules (name, {_FIELDS}, anchor, next_due)
  VALUES (%(name)s, {_VALUES}, %(anchor)s, %(next_due)s) ON CONFLICT (name) DO NOTHING RETURNING {COLUMNS}"""

_UPDATE = f"""UPDATE schedules SET ({_FIELDS}) = ({_VALUES}), anchor = %(anchor)s, next_due = %(next_due)s, error = '',
  updated_at = now() WHERE name = %(name)s RETURNING {COLUMNS}"""

_DELETE = "DELETE FROM schedules WHERE name = ANY(%(names)s)"

_GIVE = """UPDATE schedules SET origin = %(origin)s, script_id = %(script_id)s
  WHERE name = %(name)s AND (origin, script_id) IS DISTINCT FROM (%(origin)s, %(script_id)s)"""

_OWN = f"""SELECT {COLUMNS} FROM schedules
  WHERE origin = %(origin)s AND script_id IS NOT DISTINCT FROM %(script_id)s ORDER BY name"""

_LOCK_SCRIPT = "SELECT 1 FROM scripts WHERE id = %(script_id)s FOR KEY SHARE"  # it is there until the schedule is

_WHOSE = {
    Origin.CONFIG: "is declared by the server's configuration: change its [[schedule]] in the file of PICLOUD_CONFIG",
    Origin.BUNDLE: "is declared by the picloud.toml of script '{script}': change it there, or delete it first",
    Origin.API: "was made by the API: delete it first",
    Origin.SCRIPT: "was made by a run of script '{script}': delete it first",
}

Only = Collection[str] | None
"""The scripts that who asks may know of; None: all."""


@dataclass(frozen=True, slots=True)
class Maker:
    """Who makes a schedule; ``script_id``: the script with which it goes; None: with none."""

    origin: Origin
    script_id: int | None = None


class ScriptSchedules:
    """What one invocation's transaction does with schedules; every method may raise what `UnitOfWork.read` does."""

    def __init__(self, read: Run, write: Run, will_ring: Callable[[], None]) -> None:
        self._read = read
        self._write = write
        self._will_ring = will_ring

    def put(self, wanted: NewSchedule, script_id: int) -> Schedule:
        """Make or change one of a script's own. InvalidRequest; Conflict: another made it, or there are too many."""
        maker = Maker(Origin.SCRIPT, script_id)
        if not self._write(_LOCK_SCRIPT, {"script_id": script_id}):
            raise Conflict("this script has been deleted meanwhile")
        names = {it.name for it in self.own(script_id)}
        if wanted.name not in names and len(names) >= SCHEDULES_OF_SCRIPT_MAX:
            raise Conflict(f"a script makes at most {SCHEDULES_OF_SCRIPT_MAX} schedules")
        self._will_ring()
        return put(self._write, wanted, maker, ())[0]

    def remove(self, name: str, script_id: int) -> bool:
        """Remove one of a script's own → whether it was there. Conflict: another made it."""
        old = locked(self._write, name)
        if old is None:
            return False
        _require_own(*old, Maker(Origin.SCRIPT, script_id), ())
        remove(self._write, [name])
        return True

    def own(self, script_id: int) -> list[Schedule]:
        """Those that a script made, by name."""
        return _own(self._read, Maker(Origin.SCRIPT, script_id))


def put(run: Run, wanted: NewSchedule, maker: Maker, only: Only = None) -> tuple[Schedule, bool]:
    """Make a schedule, or change one of the same maker's → it, and whether it is new.

    InvalidRequest; Conflict: it is another's.
    """
    rule = planning.check(wanted)
    while True:
        now = datetime.now(UTC)
        if old := locked(run, wanted.name):
            _require_own(*old, maker, only)
            return _changed(run, old[0], wanted, maker, now), False
        row = _row(wanted, maker) | {"anchor": now, "next_due": following(rule, now, now)}
        if made := run(_INSERT, row):  # or somebody else made one of its name in this moment
            return schedule_of(made[0]), True


def take(run: Run, wanted: NewSchedule, maker: Maker) -> None:
    """Make a schedule, or change one, whether the API made it or a bundle declares it: it is the maker's from now on.

    InvalidRequest; Conflict: the operator's file declares it, or a run of a script made it.
    """
    if old := locked(run, wanted.name):
        it = old[0]
        if it.origin not in (Origin.API, Origin.BUNDLE):
            raise Conflict(clash(it))
        _changed(run, it, wanted, maker, datetime.now(UTC))
        run(_GIVE, {"name": it.name, **_of(maker)})
    else:
        put(run, wanted, maker)


def replace_own(run: Run, maker: Maker, wanted: Sequence[NewSchedule], only: Only = None) -> None:
    """Make the schedules of a maker exactly these. InvalidRequest, Conflict."""
    remove_others(run, maker, wanted)
    for it in in_order(wanted):
        put(run, it, maker, only)


def remove_others(run: Run, maker: Maker, wanted: Sequence[NewSchedule]) -> None:
    """Remove what a maker has and does not want any more."""
    remove(run, sorted({it.name for it in _own(run, maker)} - {it.name for it in wanted}))


def in_order(wanted: Sequence[NewSchedule]) -> list[NewSchedule]:
    """By name: two who change the same ones wait for each other, and not in a circle."""
    return sorted(wanted, key=lambda it: it.name)


def remove(run: Run, names: Sequence[str]) -> None:
    """Remove schedules; their slots stay."""
    run(_DELETE, {"names": list(names)})


def locked(run: Run, name: str) -> tuple[Schedule, int | None] | None:
    """A schedule that nobody else changes until the transaction ends, and the script with which it goes."""
    rows = run(_LOCKED, {"name": name})
    return (schedule_of(rows[0][:-1]), rows[0][-1]) if rows else None


def clash(it: Schedule, only: Only = None) -> str:
    """Why a schedule is not to be changed by who asks."""
    if not is_visible(it, only):
        return f"there is a schedule '{it.name}' already, which is not yours: choose another name"
    return f"schedule '{it.name}' {_WHOSE[it.origin].format(script=it.script)}"


def is_visible(it: Schedule, only: Only) -> bool:
    """Whether who asks may know of it."""
    return only is None or it.script in only


def schedule_of(row: Sequence[Any]) -> Schedule:
    """A row of `COLUMNS`."""
    name, script, cron, every, at, timezone, payload, overlap, missed, within_s, jitter_s, origin, *rest = row
    policies = (Overlap(overlap), Missed(missed), within_s, jitter_s, Origin(origin))
    return Schedule(name, script, cron, every, at, timezone, bytes(payload), *policies, *rest)


def _changed(run: Run, old: Schedule, wanted: NewSchedule, maker: Maker, now: datetime) -> Schedule:
    if not old.error and _differing(old, wanted) == set():
        return old
    anchor = old.anchor if old.every == wanted.every else now
    is_due_alike = not old.error and not _differing(old, wanted) & {"cron", "every", "at", "timezone"}
    next_due = old.next_due if is_due_alike else following(planning.check(wanted), anchor, now)
    return schedule_of(run(_UPDATE, _row(wanted, maker) | {"anchor": anchor, "next_due": next_due})[0])


def _differing(old: Schedule, wanted: NewSchedule) -> set[str]:
    return {field for field, value in _fields(wanted).items() if getattr(old, field) != value}


def _fields(wanted: NewSchedule) -> dict[str, Any]:
    return {field: getattr(wanted, field) for field in NewSchedule.__dataclass_fields__}


def _own(run: Run, maker: Maker) -> list[Schedule]:
    return [schedule_of(row) for row in run(_OWN, _of(maker))]


def _require_own(old: Schedule, script_id: int | None, maker: Maker, only: Only) -> None:
    """Conflict unless the maker made it; what the API made is the API's, whatever script it was for."""
    is_own = old.origin is maker.origin and (maker.origin is Origin.API or script_id == maker.script_id)
    if not (is_own and (maker.origin is not Origin.API or is_visible(old, only))):
        raise Conflict(clash(old, only))


def _row(wanted: NewSchedule, maker: Maker) -> dict[str, Any]:
    enums = {"overlap": str(wanted.overlap), "missed": str(wanted.missed)}
    return _fields(wanted) | enums | _of(maker)


def _of(maker: Maker) -> dict[str, Any]:
    return {"script_id": maker.script_id, "origin": str(maker.origin)}
