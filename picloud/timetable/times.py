"""Times of a day as a cron expression has them: some hours, of each some minutes, of each some seconds.

They are counted and cut without being written down: an expression for every second has 86,400 a day.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class DayTimes:
    """Seconds since midnight, ascending: those numbered from ``first`` up to ``end`` of all that the fields make."""

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]
    first: int
    end: int

    @classmethod
    def of(cls, hours: Iterable[int], minutes: Iterable[int], seconds: Iterable[int]) -> "DayTimes":
        """All that these make."""
        h, m, s = (tuple(sorted(field)) for field in (hours, minutes, seconds))
        return cls(h, m, s, 0, len(h) * len(m) * len(s))

    def between(self, low: int, high: int) -> "DayTimes":
        """Of all that the fields make, those from ``low`` on and before ``high``."""
        return DayTimes(self.hours, self.minutes, self.seconds, self._before(low), self._before(high))

    def __len__(self) -> int:
        return max(0, self.end - self.first)

    def __getitem__(self, index: int) -> int:
        rest, second = divmod(self.first + index, len(self.seconds))
        hour, minute = divmod(rest, len(self.minutes))
        return self.hours[hour] * 3600 + self.minutes[minute] * 60 + self.seconds[second]

    def _before(self, moment: int) -> int:
        """How many are before a second of the day, by their number among all."""
        number, on_the_way = 0, True  # whether there are some with the same hour, minute, … as the moment
        for place, field in zip(_clock(moment), (self.hours, self.minutes, self.seconds), strict=True):
            found = bisect_left(field, place) if on_the_way else 0
            number = number * len(field) + found
            on_the_way = on_the_way and found < len(field) and field[found] == place
        return number


def _clock(moment: int) -> tuple[int, int, int]:
    return moment // 3600, moment // 60 % 60, moment % 60
