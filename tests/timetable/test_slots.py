"""Due times: strictly ascending, the same wherever they are cut, and as an obvious matcher and cronsim have them."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import assume, given
from hypothesis import strategies as st

from picloud.timetable import BadRule, Rule, count, following, latest, parse, slots

ANCHOR = datetime(2026, 1, 1, 10, 7, 3, 250_000, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Pacific/Apia")

CHANGES = {  # when the clocks are set, in UTC
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Australia/Lord_Howe": ("2026-04-04T15:00", "2026-10-03T15:30"),
    "America/Santiago": ("2026-04-05T03:00", "2026-09-06T04:00"),
    "Pacific/Apia": ("2011-12-30T10:00",),
}

moments = st.integers(0, 20 * 365 * 86_400_000).map(
    lambda milliseconds: datetime(2010, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
)
lengths = st.integers(0, 90 * 86_400_000).map(lambda milliseconds: timedelta(milliseconds=milliseconds))


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    ends = st.tuples(number, number).map(sorted)
    one = number.map(str) | ends.map(lambda pair: f"{pair[0]}-{pair[1]}")
    stars = st.just("*") | st.integers(1, high).map("*/{}".format)
    return stars | one | st.lists(one, min_size=2, max_size=3).map(",".join)


minutes, hours = field(0, 59), field(0, 23)
days = st.sampled_from(["* * *", "* * 1-5", "1,15 * *", "L * *", "1 * MON", "*/7 * *", "* * MON#2", "29 2 *"])
five_fields = st.tuples(minutes, hours, days).map(" ".join)
six_fields = st.tuples(field(0, 59), minutes, hours, days).map(" ".join)
intervals = st.sampled_from(
    [("90 seconds", None), ("7 minutes", None), ("hour", ":30"), ("5 hours", "07:05"), ("minute", ":05"), ("day", None),
     ("2 weeks", None), ("day", "02:30"), ("3 days", "02:15:30"), ("sunday", "02:30"), ("monday", None)]
)  # fmt: skip


def _rule(cron: str, zone: str) -> Rule:
    try:
        return parse(cron=cron, timezone=zone)
    except BadRule:
        assume(False)
        raise


rules = st.builds(_rule, five_fields | six_fields, st.sampled_from(ZONES)) | st.builds(
    lambda texts, zone: parse(every=texts[0], at=texts[1], timezone=zone), intervals, st.sampled_from(ZONES)
)


@given(
    rules,
    moments,
    st.lists(lengths.map(lambda it: it / 60) | lengths.map(lambda it: it / 2000), min_size=1, max_size=4),
)
def test_due_times_ascend_and_are_the_same_wherever_they_are_cut(
    rule: Rule, start: datetime, cuts: list[timedelta]
) -> None:
    ends = [start]
    for cut in cuts:
        ends.append(ends[-1] + cut)
    whole = list(slots(rule, ANCHOR, start, ends[-1]))
    assert [slot for low, high in pairwise(ends) for slot in slots(rule, ANCHOR, low, high)] == whole
    assert all(start < slot <= ends[-1] and slot.tzinfo is UTC for slot in whole)
    assert all(one < next_one for one, next_one in pairwise(whole))


@given(
    st.sampled_from([(zone, change) for zone, changes in CHANGES.items() for change in changes]),
    five_fields | six_fields,
    st.lists(st.integers(-30 * 3600, 30 * 3600), min_size=3, max_size=6, unique=True),
)
def test_where_clocks_are_set_due_times_are_the_same_wherever_they_are_cut(
    change: tuple[str, str], cron: str, cuts: list[int]
) -> None:
    zone, text = change
    rule, at = _rule(cron, zone), datetime.fromisoformat(text).replace(tzinfo=UTC)
    ends = [at + timedelta(seconds=cut) for cut in sorted(cuts)]
    whole = list(slots(rule, ANCHOR, ends[0], ends[-1]))
    parts = [list(slots(rule, ANCHOR, low, high)) for low, high in pairwise(ends)]
    assert [slot for part in parts for slot in part] == whole
    assert all(one < next_one for one, next_one in pairwise(whole))
    assert all(low < slot <= high for (low, high), part in zip(pairwise(ends), parts, strict=True) for slot in part)


@given(rules, moments, lengths, st.integers(1, 5))
def test_counting_and_the_newest_ones_agree_with_all_of_them(
    rule: Rule, start: datetime, length: timedelta, limit: int
) -> None:
    assume(count(rule, ANCHOR, start, start + length) < 20_000)
    whole = list(slots(rule, ANCHOR, start, start + length))
    assert count(rule, ANCHOR, start, start + length) == len(whole)
    assert latest(rule, ANCHOR, start, start + length, limit) == whole[-limit:]
    if whole:
        assert following(rule, ANCHOR, start) == whole[0]


def matches(text: str, value: int, low: int, high: int) -> bool:
    """Whether a value is in a field of numbers: the obvious way."""
    for term in text.split(","):
        span, _, step = term.partition("/")
        first, _, last = span.partition("-")
        numbers = (low, high, int(step or 1)) if span == "*" else (int(first), int(last or first), 1)
        if value in range(numbers[0], numbers[1] + 1, numbers[2]):
            return True
    return False


@given(minutes, hours, field(1, 31), field(1, 12), field(0, 6), moments, st.integers(0, 3 * 1440))
def test_cron_in_utc_is_what_an_obvious_matcher_finds_minute_by_minute(
    minute: str, hour: str, day: str, month: str, weekday: str, start: datetime, length: int
) -> None:
    rule = _rule(f"{minute} {hour} {day} {month} {weekday}", "UTC")
    start = start.replace(second=0, microsecond=0)
    found = []
    for number in range(1, length + 1):
        at = start + timedelta(minutes=number)
        by_day, by_weekday = matches(day, at.day, 1, 31), matches(weekday, at.isoweekday() % 7, 0, 7)
        if weekday.startswith("*/") and at.isoweekday() == 7:  # Sunday is 0 and 7, also to a step
            by_weekday = by_weekday or matches(weekday, 7, 0, 7)
        both = day.startswith("*") or weekday.startswith("*")
        on_day = (by_day and by_weekday) if both else (by_day or by_weekday)
        in_day = matches(hour, at.hour, 0, 23) and matches(minute, at.minute, 0, 59)
        if on_day and in_day and matches(month, at.month, 1, 12):
            found.append(at)
    assert list(slots(rule, ANCHOR, start, start + timedelta(minutes=length))) == found


@given(five_fields, st.sampled_from(ZONES[:3]), moments, st.integers(1, 40 * 86_400))
def test_expressions_of_five_fields_are_due_when_cronsim_says(
    cron: str, zone: str, start: datetime, length: int
) -> None:
    rule, until = _rule(cron, zone), start + timedelta(seconds=length)
    assume(count(rule, ANCHOR, start, until) < 2_000)
    theirs = (at.astimezone(UTC) for at in CronSim(cron, start.astimezone(ZoneInfo(zone))))
    expected = sorted({at for at in takewhile(lambda at: at <= until, theirs) if at > start})
    assert list(slots(rule, ANCHOR, start, until)) == expected


def test_intervals_count_from_their_anchor_before_it_and_after_it() -> None:
    rule = parse(every="10 minutes")
    assert list(slots(rule, ANCHOR, ANCHOR - timedelta(minutes=15), ANCHOR + timedelta(minutes=15))) == [
        ANCHOR - timedelta(minutes=10), ANCHOR, ANCHOR + timedelta(minutes=10)
    ]  # fmt: skip


def test_days_with_a_time_count_from_the_anchors_day_in_their_zone() -> None:
    rule = parse(every="3 days", at="09:00", timezone="America/New_York")
    anchor = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)  # New Year's Eve, there
    found = list(slots(rule, anchor, anchor, anchor + timedelta(days=6)))
    assert found == [datetime(2026, 1, 3, 14, 0, tzinfo=UTC), datetime(2026, 1, 6, 14, 0, tzinfo=UTC)]


def test_hours_with_a_time_begin_where_the_zones_clocks_show_it_in_the_anchors_hour() -> None:
    rule = parse(every="2 hours", at=":15", timezone="Asia/Kathmandu")  # 5:45 ahead
    found = list(slots(rule, ANCHOR, ANCHOR, ANCHOR + timedelta(hours=3)))  # made at 15:52
    assert [at.astimezone(ZoneInfo("Asia/Kathmandu")).strftime("%H:%M:%S") for at in found] == ["17:15:00"]


def test_a_year_of_seconds_is_counted_and_its_end_is_found_without_making_them() -> None:
    rule = parse(cron="* * * * * *", timezone="Europe/Berlin")
    start, until = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    assert count(rule, ANCHOR, start, until) == 365 * 86_400
    assert latest(rule, ANCHOR, start, until, 3) == [until - timedelta(seconds=left) for left in (2, 1, 0)]


def test_the_29th_of_february_that_is_a_fifth_monday_is_found() -> None:
    rule = parse(cron="0 0 * 2 MON#5")
    assert following(rule, ANCHOR, datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2044, 2, 29, tzinfo=UTC)


def test_a_rule_that_cannot_be_read_any_more_says_so() -> None:
    with pytest.raises(ValueError, match="there is no time zone 'Europe/Atlantis'"):
        following(Rule(cron="* * * * *", timezone="Europe/Atlantis"), ANCHOR, ANCHOR)
