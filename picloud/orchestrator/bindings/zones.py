"""`time` in zones: what the clocks of a time zone show, as a script's host calls: it has no files, so no tables.

| call      | arguments              | values                                                                         |
|-----------|------------------------|--------------------------------------------------------------------------------|
| time.zone | zone, `utc`, seconds   | seconds that its clocks are ahead; abbreviation; `1` in summer time, else `0`  |
| time.zone | zone, `clock`, seconds | the moment as it is before a change nearby, and as it is after                 |

`utc` asks about a moment. `clock` asks for the moment at which the clocks show what a clock in UTC shows at `seconds`.
Its two values are the same, unless the clocks were set back (the first is sooner: they show this twice) or forward (the
first is later: they never show it). Seconds are since 1970. No transaction.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from picloud.errors import InvalidRequest
from picloud.orchestrator.attempt import Attempt, Binding
from picloud.orchestrator.bindings.reading import fields, integer, text
from picloud.timetable.zones import zone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST, _LATEST = -62_135_510_400, 253_402_214_400  # a day inside of datetime's, whatever the offset


def ask(_attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """time.zone"""
    name, what, seconds_bytes = fields(arguments, 3)
    named = _zone(text(name, "a zone's name"))
    seconds = integer(seconds_bytes, "a moment (of the years 1 to 9999)", _EARLIEST, _LATEST)
    moment = _EPOCH + timedelta(seconds=seconds)
    if what == b"utc":
        local = moment.astimezone(named)
        return [b"%d" % _ahead_s(local), (local.tzname() or "").encode(), b"1" if local.dst() else b"0"]
    if what == b"clock":
        shown = moment.replace(tzinfo=named)
        return [b"%d" % (seconds - _ahead_s(shown.replace(fold=fold))) for fold in (0, 1)]
    raise InvalidRequest("knows 'utc' and 'clock' alone")


TABLE: Mapping[str, Binding] = {"time.zone": ask}


def _ahead_s(local: datetime) -> int:
    offset = local.utcoffset()
    assert offset is not None  # a zone's table always says
    return int(offset.total_seconds())


def _zone(name: str) -> ZoneInfo:
    try:
        return zone(name)
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
