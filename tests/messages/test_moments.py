"""Moments in a query: RFC 3339 with a zone, or how long ago; all else is refused by its field's name."""

from datetime import UTC, datetime, timedelta

import pytest

from picloud.errors import InvalidRequest
from picloud.messages.moments import read_moment, read_moment_or_ago

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T12:00:00Z", NOON),
        ("2026-01-31T14:00:00+02:00", NOON),
        ("2026-01-31T14:00:00 02:00", NOON),  # a plus that was not escaped in the query
        ("2026-01-31T12:00:00.25-00:00", NOON + timedelta(milliseconds=250)),
        ("0001-01-01T00:00:00+23:59", datetime.min.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59-23:59", datetime.max.replace(tzinfo=UTC)),
        (None, None),
    ],
)
def test_a_moment_is_rfc_3339(text: str | None, moment: datetime | None) -> None:
    assert read_moment(text, "until") == read_moment_or_ago(text, "since") == moment


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("2h", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
        ("4w", timedelta(weeks=4)),
    ],
)
def test_a_duration_is_before_now(text: str, ago: timedelta) -> None:
    before = datetime.now(UTC)
    read = read_moment_or_ago(text, "since")
    assert read
    assert before <= read + ago <= datetime.now(UTC)


@pytest.mark.parametrize(
    "text",
    [
        *("x", "15", "m", "-15m", "1.5h", "15 m", "15M", "1y", "999999d", ""),
        *("2026-01-31", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z", "2026-01-31T25:00:00Z", "12:00:00Z"),
        *("20260131T120000Z", "2026-01-31T12:00Z", "١٥m", "2026-01-31T12:00:00Z "),
    ],
)
def test_what_is_neither_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(InvalidRequest, match="since") as caught:
        read_moment_or_ago(text, "since")
    assert [error["field"] for error in caught.value.errors] == ["since"]


def test_until_takes_no_duration() -> None:
    with pytest.raises(InvalidRequest, match="until"):
        read_moment("15m", "until")
