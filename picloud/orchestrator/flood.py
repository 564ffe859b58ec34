"""What a flood is refused with, before anything is done for it.

Owns: when a refusal stands for those that come after it. Knows nothing of slots, scripts or HTTP.

While refusals are few, each is an invocation with a record. A flood of them would leave no time for those that were
let in, and no room for their records. So from the 50th on, until there was none for a second, a refusal stands for
everybody who wants the same. For each place that becomes free here one of them is let through. There may be more places
than those, which others held when this began: so every 20 ms one more is let through to see, and if nobody is refused,
then two, then four.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from picloud.errors import PicloudError

FEW = 50  # refusals
_QUIET_S = 1.0
_TRY_S = 0.02
_PLACES_MAX = 1_000  # of which refusals are remembered


@dataclass(slots=True)
class _Crowd:
    """Those who want one place."""

    refusal: PicloudError
    count: int  # of refusals that were earned the long way
    last: float  # refusal, of either kind
    try_at: float  # from then on more are let through to see
    free: int = 0  # how many are to be let through
    tries: int = 1  # how many more it will be at `try_at`


class Flood:
    """One process's refusals of late. A place is any name; threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._crowds: dict[str, _Crowd] = {}
        self._mutex = threading.Lock()

    def refused(self, place: str, refusal: PicloudError) -> None:
        """Somebody was refused there, after all was tried: so whatever was left is taken."""
        with self._mutex:
            now = self._clock()
            crowd = self._crowds.get(place)
            if crowd is None or now - crowd.last > _QUIET_S:
                if len(self._crowds) >= _PLACES_MAX:
                    self._crowds.clear()
                crowd = self._crowds[place] = _Crowd(refusal, 0, now, now)
            crowd.refusal, crowd.last, crowd.try_at = refusal, now, now + _TRY_S
            crowd.free, crowd.tries = 0, 1
            crowd.count += 1

    def freed(self, place: str) -> None:
        """Somebody left: one more may be let through."""
        with self._mutex:
            if crowd := self._crowds.get(place):
                crowd.free += 1

    def standing(self, place: str) -> PicloudError | None:
        """The refusal that stands for whoever comes now; None: let this one through."""
        with self._mutex:
            crowd = self._crowds.get(place)
            now = self._clock()
            if crowd is None or crowd.count < FEW or now - crowd.last > _QUIET_S:
                return None
            return _refusal(crowd, now)


def _refusal(crowd: _Crowd, now: float) -> PicloudError | None:
    if not crowd.free and now >= crowd.try_at:
        crowd.free, crowd.tries, crowd.try_at = crowd.tries, 2 * crowd.tries, now + _TRY_S
    if crowd.free:
        crowd.free -= 1
        return None
    crowd.last = now
    return crowd.refusal
