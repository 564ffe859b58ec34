"""Events and subscriptions: what was published, and which scripts hear of what.

Owns: what of them a caller may see and change. Knows nothing of HTTP or PostgreSQL; `picloud.events` and
`picloud.subscriptions` have their rules.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from picloud.model import Event, EventFilter, Published, StoredEvent, Subscription
from picloud.subscriptions import SubscriptionWanted

_DEPTH = 1  # of an event that no other led to


class EventRepository(Protocol):
    """Where events are kept."""

    def publish(self, events: Sequence[Event], depth: int) -> list[Published]:
        """Store all or none, with the jobs of who hears of them."""

    def page(self, wanted: EventFilter, limit: int, after: int | None) -> list[StoredEvent]:
        """Newest first, those with a number below `after`."""

    def get(self, number: int) -> StoredEvent:
        """One; NotFound."""


class SubscriptionRepository(Protocol):
    """Where subscriptions are kept. ``only``: of these scripts alone, unless it is None."""

    def page(self, limit: int, after: int, only: Collection[str] | None) -> list[Subscription]:
        """Subscriptions by id, those behind `after`."""

    def get(self, identifier: int, only: Collection[str] | None) -> Subscription:
        """One; NotFound."""

    def add(self, script: str, wanted: SubscriptionWanted, only: Collection[str] | None) -> Subscription:
        """Store one; Conflict; NotFound: there is no such script; Forbidden: it takes what others publish."""

    def delete(self, identifier: int, only: Collection[str] | None) -> None:
        """Drop one; NotFound."""


class Events:
    """What was published. `ring` tells who runs jobs that there are some, `wrote` who keeps tables small of rows."""

    def __init__(self, repository: EventRepository, ring: Callable[[], None], wrote: Callable[[int], None]) -> None:
        self._repository = repository
        self._ring = ring
        self._wrote = wrote

    def publish(self, events: Sequence[Event]) -> list[Published]:
        """Publish all or none; they are good (`picloud.events.check_foreign`)."""
        done = self._repository.publish(events, _DEPTH)
        if any(it.jobs for it in done):
            self._ring()
        self._wrote(sum(not it.duplicate for it in done))
        return done

    def page(self, wanted: EventFilter, limit: int, after: int | None) -> list[StoredEvent]:
        """Events, newest first, those with a number below `after` (None: from the newest)."""
        return self._repository.page(wanted, limit, after)

    def get(self, number: int) -> StoredEvent:
        """One event; NotFound."""
        return self._repository.get(number)


class Subscriptions:
    """Which scripts hear of what.

    ``only``: the scripts that the caller's token is limited to, or None; others' subscriptions do not exist for it.
    """

    def __init__(self, repository: SubscriptionRepository) -> None:
        self._repository = repository

    def page(self, limit: int, after: int, only: Collection[str] | None = None) -> list[Subscription]:
        """Subscriptions by id, those behind `after`."""
        return self._repository.page(limit, after, only)

    def get(self, identifier: int, only: Collection[str] | None = None) -> Subscription:
        """One; NotFound."""
        return self._repository.get(identifier, only)

    def add(self, script: str, wanted: SubscriptionWanted, only: Collection[str] | None = None) -> Subscription:
        """Have a script hear of events from now on. NotFound: there is none; Conflict: it does; Forbidden."""
        return self._repository.add(script, wanted, only)

    def delete(self, identifier: int, only: Collection[str] | None = None) -> None:
        """Drop one; NotFound."""
        self._repository.delete(identifier, only)
