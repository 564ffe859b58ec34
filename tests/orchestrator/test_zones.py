"""Time zones: what a script sees of them through the real host calls, and what these say to hostile words."""

import os
import subprocess
import sys
import zoneinfo
from datetime import UTC, datetime
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.protocol import DONE, REFUSED
from tests.running import ROOT
from tests.sandbox.lua_support import body, failure
from tests.stateful import without_database

BERLIN, NEW_YORK, LORD_HOWE = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
)  # the last is set by half an hour
CALLS = without_database()


def said(expression: str) -> str:
    """What an expression is, as text; or the error that it raises."""
    script = (
        f"local done, it = pcall(function() local it = {expression} return it end) return {{ body = tostring(it) }}"
    )
    return body(script, host=CALLS).decode().removeprefix("main.lua:1: ")


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        (BERLIN, "2024-03-31T01:59:59+01:00", "2024-03-31T03:00:00+02:00"),
        (BERLIN, "2024-10-27T02:59:59+02:00", "2024-10-27T02:00:00+01:00"),
        (NEW_YORK, "2024-03-10T01:59:59-05:00", "2024-03-10T03:00:00-04:00"),
        (NEW_YORK, "2024-11-03T01:59:59-04:00", "2024-11-03T01:00:00-05:00"),
        (LORD_HOWE, "2024-10-06T01:59:59+10:30", "2024-10-06T02:30:00+11:00"),
        (LORD_HOWE, "2024-04-07T01:59:59+11:00", "2024-04-07T01:30:00+10:30"),
    ],
)
def test_a_second_after_the_last_of_summer_or_winter_the_clocks_are_set(zone: str, before: str, after: str) -> None:
    last = int(datetime.fromisoformat(before).timestamp())
    assert said(f"time.format({last}, {{ zone = '{zone}' }})") == before
    assert said(f"time.format({last + 1}, {{ zone = '{zone}' }})") == after


@pytest.mark.parametrize(
    ("zone", "skipped", "wanted"),  # as it is taken without a wish, the earlier, the later
    [
        (BERLIN, "2024-03-31T02:30:00", ("03:30:00+02:00", "01:30:00+01:00", "03:30:00+02:00")),
        (NEW_YORK, "2024-03-10T02:15:00", ("03:15:00-04:00", "01:15:00-05:00", "03:15:00-04:00")),
        (LORD_HOWE, "2024-10-06T02:10:00", ("02:40:00+11:00", "01:40:00+10:30", "02:40:00+11:00")),
    ],
)
def test_a_time_that_is_skipped_is_counted_on_unless_asked_otherwise(
    zone: str, skipped: str, wanted: tuple[str, ...]
) -> None:
    asked = [shown_again(skipped, zone, ambiguous) for ambiguous in ("nil", "'earlier'", "'later'")]
    assert asked == [f"{skipped[:11]}{it}" for it in wanted]
    refused = said(f"time.parse('{skipped}', {{ zone = '{zone}', ambiguous = 'error' }})")
    assert refused == f"time.parse: this time is skipped in {zone}"


@pytest.mark.parametrize(
    ("zone", "twice", "first", "second"),
    [
        (BERLIN, "2024-10-27T02:30:00", "+02:00", "+01:00"),
        (NEW_YORK, "2024-11-03T01:15:00", "-04:00", "-05:00"),
        (LORD_HOWE, "2024-04-07T01:40:00", "+11:00", "+10:30"),
    ],
)
def test_a_time_that_comes_twice_is_the_first_unless_asked_otherwise(
    zone: str, twice: str, first: str, second: str
) -> None:
    asked = [shown_again(twice, zone, ambiguous) for ambiguous in ("nil", "'earlier'", "'later'")]
    assert asked == [twice + first, twice + first, twice + second]
    refused = said(f"time.parse('{twice}', {{ zone = '{zone}', ambiguous = 'error' }})")
    assert refused == f"time.parse: this time comes twice in {zone}"


def shown_again(text: str, zone: str, ambiguous: str) -> str:
    """A text read in a zone, and written in it."""
    parsed = f"time.parse('{text}', {{ zone = '{zone}', ambiguous = {ambiguous} }})"
    return said(f"time.format({parsed}, {{ zone = '{zone}' }})")


