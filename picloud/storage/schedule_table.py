"""The schedules and their ledger in PostgreSQL, as the API and the operator's configuration know them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from picloud.errors import Conflict, NotFound
from picloud.model import NewSchedule, Origin, Schedule, Slot, SlotState
from picloud.storage import schedules
from picloud.storage.jobs import Run, through
from picloud.storage.pool import Pool
from picloud.storage.rows import found
from picloud.storage.schedules import COLUMNS, Maker, Only, schedule_of

_VISIBLE = "(%(only)s IS NULL OR script = ANY(%(only)s))"

_PAGE = f"""SELECT {COLUMNS} FROM schedules WHERE name > %(after)s AND {_VISIBLE}
  AND (%(script)s IS NULL OR script = %(script)s) ORDER BY name LIMIT %(limit)s"""

_ONE = f"SELECT {COLUMNS} FROM schedules WHERE name = %(name)s AND {_VISIBLE}"

_SLOTS = f"""SELECT schedule, script, due_at, until_at, count, state, job::text, invocation::text, lateness_ms, ended_at
  FROM slots WHERE schedule = %(name)s AND due_at < %(before)s AND {_VISIBLE}
  AND (%(state)s IS NULL OR state = %(state)s) ORDER BY due_at DESC LIMIT %(limit)s"""

_KNOWN = f"""SELECT 1 FROM schedules WHERE name = %(name)s AND {_VISIBLE}
  UNION ALL SELECT 1 FROM slots WHERE schedule = %(name)s AND {_VISIBLE} LIMIT 1"""

_SCRIPT_ID = "SELECT id FROM scripts WHERE name = %(script)s FOR KEY SHARE"  # it is there until the schedule is

_CONFIG = Maker(Origin.CONFIG)
_END = datetime.max.replace(tzinfo=UTC)


class ScheduleTable:
    """The schedules of this platform; every method is one transaction, and DatabaseUnavailable if there is none.

    ``only``: the scripts that who asks may know of; None: all.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def page(self, limit: int, after: str, script: str | None = None, only: Only = None) -> list[Schedule]:
        """At most limit schedules by name, those behind the name `after`; of one script, if it is given."""
        return self._read(_PAGE, {"limit": limit, "after": after, "script": script, "only": only}, schedule_of)

    def get(self, name: str, only: Only = None) -> Schedule:
        """One schedule; NotFound."""
        rows = self._read(_ONE, {"name": name, "only": only}, schedule_of)
        it: Schedule = found(rows[0] if rows else None, _none(name))
        return it

    def add(self, wanted: NewSchedule, only: Only = None) -> Schedule:
        """Make one for a script; Conflict: there is one of its name; NotFound: no such script; InvalidRequest."""
        with self._pool.transaction() as cursor:
            run = through(cursor)
            maker = _by_api(run, wanted.script)
            if schedules.locked(run, wanted.name):
                raise Conflict(f"there is a schedule '{wanted.name}' already")
            return schedules.put(run, wanted, maker, only)[0]

    def put(self, wanted: NewSchedule, only: Only = None) -> tuple[Schedule, bool]:
        """Make or change one → it, and whether it is new.

        Conflict: it is not the API's to change; NotFound: there is no such script; InvalidRequest.
        """
        with self._pool.transaction() as cursor:
            run = through(cursor)
            return schedules.put(run, wanted, _by_api(run, wanted.script), only)

    def delete(self, name: str, only: Only = None) -> None:
        """Remove one; NotFound; Conflict: the operator's configuration declares it. Its slots stay."""
        with self._pool.transaction() as cursor:
            run = through(cursor)
            old, _ = schedules.locked(run, name) or (None, None)
            if old is None or not schedules.is_visible(old, only):
                raise NotFound(_none(name))
            if old.origin is Origin.CONFIG:
                raise Conflict(schedules.clash(old))
            schedules.remove(run, [name])

    def slots(
        self, name: str, limit: int, before: datetime | None = None, state: SlotState | None = None, only: Only = None
    ) -> list[Slot]:
        """At most limit slots, newest first, those due before a moment; also of a schedule that is gone.

        NotFound: there is none, and no such schedule.
        """
        wanted = {"name": name, "limit": limit, "before": before or _END, "only": only, "state": state and str(state)}
        slots = self._read(_SLOTS, wanted, _slot)
        if not slots:
            found(next(iter(self._read(_KNOWN, wanted, lambda row: row)), None), _none(name))
        return slots

    def declare(self, wanted: Sequence[NewSchedule]) -> list[str]:
        """Make the configuration's exactly these, but for names that others have → what is to be said of those.

        InvalidRequest.
        """
        with self._pool.transaction() as cursor:
            run = through(cursor)
            schedules.remove_others(run, _CONFIG, wanted)
            return [clash for it in schedules.in_order(wanted) if (clash := _declared(run, it))]

    def _read(self, statement: str, wanted: Mapping[str, Any], shape: Callable[[Any], Any]) -> list[Any]:
        only = wanted["only"]
        with self._pool.transaction() as cursor:
            rows = through(cursor)(statement, {**wanted, "only": None if only is None else list(only)})
        return [shape(row) for row in rows]


def _declared(run: Run, wanted: NewSchedule) -> str:
    """Make or change one of the configuration's → why that is not possible, or ''."""
    try:
        schedules.put(run, wanted, _CONFIG)
    except Conflict as error:
        return str(error)
    return ""


def _by_api(run: Run, script: str) -> Maker:
    rows = run(_SCRIPT_ID, {"script": script})
    (script_id,) = found(rows[0] if rows else None, f"there is no script '{script}'")
    return Maker(Origin.API, script_id)


def _slot(row: Sequence[Any]) -> Slot:
    schedule, script, due_at, until, count, state, *rest = row
    return Slot(schedule, script, due_at, until, count, SlotState(state), *rest)


def _none(name: str) -> str:
    return f"there is no schedule '{name}'"
