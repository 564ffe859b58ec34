"""`time` in zones: what the clocks of a time zone show, as a script's host calls: it has no files, so no tables.

| call      | arguments              | values                                                                         |
|-----------|------------------------|--------------------------------------------------------------------------------|
| time.zone | zone, `utc`, seconds   | seconds that its clocks are ahead; abbreviation; `1` in summer time, else `0`  |
| time.zone | zone, `clock`, seconds | the moment as it is before a change nearby, and as it is after                 |

`utc` asks about a moment. `clock` asks for the moment at which the clocks show what a clock in UTC shows at `seconds`.
Its two values are the same, unless the clocks were set back (the first is sooner: they show this twice) or forward (the
first is later: they never show it). Seconds are since 1970. No transaction.

The tables are the system's; where it has none, those of the package tzdata.
"""

import difflib
import re
import zoneinfo
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

from picloud.errors import InvalidRequest
from picloud.orchestrator.attempt import Attempt, Binding
from picloud.orchestrator.bindings.reading import fields, integer, text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST, _LATEST = -62_135_510_400, 253_402_214_400  # a day inside of datetime's, whatever the offset
_NAME = re.compile(r"[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")  # becomes a path; `posix/…`, `right/…` are no zones
_NAME_BYTES_MAX = 64


def ask(_attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """time.zone"""
    name, what, seconds_bytes = fields(arguments, 3)
    zone = _zone(text(name, "a zone's name"))
    seconds = integer(seconds_bytes, "a moment (of the years 1 to 9999)", _EARLIEST, _LATEST)
    moment = _EPOCH + timedelta(seconds=seconds)
    if what == b"utc":
        local = moment.astimezone(zone)
        return [b"%d" % _ahead_s(local), (local.tzname() or "").encode(), b"1" if local.dst() else b"0"]
    if what == b"clock":
        shown = moment.replace(tzinfo=zone)
        return [b"%d" % (seconds - _ahead_s(shown.replace(fold=fold))) for fold in (0, 1)]
    raise InvalidRequest("knows 'utc' and 'clock' alone")


TABLE: Mapping[str, Binding] = {"time.zone": ask}


def _ahead_s(local: datetime) -> int:
    offset = local.utcoffset()
    assert offset is not None  # a zone's table always says
    return int(offset.total_seconds())


def _zone(name: str) -> zoneinfo.ZoneInfo:
    if len(name) > _NAME_BYTES_MAX:
        raise InvalidRequest(f"a zone's name has at most {_NAME_BYTES_MAX} bytes, not {len(name)}")
    if _NAME.fullmatch(name):
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # none, no table, a folder of them
            pass
    nearest = _nearest(name)
    raise InvalidRequest(f"there is no time zone '{name}'" + (f"; did you mean '{nearest}'?" if nearest else ""))


def _nearest(name: str) -> str | None:
    """By its whole name, or by its city if that is all there is."""
    known = _names() if "/" in name else {known.rpartition("/")[2]: whole for known, whole in _names().items()}
    near = difflib.get_close_matches(name.casefold().replace(" ", "_"), known, n=1, cutoff=0.7)
    return known[near[0]] if near else None


@cache
def _names() -> Mapping[str, str]:
    """Every zone by its name in small letters; reads a folder, so only for who has mistaken a name."""
    return {name.casefold(): name for name in sorted(zoneinfo.available_timezones())}
