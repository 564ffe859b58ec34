"""A rule: how it is written, and what is wrong with it.

Owns: what is valid, by `cronsim` for expressions and by `schedule` for intervals; both only read. No job of the latter
ever gets a function or comes into a list, so nothing can run by it.
"""

import difflib
import re
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from cronsim import CronSim, CronSimError
from schedule import IntervalError, Job, ScheduleValueError

from picloud.timetable import zones

_TEXT_BYTES_MAX = 256
_INTERVAL_DAYS_MAX = 3_660

_MACROS = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}  # fmt: skip
_FIELDS = ("second", "minute", "hour", "day-of-month", "month", "day-of-week")
_RANGES = ("0 to 59", "0 to 59", "0 to 23", "1 to 31, or L", "1 to 12, or JAN to DEC", "0 to 7, or SUN to SAT")
_BAD_FIELD = re.compile(r"Bad (\S+)")
_ANY_START = datetime(2000, 1, 1)  # noqa: DTZ001  a clock's time, in whichever zone

_EVERY = re.compile(r"(?:([0-9]{1,9})\s+)?([a-z]+)")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNIT_S = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400, "weeks": 604_800}
_UNITS = (*_UNIT_S, *(unit[:-1] for unit in _UNIT_S), *_WEEKDAYS)


class BadRule(ValueError):
    """What is no rule: ``field`` is where, ``message`` says what is wrong and what to do."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.message = field, message


@dataclass(frozen=True, slots=True)
class Rule:
    """When something is due: either ``cron`` or ``every``, as they were written. `parse` makes valid ones."""

    cron: str | None = None
    every: str | None = None
    at: str | None = None  # with every
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Interval:
    """What ``every`` and ``at`` say."""

    interval: int
    unit: str  # seconds, minutes, hours, days, weeks
    weekday: int | None  # 0 is Monday
    at: tuple[int, int, int] | None  # hour, minute, second

    @property
    def interval_s(self) -> int:
        """Its length where days have 24 hours."""
        return self.interval * _UNIT_S[self.unit]


class Cron:
    """What ``cron`` says."""

    def __init__(self, expression: str) -> None:
        self._sim = CronSim(_MACROS.get(expression.casefold(), expression), _ANY_START)
        self.hours, self.minutes, self.seconds = self._sim.hours, self._sim.minutes, self._sim.seconds
        # Debian's rule: what names its minutes and its hours is meant once a day, whatever is done to the clocks.
        self.names_times = not any(part.startswith("*") for part in self._sim.parts[1:3])

    def has(self, day: date) -> bool:
        """Whether it is due on a day."""
        return day.month in self._sim.months and self._sim.match_day(day)

    def check(self) -> None:
        """StopIteration: it is never due within fifty years."""
        next(self._sim)


def parse(
    *, cron: str | None = None, every: str | None = None, at: str | None = None, timezone: str | None = None
) -> Rule:
    """A rule of what somebody wrote; BadRule, which is a ValueError, says which field is wrong, why, and what to do."""
    texts = {"cron": cron, "every": every, "at": at, "timezone": timezone}
    for field, text in texts.items():
        if text is not None and (len(text) > _TEXT_BYTES_MAX or not text.isascii()):
            raise BadRule(field, f"has at most {_TEXT_BYTES_MAX} characters, all of them ASCII")
    if (cron is None) == (every is None):
        raise BadRule("cron" if cron is None else "every", "give either 'cron' or 'every', and one of them")
    if at is not None and every is None:
        raise BadRule("at", "goes with 'every'; a cron expression has its times itself")
    try:
        zones.zone(timezone or "UTC")
    except ValueError as error:
        raise BadRule("timezone", str(error)) from None
    cron, every, at = (text and " ".join(text.split()) for text in (cron, every, at))
    rule = Rule(cron, every, at, timezone or "UTC")
    read(rule)
    return rule


@lru_cache(maxsize=4096)
def read(rule: Rule) -> Cron | Interval:
    """What a rule says; BadRule."""
    return _interval(rule.every, rule.at) if rule.every is not None else _cron(rule.cron or "")


def _cron(text: str) -> Cron:
    if text.startswith("@") and text.casefold() not in _MACROS:
        raise BadRule("cron", _no_macro(text))
    try:
        cron = Cron(text)
        cron.check()
    except StopIteration:
        raise BadRule("cron", f"'{text}' is never due: there is no such day within fifty years") from None
    except (CronSimError, ValueError, AssertionError) as error:
        raise BadRule("cron", _wrong_cron(text, str(error))) from None
    return cron


def _no_macro(text: str) -> str:
    if text.casefold() == "@reboot":
        return "'@reboot' is no time that could be due: what is to run after a start wants another way"
    return f"there is no '{text}'; there are {', '.join(_MACROS)}"


def _wrong_cron(text: str, said: str) -> str:
    """What is wrong with an expression, which `cronsim` says in two words."""
    parts, bad = text.split(), _BAD_FIELD.match(said)
    if len(parts) not in (5, 6):
        names = ", ".join(_FIELDS[1:])
        return f"'{text}' has {len(parts)} fields; 5 are wanted ({names}), or 6 with the second before them"
    if not bad:
        return f"'{text}' is no cron expression"
    place = _FIELDS.index(bad[1])
    written = parts[place - (len(parts) == 5)]
    if bad[1] == "day-of-month" and _is_day(written):
        month = parts[place + 1 - (len(parts) == 5)]
        return f"'{text}' is never due: the month '{month}' has no day {written}"
    return f"the {bad[1]} '{written}' is not valid: {_RANGES[place]}; lists 1,2 and ranges 1-5 and steps */5 of them"


def _is_day(written: str) -> bool:
    """Whether some month has this day of the month."""
    return written.isdecimal() and 1 <= int(written) <= 31


def _interval(every: str, at: str | None) -> Interval:
    found = _EVERY.fullmatch(every.casefold())
    if not found:
        raise BadRule("every", f"'{every}' is no interval; write '10 minutes', 'day' or 'monday'")
    interval, unit = int(found[1] or 1), found[2].removesuffix("s") if found[2][:-1] in _WEEKDAYS else found[2]
    if unit not in _UNITS:
        near = difflib.get_close_matches(unit, _UNITS, n=1)
        raise BadRule("every", f"'{unit}' is no unit of time" + (f"; did you mean '{near[0]}'?" if near else ""))
    if interval < 1:
        raise BadRule("every", "an interval is at least 1")
    job = _job(interval, unit)
    if interval * _UNIT_S[str(job.unit)] > _INTERVAL_DAYS_MAX * 86_400:
        raise BadRule("every", f"an interval is at most {_INTERVAL_DAYS_MAX} days")
    time = None if at is None else _time(job, at)
    return Interval(interval, str(job.unit), _WEEKDAYS.index(unit) if unit in _WEEKDAYS else None, time)


def _job(interval: int, unit: str) -> Any:
    """A job of `schedule`'s: the words that it has been told, and nothing that could run."""
    try:
        return getattr(Job(interval), unit)
    except IntervalError as error:
        raise BadRule("every", f"'{interval} {unit}': {error}") from None


def _time(job: Any, at: str) -> tuple[int, int, int]:
    try:
        job.at(at)
    except ScheduleValueError as error:
        wrong = str(error).replace("({} is not", f"({at[:2]} is not")
        hint = '; for weeks name a day: every = "monday"' if job.unit == "weeks" else ""
        raise BadRule("at", f"'{at}': {wrong}{hint}") from None
    return job.at_time.hour, job.at_time.minute, job.at_time.second
