"""What is a rule, and what is said of one that is none."""

import pytest
import schedule as schedule_package

from picloud.timetable import BadRule, Rule, parse


@pytest.mark.parametrize(
    "cron",
    [
        "*/5 * * * *", "0 9 * * MON-FRI", "30 0 9 * * mon", "0 0 L * *", "0 0 * * 5L", "0 0 * * MON#2", "0 0 29 2 *",
        "@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually", "@Daily", "  0   9 * * 7 ",
    ],
)  # fmt: skip
def test_expressions_of_five_and_six_fields_with_names_and_macros_are_taken(cron: str) -> None:
    assert parse(cron=cron) == Rule(cron=" ".join(cron.split()))


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("61 * * * *", "the minute '61' is not valid: 0 to 59"),
        ("* 24 * * *", "the hour '24' is not valid: 0 to 23"),
        ("61 * * * * *", "the second '61' is not valid"),
        ("* * 0 * *", "the day-of-month '0' is not valid: 1 to 31, or L"),
        ("* * * JUNE *", "the month 'JUNE' is not valid: 1 to 12, or JAN to DEC"),
        ("* * * * 8", "the day-of-week '8' is not valid: 0 to 7, or SUN to SAT"),
        ("* * 31 2 *", "'* * 31 2 *' is never due: the month '2' has no day 31"),
        ("0 0 0 30 FEB *", "is never due: the month 'FEB' has no day 30"),
        ("*/0 * * * *", "the minute '*/0' is not valid"),
        ("* * */20 * 1L", "is never due: there is no such day within fifty years"),
        ("* * * *", "has 4 fields; 5 are wanted (minute, hour, day-of-month, month, day-of-week), or 6"),
        ("", "has 0 fields"),
        ("@reboot", "'@reboot' is no time that could be due"),
        ("@fortnightly", "there is no '@fortnightly'; there are @hourly, @daily"),
        ("* * * * *" + " " * 300, "at most 256 characters"),
        ("٣ * * * *", "all of them ASCII"),
    ],
)
def test_an_expression_that_is_none_is_refused_with_the_reason(cron: str, said: str) -> None:
    with pytest.raises(BadRule) as refused:
        parse(cron=cron)
    assert said in refused.value.message
    assert refused.value.field == "cron"
    assert str(refused.value).startswith("cron: ")


@pytest.mark.parametrize(
    ("every", "at"),
    [
        ("10 minutes", None), ("90 seconds", None), ("2 hours", None), ("3 days", None), ("hour", None), ("day", None),
        ("monday", None), ("monday", "09:00"), ("day", "09:00:30"), ("3 days", "09:00"), ("hour", ":30"),
        ("hour", "05:30"), ("minute", ":05"), ("2 weeks", None), ("1 minute", None), ("Day", None),
    ],
)  # fmt: skip
def test_intervals_are_taken(every: str, at: str | None) -> None:
    assert parse(every=every, at=at) == Rule(every=every, at=at)


@pytest.mark.parametrize(
    ("every", "at", "field", "said"),
    [
        ("2 mondays", None, "every", "is only allowed for weekly jobs"),
        ("10 minute", None, "every", "Use minutes instead of minute"),
        ("10 minuts", None, "every", "'minuts' is no unit of time; did you mean 'minutes'?"),
        ("fortnight", None, "every", "'fortnight' is no unit of time"),
        ("0 minutes", None, "every", "an interval is at least 1"),
        ("-1 minutes", None, "every", "write '10 minutes', 'day' or 'monday'"),
        ("1.5 hours", None, "every", "is no interval"),
        ("__class__", None, "every", "is no interval"),
        ("999999999 days", None, "every", "at most 3660 days"),
        ("day", "9:00", "at", "Invalid time format for a daily job (valid format is HH:MM(:SS)?)"),
        ("day", "24:00", "at", "Invalid number of hours (24 is not between 0 and 23)"),
        ("day", ":30", "at", "Invalid time format for a daily job"),
        ("hour", "09:00:00", "at", "Invalid time format for an hourly job"),
        ("minute", "00:05", "at", "Invalid time format for a minutely job"),
        ("week", "09:00", "at", 'for weeks name a day: every = "monday"'),
        ("10 seconds", ":05", "at", "Invalid unit"),
    ],
)
def test_an_interval_that_is_none_is_refused_with_the_reason(every: str, at: str | None, field: str, said: str) -> None:
    with pytest.raises(BadRule) as refused:
        parse(every=every, at=at)
    assert said in refused.value.message
    assert refused.value.field == field


def test_a_rule_is_one_of_both_kinds_and_never_both() -> None:
    with pytest.raises(BadRule, match="give either 'cron' or 'every'"):
        parse()
    with pytest.raises(BadRule, match="give either 'cron' or 'every'"):
        parse(cron="* * * * *", every="day")
    with pytest.raises(BadRule, match="at: goes with 'every'"):
        parse(cron="* * * * *", at="09:00")


def test_a_zone_that_is_none_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadRule, match=r"timezone: there is no .* 'Europe/Berln'; did you mean 'Europe/Berlin'\?"):
        parse(cron="* * * * *", timezone="Europe/Berln")
    with pytest.raises(BadRule, match="timezone: there is no time zone"):
        parse(cron="* * * * *", timezone="../../etc/passwd")


def test_reading_rules_leaves_nothing_in_the_package_that_could_run() -> None:
    parse(every="monday", at="09:00")
    assert schedule_package.jobs == []
    assert schedule_package.default_scheduler.jobs == []