@settings(max_examples=60, deadline=None)
@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - of UTC
    st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, "Africa/Casablanca", "Asia/Kathmandu", "Pacific/Apia", "Etc/GMT+5"]),
)
def test_what_a_zone_shows_is_pythons_and_leads_back(moment: datetime, zone: str) -> None:
    seconds = int(moment.replace(tzinfo=UTC).timestamp())
    local = datetime.fromtimestamp(seconds, zoneinfo.ZoneInfo(zone))
    script = f"""
      local calendar = time.calendar({seconds}, '{zone}')
      local text = time.format({seconds}, {{ zone = '{zone}' }})
      return {{ body = table.concat({{
        text, tostring(time.parse(text)), tostring(time.seconds(calendar)),
        calendar.abbreviation, tostring(calendar.isdst),
        os.date("!%Y-%m-%d %H:%M:%S", {seconds} + calendar.offset) }}, "|") }}"""
    wanted = [local.isoformat(), str(seconds), str(seconds), local.tzname(), str(bool(local.dst())).lower()]
    assert body(script, host=CALLS).decode().split("|") == [*wanted, f"{local:%Y-%m-%d %H:%M:%S}"]


def test_a_calendar_in_the_hour_that_comes_twice_leads_back_to_its_own_moment() -> None:
    second = utc("2024-10-27T01:30:00")
    for moment in (second - 3600, second):
        assert said(f"time.seconds(time.calendar({moment}, '{BERLIN}'))") == str(moment)
    assert said(f"time.seconds(time.calendar({second}, '{BERLIN}'), 'earlier')") == str(second - 3600)


def test_the_next_day_is_at_the_same_time_whatever_the_clocks_did() -> None:
    script = f"""
      local calendar = time.calendar({utc("2024-03-30T08:00:00")}, '{BERLIN}')
      calendar.day = calendar.day + 1
      return time.format(time.seconds(calendar), {{ zone = calendar.zone }})"""
    assert body(script, host=CALLS) == b"2024-03-31T09:00:00+02:00"


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("time.format(0, { zone = 'UTC' })", "1970-01-01T00:00:00Z"),
        ("time.format(0.5, { zone = 'Asia/Kathmandu', ms = true })", "1970-01-01T05:30:00.500+05:30"),
        ("time.format(-5e9, { zone = 'Europe/Berlin' })", "1811-07-23T16:00:08+00:53:28"),
        ("time.parse('1811-07-23T16:00:08+00:53:28')", "-5000000000"),
        ("time.format(1719813600, { zone = 'Europe/Berlin', pattern = '%d.%m.%Y %H:%M %Z (%z) 100%%Z' })",
         "01.07.2024 08:00 CEST (+0200) 100%Z"),
        ("time.format(1719813600, { pattern = '%A %Z %z' })", "Monday UTC +0000"),
        ("time.parse('2024-07-01T08:00', { zone = 'Europe/Berlin' })", "1719813600"),
        ("time.parse('2024-07-01 08:00:00.25', { zone = 'Europe/Berlin' })", "1719813600.25"),
        ("time.parse('2024-07-01T06:00', { zone = 'UTC' })", "1719813600"),
        ("time.seconds{ year = 2024, month = 7, day = 1 }", str(utc("2024-07-01"))),
        ("time.seconds{ year = 2024, month = 14, day = 0, hour = 25, zone = 'America/New_York' }",
         str(utc("2025-02-01T06:00:00"))),
        ("time.calendar(0).zone .. time.calendar(0).hour .. time.calendar(0).abbreviation", "UTC0UTC"),
        ("time.calendar(-0.5).sec", "59"),
    ],
)  # fmt: skip
def test_an_expression_gives(expression: str, wanted: str) -> None:
    assert said(expression) == wanted


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("time.calendar(0, 'Europe/Berln')",
         "time.zone: there is no time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?"),
        ("time.calendar(0, 'europe/berlin')",
         "time.zone: there is no time zone 'europe/berlin'; did you mean 'Europe/Berlin'?"),
        ("time.calendar(0, 'new york')",
         "time.zone: there is no time zone 'new york'; did you mean 'America/New_York'?"),
        ("time.calendar(0, 'Europe')", "time.zone: there is no time zone 'Europe'"),
        ("time.calendar(0, '')", "time.zone: there is no time zone ''"),
        ("time.calendar(0, 7)", "time.zone: there is no time zone '7'"),
        ("time.calendar(0, {})", "time.calendar: zone needs a string, not table"),
        ("time.calendar(1e15, 'UTC')", "time.calendar needs seconds between the years 0 and 9999"),
        ("time.calendar(-62167219200, 'Europe/Berlin')",
         "time.zone: a moment (of the years 1 to 9999) must be a whole number from -62135510400 to 253402214400"),
        ("time.seconds{ year = 1 << 30, month = 1, day = 1, zone = 'Europe/Berlin' }",
         "time.zone: a moment (of the years 1 to 9999) must be a whole number from -62135510400 to 253402214400"),
        ("time.seconds{ year = 2024, month = 1 }", "field 'day' missing in date table"),
        ("time.seconds(0)", "time.seconds needs a table, not number"),
        ("time.seconds({ year = 2024, month = 1, day = 1 }, 'first')",
         "time.seconds: ambiguous must be 'earlier', 'later' or 'error'"),
        ("time.parse('2024-07-01T08:00Z', { zone = 'Europe/Berlin' })",
         "time.parse: '2024-07-01T08:00Z' is not like 2024-02-29T12:00:00, without an offset"),
        ("time.parse('2024-07-01T08:00')", "time.parse: '2024-07-01T08:00' is not like 2024-02-29T12:00:00Z"),
        ("time.parse('2024-07-01T08:00:00Z', { zon = 1 })", "time.parse: there is no option 'zon'"),
        ("time.format(0, { zone = 'Europe/Berlin', pattern = '%Q' })",
         "bad argument #1 to 'date' (invalid conversion specifier '%Q')"),
        ("time.format(0, { pattern = {} })", "time.format: pattern needs a string, not table"),
    ],
)  # fmt: skip
def test_misuse_is_an_error_that_says_what(expression: str, message: str) -> None:
    assert said(expression) == message


