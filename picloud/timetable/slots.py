"""The due times of a rule: one way to them, whoever asks, wherever a question begins or ends.

All moments are in UTC. A rule's due times are a line of *pieces*: a moment, and seconds after it. A piece is one day
of a rule that names times, or the whole of one that is an interval, so counting costs no more than days.

Two kinds of rules:

- Intervals (`every` without a time of the day, and hours and minutes with one) are time that passes: seconds since the
  anchor, before it as well as after it. A day is 24 hours.
- What names times of a day (cron; `every` day or weekday `at`) goes by the clocks of its zone. When these are set,
  Debian's rule holds: a rule that names its hours and minutes is due once a day: what the clocks skip is due at once
  when they have been set, what they show twice is due the first time. One whose minutes or hours begin with `*` goes
  by what the clocks show: what they skip is not due, what they show twice is due twice.

That is how cronsim has it, but for two things. It goes by six fields as if they began with `*`, and it forgets hours in
zones whose clocks are set by half an hour.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Protocol
from zoneinfo import ZoneInfo

from picloud.timetable import zones
from picloud.timetable.rules import Cron, Interval, Rule, read
from picloud.timetable.times import DAY_S, DayTimes
from picloud.timetable.zones import EPOCH, Span

_AHEAD_DAYS = (2, 64, 800, 50 * 366)  # how far is looked in turn; what is not due within fifty years is never due
_SECOND = timedelta(seconds=1)
_EPOCH_DAY = EPOCH.toordinal()
_EPOCH_WEEKDAY = 3  # it was a Thursday
_AT_ONCE = (0,)


class _Seconds(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> int: ...


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some due times: so many seconds after a moment."""

    base: datetime
    seconds: _Seconds

    def __len__(self) -> int:
        return len(self.seconds)

    def __getitem__(self, index: int) -> datetime:
        return self.base + timedelta(seconds=self.seconds[index])


def slots(rule: Rule, anchor: datetime, after: datetime, until: datetime) -> Iterator[datetime]:
    """Due times after one moment up to and with another, ascending; ValueError if the rule is none (any more)."""
    for piece in _pieces(rule, anchor, after, until):
        yield from map(piece.__getitem__, range(len(piece)))


def count(rule: Rule, anchor: datetime, after: datetime, until: datetime) -> int:
    """How many `slots` are, without making them."""
    return sum(map(len, _pieces(rule, anchor, after, until)))


def latest(rule: Rule, anchor: datetime, after: datetime, until: datetime, limit: int = 1) -> list[datetime]:
    """The last few of `slots`, ascending."""
    pieces = reversed(list(_pieces(rule, anchor, after, until)))
    backwards = (piece[index] for piece in pieces for index in reversed(range(len(piece))))
    return list(islice(backwards, limit))[::-1]


def following(rule: Rule, anchor: datetime, after: datetime) -> datetime | None:
    """The first due time after a moment; None: there is none within fifty years."""
    for days in _AHEAD_DAYS:
        for first in slots(rule, anchor, after, after + timedelta(days=days)):
            return first
    return None


def _pieces(rule: Rule, anchor: datetime, after: datetime, until: datetime) -> Iterator[_Piece]:
    said, zone = read(rule), zones.zone(rule.timezone)
    if isinstance(said, Cron) or said.weekday is not None or (said.unit == "days" and said.at is not None):
        low, high = _seconds(after) + 1, _seconds(until) + 1
        return _Clock(said, zone, anchor).pieces(low, high)
    return _steps(said.interval_s, _aligned(said, zone, anchor), after, until)


def _seconds(moment: datetime) -> int:
    return (moment - EPOCH) // _SECOND


def _steps(step_s: int, base: datetime, after: datetime, until: datetime) -> Iterator[_Piece]:
    first, end = ((moment - base) // timedelta(seconds=step_s) + 1 for moment in (after, until))
    yield _Piece(base.astimezone(UTC), range(first * step_s, end * step_s, step_s))


def _aligned(said: Interval, zone: ZoneInfo, anchor: datetime) -> datetime:
    """The anchor; with a time of the hour or the minute, when the zone's clocks showed that, in the anchor's."""
    if said.at is None:
        return anchor
    local = _seconds(anchor) + zones.ahead_s(zone, _seconds(anchor))
    _, minute, second = said.at
    length_s, place = (3600, minute * 60 + second) if said.unit == "hours" else (60, second)
    return EPOCH + timedelta(seconds=_seconds(anchor) - local % length_s + place)


class _Clock:
    """A rule that goes by a zone's clocks. Moments are seconds since 1970, as clocks show them or in UTC."""

    def __init__(self, said: Cron | Interval, zone: ZoneInfo, anchor: datetime) -> None:
        self._said = said
        self._zone = zone
        self._anchor_day = anchor.astimezone(zone).toordinal() - _EPOCH_DAY
        if isinstance(said, Cron):
            self._times = DayTimes.of(said.hours, said.minutes, said.seconds)
        else:
            self._times = DayTimes.of(*((place,) for place in said.at or (0, 0, 0)))
        self._names_times = said.names_times if isinstance(said, Cron) else True

    def pieces(self, low: int, high: int) -> Iterator[_Piece]:
        """Those from one moment on and before another."""
        for span in zones.spans(self._zone, low, high):
            yield from self._skipped(span, low)
            first = max(span.start, low) + span.ahead_s
            if self._names_times:
                first = max(first, span.seam)  # before that, the clocks show what they have shown
            for day, times in self._days(first, span.end + span.ahead_s):
                yield _Piece(EPOCH + timedelta(seconds=day * DAY_S - span.ahead_s), times)

    def _skipped(self, span: Span, low: int) -> Iterator[_Piece]:
        """What the clocks left out when they were set, due at once; unless it is due then anyway."""
        if not self._names_times or span.start < low or span.seam >= span.shown:
            return
        if any(self._days(span.seam, span.shown)) and not any(self._days(span.shown, span.shown + 1)):
            yield _Piece(EPOCH + timedelta(seconds=span.start), _AT_ONCE)

    def _days(self, low: int, high: int) -> Iterator[tuple[int, DayTimes]]:
        """Days since 1970 with the times of each, as the clocks show them from ``low`` on and before ``high``."""
        for day in range(low // DAY_S, -(-high // DAY_S)):
            if self._has(day):
                times = self._times.between(max(0, low - day * DAY_S), min(DAY_S, high - day * DAY_S))
                if len(times):
                    yield day, times

    def _has(self, day: int) -> bool:
        if isinstance(self._said, Cron):
            return self._said.has(date.fromordinal(day + _EPOCH_DAY))
        if self._said.weekday is not None:
            return (day + _EPOCH_WEEKDAY) % 7 == self._said.weekday
        return (day - self._anchor_day) % self._said.interval == 0
