"""Schedules: what of them a caller may see and change, and when they are due next.

Knows nothing of HTTP or PostgreSQL; `picloud.planning` has the rules of a schedule, `picloud.timetable` those of times.
"""

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Protocol

from picloud import planning
from picloud.errors import Conflict
from picloud.model import NewSchedule, Schedule, Slot, SlotState
from picloud.timetable import BadRule, Rule, slots

NEXT_RUNS_MAX = 1000
_AHEAD = timedelta(days=50 * 366)

Only = Collection[str] | None


class ScheduleRepository(Protocol):
    """Where schedules are kept. ``only``: of these scripts alone, unless it is None."""

    def page(self, limit: int, after: str, script: str | None, only: Only) -> list[Schedule]:
        """Schedules by name, those behind `after`."""

    def get(self, name: str, only: Only) -> Schedule:
        """One; NotFound."""

    def add(self, wanted: NewSchedule, only: Only) -> Schedule:
        """Make one; Conflict, NotFound, InvalidRequest."""

    def put(self, wanted: NewSchedule, only: Only) -> tuple[Schedule, bool]:
        """Make or change one → it, and whether it is new; Conflict, NotFound, InvalidRequest."""

    def delete(self, name: str, only: Only) -> None:
        """Remove one; NotFound, Conflict."""

    def slots(self, name: str, limit: int, before: datetime | None, state: SlotState | None, only: Only) -> list[Slot]:
        """Newest first, those due before a moment; NotFound."""


class Schedules:
    """The control plane of schedules. `ring` tells the dispatchers that something may be due, after the commit.

    ``only``: the scripts that the caller's token is limited to, or None; others' schedules do not exist for it.
    """

    def __init__(self, repository: ScheduleRepository, ring: Callable[[], None]) -> None:
        self._repository = repository
        self._ring = ring

    def page(self, limit: int, after: str, script: str | None = None, only: Only = None) -> list[Schedule]:
        """Schedules by name, those behind `after`; of one script, if it is given."""
        return self._repository.page(limit, after, script, only)

    def get(self, name: str, only: Only = None) -> Schedule:
        """One schedule; NotFound."""
        return self._repository.get(name, only)

    def add(self, wanted: NewSchedule, only: Only = None) -> Schedule:
        """Make one. InvalidRequest; NotFound: there is no such script; Conflict: there is one of its name."""
        planning.check(wanted)
        made = self._repository.add(wanted, only)
        self._ring()
        return made

    def put(self, wanted: NewSchedule, only: Only = None) -> tuple[Schedule, bool]:
        """Make or replace one → it, and whether it is new.

        InvalidRequest; NotFound: there is no such script; Conflict: it was not made here, and says where.
        """
        planning.check(wanted)
        done = self._repository.put(wanted, only)
        self._ring()
        return done

    def delete(self, name: str, only: Only = None) -> None:
        """Remove one; its slots stay. NotFound; Conflict: the server's configuration declares it."""
        self._repository.delete(name, only)
        self._ring()

    def slots(
        self, name: str, limit: int, before: datetime | None, state: SlotState | None = None, only: Only = None
    ) -> list[Slot]:
        """What became of its due times, newest first, also of a schedule that is gone; NotFound."""
        return self._repository.slots(name, limit, before, state, only)

    def next_runs(self, name: str, count: int, only: Only = None) -> tuple[Schedule, list[datetime]]:
        """One schedule, and when it is due next, from now on; NotFound; Conflict: its rule is not known any more."""
        it = self._repository.get(name, only)
        try:
            return it, upcoming(planning.rule_of(it), it.anchor, datetime.now(UTC), count)
        except BadRule as error:
            raise Conflict(f"schedule '{name}' is not due any more: {error}") from error


def upcoming(rule: Rule, anchor: datetime, after: datetime, count: int) -> list[datetime]:
    """The next due times after a moment, in UTC; fewer if there are no more."""
    return list(islice(slots(rule, anchor, after, after + _AHEAD), count))