def test_an_unknown_zone_is_an_error_at_the_scripts_line() -> None:
    result = failure("local x = 1\n\nlocal shown = time.format(0, { zone = 'Mars/Base' })", host=CALLS)
    assert (result.file, result.line) == (b"main.lua", 3)
    assert result.message.startswith(b"main.lua:3: time.zone: there is no time zone 'Mars/Base'")


def test_utc_needs_no_host_call() -> None:
    script = "return time.format(time.seconds(time.calendar(0, 'UTC')), { zone = 'UTC' })"
    assert body(script) == b"1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "name",
    [
        b"../../../etc/passwd", b"/etc/passwd", b"Europe/../Europe/Berlin", b"Europe/./Berlin", b"Europe//Berlin",
        b"Europe/Berlin/", b"posix/Europe/Berlin", b"right/Europe/Berlin", b"localtime", b"posixrules", b"tzdata.zi",
        b"Europe", b"Zone\n", b"\xc3\x84rger", b"Etc/GMT+99", b"A" * 64,
    ],
)  # fmt: skip
def test_a_name_that_is_no_zones_never_opens_a_file(name: bytes) -> None:
    kind, why = CALLS(b"time.zone", (name, b"utc", b"0"))
    assert (kind, b"there is no time zone" in why) == (REFUSED, True)


@pytest.mark.parametrize(
    "arguments",
    [
        (), (b"Europe/Berlin",), (b"Europe/Berlin", b"utc", b"0", b"0"), (b"Europe/Berlin", b"local", b"0"),
        (b"Europe/Berlin", b"utc", b""), (b"Europe/Berlin", b"utc", b"1.5"), (b"Europe/Berlin", b"utc", b"9" * 19),
        (b"Europe/Berlin", b"clock", b"-62135596800"), (b"\xff", b"utc", b"0"), (b"A\0", b"utc", b"0"),
        (b"A" * 65, b"utc", b"0"),
    ],
)  # fmt: skip
def test_hostile_words_are_refused(arguments: tuple[bytes, ...]) -> None:
    assert CALLS(b"time.zone", arguments)[0] == REFUSED


@pytest.mark.parametrize("seconds", [b"-62135510400", b"253402214400"])
def test_every_zone_has_a_clock_at_both_ends_of_time(seconds: bytes) -> None:
    for zone in zoneinfo.available_timezones() - {"localtime"}:
        for what in (b"utc", b"clock"):
            assert CALLS(b"time.zone", (zone.encode(), what, seconds))[0] == DONE, zone


@pytest.mark.parametrize(("month", "day", "hours"), [(3, 31, 23), (7, 1, 24), (10, 27, 25)])
def test_a_day_has_as_many_hours_as_the_clocks_say(month: int, day: int, hours: int) -> None:
    midnight = f"time.seconds{{ year = 2024, month = {month}, day = %d, zone = '{BERLIN}' }}"
    assert said(f"({midnight % (day + 1)} - {midnight % day}) // 3600") == str(hours)


def test_where_the_system_has_no_tables_the_package_has_them() -> None:
    source = """
        from tests.orchestrator.test_zones import CALLS
        for name in (b"Europe/Berlin", b"Berln"):
            print(CALLS(b"time.zone", (name, b"utc", b"0")))"""
    nowhere = {**os.environ, "PYTHONTZPATH": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", dedent(source)], env=nowhere, capture_output=True, check=True, text=True
    )
    assert done.stdout.startswith(str([DONE, b"3600", b"CET", b"0"]))
    assert "did you mean 'Europe/Berlin'?" in done.stdout
