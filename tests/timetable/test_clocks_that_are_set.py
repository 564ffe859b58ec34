"""Daylight saving time, to the minute: what clocks skip, and what they show twice."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from picloud.timetable import parse, slots

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
SANTIAGO, APIA = "America/Santiago", "Pacific/Apia"

FORWARD = {  # the day on which the clocks are set forward, and one after it
    BERLIN: ("2026-03-28 12:00", "2026-03-30 12:00"),  # 02:00 → 03:00
    NEW_YORK: ("2026-03-07 12:00", "2026-03-09 12:00"),  # 02:00 → 03:00
    LORD_HOWE: ("2026-10-03 12:00", "2026-10-05 12:00"),  # 02:00 → 02:30
    SANTIAGO: ("2026-09-05 12:00", "2026-09-07 12:00"),  # 00:00 → 01:00
    APIA: ("2011-12-28 12:00", "2011-12-31 12:00"),  # the 30th never was
}
BACK = {
    BERLIN: ("2026-10-24 12:00", "2026-10-26 12:00"),  # 03:00 → 02:00
    NEW_YORK: ("2026-10-31 12:00", "2026-11-02 12:00"),  # 02:00 → 01:00
    LORD_HOWE: ("2026-04-04 12:00", "2026-04-06 12:00"),  # 02:00 → 01:30
}


def moments(window: tuple[str, str], zone: str) -> list[datetime]:
    return [datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for text in window]


def shown(window: tuple[str, str], zone: str, cron: str = "", every: str = "", at: str = "") -> list[str]:
    """Due times between two noons there, as the clocks show them: `31 03:00+2` is ahead of UTC by two hours."""
    rule = parse(cron=cron or None, every=every or None, at=at or None, timezone=zone)
    after, until = moments(window, zone)
    local = [slot.astimezone(ZoneInfo(zone)) for slot in slots(rule, after - timedelta(days=30), after, until)]
    return [f"{it:%d %H:%M}{(it.utcoffset() or timedelta()) / timedelta(hours=1):+g}" for it in local]


@pytest.mark.parametrize(
    ("zone", "time", "expected"),
    [
        (BERLIN, "02:30", ["29 03:00+2", "30 02:30+2"]),
        (BERLIN, "01:59", ["29 01:59+1", "30 01:59+2"]),
        (BERLIN, "03:00", ["29 03:00+2", "30 03:00+2"]),
        (NEW_YORK, "02:00", ["08 03:00-4", "09 02:00-4"]),
        (NEW_YORK, "03:30", ["08 03:30-4", "09 03:30-4"]),
        (LORD_HOWE, "02:15", ["04 02:30+11", "05 02:15+11"]),
        (LORD_HOWE, "02:30", ["04 02:30+11", "05 02:30+11"]),
        (LORD_HOWE, "01:45", ["04 01:45+10.5", "05 01:45+11"]),
        (SANTIAGO, "00:00", ["06 01:00-3", "07 00:00-3"]),
        (APIA, "09:00", ["29 09:00-10", "31 00:00+14", "31 09:00+14"]),
    ],
)
def test_what_the_clocks_skip_is_due_once_and_at_once(zone: str, time: str, expected: list[str]) -> None:
    hour, minute = time.split(":")
    assert shown(FORWARD[zone], zone, every="day", at=time) == expected
    assert shown(FORWARD[zone], zone, cron=f"{minute} {hour} * * *") == expected
    assert shown(FORWARD[zone], zone, cron=f"0 {minute} {hour} * * *") == expected


@pytest.mark.parametrize(
    ("zone", "time", "expected"),
    [
        (BERLIN, "02:30", ["25 02:30+2", "26 02:30+1"]),
        (BERLIN, "02:00", ["25 02:00+2", "26 02:00+1"]),
        (BERLIN, "03:00", ["25 03:00+1", "26 03:00+1"]),
        (NEW_YORK, "01:30", ["01 01:30-4", "02 01:30-5"]),
        (NEW_YORK, "02:00", ["01 02:00-5", "02 02:00-5"]),
        (LORD_HOWE, "01:45", ["05 01:45+11", "06 01:45+10.5"]),
        (LORD_HOWE, "01:15", ["05 01:15+11", "06 01:15+10.5"]),
        (LORD_HOWE, "02:00", ["05 02:00+10.5", "06 02:00+10.5"]),
    ],
)
def test_what_the_clocks_show_twice_is_due_the_first_time(zone: str, time: str, expected: list[str]) -> None:
    hour, minute = time.split(":")
    assert shown(BACK[zone], zone, every="day", at=time) == expected
    assert shown(BACK[zone], zone, cron=f"{minute} {hour} * * *") == expected
    assert shown(BACK[zone], zone, cron=f"0 {minute} {hour} * * *") == expected


def test_all_that_the_clocks_skip_is_due_once() -> None:
    assert shown(FORWARD[BERLIN], BERLIN, cron="0,20,40 2,4 29 3 *") == [
        "29 03:00+2", "29 04:00+2", "29 04:20+2", "29 04:40+2"
    ]  # fmt: skip
    assert shown(FORWARD[BERLIN], BERLIN, cron="0 2,3 29 3 *") == ["29 03:00+2"]


def test_what_begins_with_a_star_goes_by_what_the_clocks_show() -> None:
    assert shown(FORWARD[BERLIN], BERLIN, cron="30 */2 29 3 *")[:3] == ["29 00:30+1", "29 04:30+2", "29 06:30+2"]
    assert shown(FORWARD[BERLIN], BERLIN, cron="*/30 2,3 29 3 *") == ["29 03:00+2", "29 03:30+2"]
    assert shown(BACK[BERLIN], BERLIN, cron="*/30 2 25 10 *") == [
        "25 02:00+2", "25 02:30+2", "25 02:00+1", "25 02:30+1"
    ]  # fmt: skip
    assert shown(BACK[NEW_YORK], NEW_YORK, cron="30 */1 1 11 *")[:4] == [
        "01 00:30-4", "01 01:30-4", "01 01:30-5", "01 02:30-5"
    ]  # fmt: skip


def test_half_an_hour_costs_no_hour() -> None:
    """Where cronsim steps by whole hours, it passes by 06:00."""
    assert shown(FORWARD[LORD_HOWE], LORD_HOWE, cron="0 */6 4 10 *")[:2] == ["04 00:00+10.5", "04 06:00+11"]
    assert shown(BACK[LORD_HOWE], LORD_HOWE, cron="45 */1 5 4 *")[:4] == [
        "05 00:45+11", "05 01:45+11", "05 01:45+10.5", "05 02:45+10.5"
    ]  # fmt: skip


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE])
@pytest.mark.parametrize("changes", [FORWARD, BACK])
def test_intervals_are_time_that_passes_whatever_is_done_to_the_clocks(
    zone: str, changes: dict[str, tuple[str, str]]
) -> None:
    rule = parse(every="hour", timezone=zone)
    after, until = moments(changes[zone], zone)
    found = list(slots(rule, after, after, until))
    assert found == [after + timedelta(hours=number) for number in range(1, len(found) + 1)]
    assert until - found[-1] < timedelta(hours=1)


@pytest.mark.parametrize(("change", "day"), [(FORWARD, 29), (BACK, 25)])
def test_a_weekday_is_one_in_its_zone(change: dict[str, tuple[str, str]], day: int) -> None:
    expected = [f"{day} 03:00+2"] if change is FORWARD else [f"{day} 02:30+2"]
    assert shown(change[BERLIN], BERLIN, every="sunday", at="02:30") == expected
