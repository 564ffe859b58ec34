"""What a version declares beside its files, by its `picloud.toml`: applied when it is first active.

Owns: the one list of what that is. `manager.manifest` reads it, `storage.uploads` applies it, all of it or nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from picloud.model import NewSchedule, SettingsChange
from picloud.patterns import RouteWanted
from picloud.subscriptions import SubscriptionWanted


@dataclass(frozen=True, slots=True)
class Declared:
    """None: it says nothing of this kind, and what is there stays. A list: exactly these."""

    settings: SettingsChange | None = None
    routes: Sequence[RouteWanted] | None = None
    subscriptions: Sequence[SubscriptionWanted] | None = None
    schedules: Sequence[NewSchedule] | None = None


NOTHING = Declared()
