"""What a flood is refused with, before anything is done for it.

Owns: when a refusal stands for those that come after it. Knows nothing of slots, scripts or HTTP.

While refusals are few, each is an invocation with a record. A flood of them would leave no time for those that were
let in, and no room for their records. So from the 50th on, until there was none for a second, a refusal stands for
everybody who wants the same. For each place that becomes free here one of them is let through, and one every 20 ms
whatever happens, since a place may have become free in another process.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from picloud.errors import PicloudError

FEW = 50  # refusals
_QUIET_S = 1.0
_STANDS_S = 0.02
_PLACES_MAX = 1_000  # of which refusals are remembered


@dataclass(slots=True)
class _Crowd:
    """Those who want one place."""

    refusal: PicloudError
    count: int  # of refusals that were earned the long way
    last: float  # refusal, of either kind
    until: float  # it stands, but for …
    free: int = 0  # … places that nobody took yet


class Flood:
    """One process's refusals of late. A place is any name; threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._crowds: dict[str, _Crowd] = {}

    def refused(self, place: str, refusal: PicloudError) -> None:
        """Somebody was refused there, after all was tried."""
        now = self._clock()
        crowd = self._crowds.get(place)
        if crowd is None or now - crowd.last > _QUIET_S:
            if len(self._crowds) >= _PLACES_MAX:
                self._crowds.clear()
            crowd = self._crowds[place] = _Crowd(refusal, 0, now, now)
        crowd.refusal, crowd.last, crowd.until, crowd.free = refusal, now, now + _STANDS_S, 0
        crowd.count += 1

    def freed(self, place: str) -> None:
        """Somebody left: one more may be let through."""
        if crowd := self._crowds.get(place):
            crowd.free += 1

    def standing(self, place: str) -> PicloudError | None:
        """The refusal that stands for whoever comes now; None: let this one through."""
        crowd = self._crowds.get(place)
        if crowd is None or crowd.count < FEW:
            return None
        now = self._clock()
        if now - crowd.last > _QUIET_S:
            return None
        if crowd.free or now >= crowd.until:
            crowd.free = max(0, crowd.free - 1)
            crowd.until = now + _STANDS_S
            return None
        crowd.last = now
        return crowd.refusal
