"""Moments in a query: RFC 3339 with a zone, or how long before now."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

from picloud.errors import InvalidRequest

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile("([0-9]{1,5})([smhdw])")
_ZONE_AFTER_SPACE = re.compile(" (?=[0-9]{2}:[0-9]{2}$)")
_EARLIEST, _LATEST = (moment.replace(tzinfo=UTC) for moment in (datetime.min, datetime.max))  # noqa: DTZ901
_RFC_3339 = {"format": "date-time"}

_Zoned = Annotated[datetime, msgspec.Meta(tz=True)]

# These say to the document what `read_moment` and `read_moment_or_ago` enforce, in words that help.
MomentText = Annotated[
    str,
    msgspec.Meta(description="before then: RFC 3339 with a zone, as 2026-01-31T12:00:00Z", extra_json_schema=_RFC_3339),
]
MomentOrAgoText = Annotated[
    str,
    msgspec.Meta(
        description="then or later: RFC 3339 with a zone, as 2026-01-31T12:00:00Z, or how long ago: 90s, 15m, 2h, 7d",
        extra_json_schema={"anyOf": [_RFC_3339, {"pattern": f"^{_SPAN.pattern}$"}]},
    ),
]


def read_span(text: str) -> timedelta | None:
    """`90s`, `15m`, `2h`, `7d` or `4w` as what they are; None for what is none of them."""
    span = _SPAN.fullmatch(text)
    return timedelta(**{_UNITS[span[2]]: int(span[1])}) if span else None


def read_moment(text: str | None, field: str) -> datetime | None:
    """A moment in UTC, None for none; InvalidRequest names the field."""
    if text is None:
        return None
    written = _ZONE_AFTER_SPACE.sub("+", text)  # a plus that was not escaped in the query
    try:
        moment = msgspec.convert(written, _Zoned)
    except msgspec.ValidationError:
        raise InvalidRequest.of(field, "must be a time with its zone, such as 2026-01-31T12:00:00Z", "?") from None
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # in the first or the last day that there is
        return _EARLIEST if moment.year == 1 else _LATEST


def read_moment_or_ago(text: str | None, field: str) -> datetime | None:
    """The same, where `15m` is fifteen minutes ago."""
    ago = read_span(text or "")
    if ago is not None:
        return datetime.now(UTC) - ago
    if text is not None and "-" not in text:
        message = "must be a time such as 2026-01-31T12:00:00Z, or how long ago, such as 90s, 15m, 2h or 7d"
        raise InvalidRequest.of(field, message, "?")
    return read_moment(text, field)
