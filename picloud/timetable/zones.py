"""Time zones: which there are, and when their clocks are set.

The tables are the system's; where it has none, those of the package tzdata.
"""

import difflib
import re
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from picloud.timetable.times import DAY_S

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_NAME = re.compile(r"[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")  # becomes a path; `posix/…`, `right/…` are no zones
_NAME_BYTES_MAX = 64
_LOOK_BACK_S = 2 * DAY_S  # no clock is set by more than a day


@dataclass(frozen=True, slots=True)
class Span:
    """A time during which a zone's clocks run without being set; moments in seconds since 1970."""

    start: int
    end: int
    ahead_s: int  # of UTC
    seam: int  # what the clocks showed at `start` before they were set: as they show, seconds since 1970

    @property
    def shown(self) -> int:
        """What the clocks show at `start`."""
        return self.start + self.ahead_s


def zone(name: str) -> zoneinfo.ZoneInfo:
    """A zone by its IANA name; ValueError says that there is none, and which one may be meant."""
    if len(name) > _NAME_BYTES_MAX:
        raise ValueError(f"a zone's name has at most {_NAME_BYTES_MAX} bytes, not {len(name)}")
    if _NAME.fullmatch(name):
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # none, no table, a folder of them
            pass
    nearest = _nearest(name)
    raise ValueError(f"there is no time zone '{name}'" + (f"; did you mean '{nearest}'?" if nearest else ""))


def ahead_s(zone: zoneinfo.ZoneInfo, moment: int) -> int:
    """By how much a zone's clocks are ahead of UTC."""
    offset = (EPOCH + timedelta(seconds=moment)).astimezone(zone).utcoffset()
    assert offset is not None  # a zone's table always says
    return int(offset.total_seconds())


def spans(zone: zoneinfo.ZoneInfo, low: int, high: int) -> Iterator[Span]:
    """The spans that have something from ``low`` up to ``high``; the first begins before, where the clocks were set
    or, if that was long ago, anywhere. They are looked for day by day, and the days are the same whoever asks."""
    start = at = low // DAY_S * DAY_S - _LOOK_BACK_S
    ahead = seam_ahead = ahead_s(zone, start)
    while at < high:
        step = (at // DAY_S + 1) * DAY_S
        if ahead_s(zone, step) == ahead:
            at = step
            continue
        at = _change(zone, at, step)
        if at > low:
            yield Span(start, min(at, high), ahead, start + seam_ahead)
        start, seam_ahead, ahead = at, ahead, ahead_s(zone, at)
    if start < high:
        yield Span(start, high, ahead, start + seam_ahead)


def _change(zone: zoneinfo.ZoneInfo, low: int, high: int) -> int:
    """The moment at which the clocks are set, after ``low`` and up to ``high``: before and after it they differ."""
    before = ahead_s(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        if ahead_s(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high


def _nearest(name: str) -> str | None:
    """By its whole name, or by its city if that is all there is."""
    known = _names() if "/" in name else {known.rpartition("/")[2]: whole for known, whole in _names().items()}
    near = difflib.get_close_matches(name.casefold().replace(" ", "_"), known, n=1, cutoff=0.7)
    return known[near[0]] if near else None


@cache
def _names() -> Mapping[str, str]:
    """Every zone by its name in small letters; reads a folder, so only for who has mistaken a name."""
    return {name.casefold(): name for name in sorted(zoneinfo.available_timezones())}
