"""The dispatcher's part in schedules: what is due becomes jobs, and what the clock did is put right.

Owns: when the ledger is asked. `due` says what becomes of each slot, `storage.slots` writes it down.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from picloud.model import DueSchedule, Schedule, SlotPlan, SlotRange
from picloud.orchestrator.due import cut, decide
from picloud.orchestrator.metrics import NOBODY, Metrics
from picloud.planning import rule_of
from picloud.timetable import following

_BATCH = 100  # schedules in one transaction

_log = logging.getLogger(__name__)

Decide = Callable[[DueSchedule], SlotPlan]
Cut = Callable[[Schedule, SlotRange, datetime], SlotRange | None]
Following = Callable[[Schedule, datetime], datetime | None]


class Ledger(Protocol):
    """Schedules that are due, and what has become of their slots; all raise DatabaseUnavailable."""

    def make_due(self, decide: Decide, limit: int, now: datetime | None = None) -> int:
        """Write what becomes of some of what is due → of how many schedules; 0: nothing is, or others are at it."""

    def rewind(self, following: Following, cut: Cut, now: datetime | None = None) -> int:
        """Put back what is ahead of the clock → how many schedules."""

    def next_in_s(self) -> float | None:
        """When the next slot is due; 0 or less: now. None: never."""


class Schedules:
    """All of this platform's: every dispatcher may try at any time, and each slot is one's."""

    def __init__(self, ledger: Ledger, metrics: Metrics = NOBODY) -> None:
        self._ledger = ledger
        self._metrics = metrics

    def make_due(self, now: datetime | None = None) -> None:
        """Decide about all that is due; DatabaseUnavailable."""
        while self._make_due(now):
            pass

    def rewind(self, now: datetime | None = None) -> None:
        """The clock was set, or may have been; DatabaseUnavailable."""
        if put_back := self._ledger.rewind(_following, cut, now):
            _log.info("the clock was set back: %d schedules go by what it shows now", put_back)

    def _make_due(self, now: datetime | None) -> int:
        late_s: list[float] = []

        def decided(due: DueSchedule) -> SlotPlan:
            plan = decide(due)
            late_s.extend((due.now - at).total_seconds() for at, _ in plan.jobs)
            return plan

        made = self._ledger.make_due(decided, _BATCH, now)
        self._metrics.late(late_s)  # only now: what is not committed was not made
        return made

    def next_in_s(self) -> float | None:
        """When there is something to make; 0 or less: now. None: never. DatabaseUnavailable."""
        return self._ledger.next_in_s()


def _following(it: Schedule, after: datetime) -> datetime | None:
    return following(rule_of(it), it.anchor, after)
