"""`[[schedule]]` in a `picloud.toml`: in the server's, where it names its script, and in a bundle's, which is its own.

Owns: what may stand there. Pure; which schedules are valid at all is `picloud.planning`'s.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from picloud import planning
from picloud.errors import InvalidRequest
from picloud.messages.forms import form
from picloud.messages.wrong import invalid
from picloud.model import SCHEDULES_OF_SCRIPT_MAX, Missed, NewSchedule, Overlap

_UNITS_S = {"s": 1, "second": 1, "m": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86_400, "day": 86_400}
_SPAN = re.compile(r"([0-9]{1,9})\s*([a-z]+)")
_SPANS = {"missed_within_s": "missed_within", "jitter_s": "jitter"}  # as they are called here


Cron = Annotated[str, form("cron", "5 fields, or 6 with the second first, or a macro such as `@daily`")]
Every = Annotated[str, form("interval", "`10 minutes`, `day`, `monday`; null: `cron` says it")]
At = Annotated[str, form("time-of-day", "`09:00`, with days and weekdays; null: any time")]
Zone = Annotated[str, form("time-zone", "an IANA name, such as `Europe/Berlin`")]
Span = Annotated[str, form("span", "`90 seconds`, `2 hours`, `1 day`; or a number of seconds")]


class _Table(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What both have."""

    cron: Cron | None = None
    every: Every | None = None
    at: At | None = None
    timezone: Zone = "UTC"
    payload: Any = None
    overlap: Overlap = Overlap.SKIP
    missed: Missed = Missed.RUN_ONCE
    missed_within: int | Span = "1 day"
    jitter: int | Span = 0


class BundleTable(_Table, kw_only=True):
    """A schedule as a bundle's `picloud.toml` has it."""

    name: Annotated[str, form("schedule-name", "without one: the script's, and `NAME-2` for the second")] | None = None


class ServerTable(_Table, kw_only=True):
    """One of the server's."""

    name: str
    script: str


def of_bundle(script: str, tables: Sequence[BundleTable], where: str) -> tuple[NewSchedule, ...]:
    """The schedules of a script's bundle; InvalidRequest names fields such as `schedule[0].every`, behind ``where``.

    The first one has the script's name unless it has its own, the second `NAME-2`.
    """
    found = _Found()
    if len(tables) > SCHEDULES_OF_SCRIPT_MAX:
        found.wrong.append(("schedule", f"has {len(tables)} entries, at most {SCHEDULES_OF_SCRIPT_MAX} are taken"))
    for at, table in enumerate(tables):
        default = script if at == 0 else f"{script}-{at + 1}"
        found.add(f"schedule[{at}]", table, default if table.name is None else table.name, script)
    return found.whole(where)


def of_server(tables: object) -> tuple[NewSchedule, ...]:
    """The schedules of the server's file; InvalidRequest names each field that is wrong."""
    if not isinstance(tables, list):
        raise InvalidRequest.of("schedule", "write [[schedule]], in two pairs of brackets: there may be several")
    found = _Found()
    for at, table in enumerate(tables):
        place = f"schedule[{at}]"
        try:
            read = msgspec.convert(table, ServerTable)
        except msgspec.ValidationError as error:
            found.refuse(place, invalid(ServerTable, error, "", table))
        else:
            found.add(place, read, read.name, read.script)
    return found.whole()


class _Found:
    """The schedules of one file, and all that is wrong with them."""

    def __init__(self) -> None:
        self.wrong: list[tuple[str, str]] = []
        self._schedules: list[NewSchedule] = []
        self._places: dict[str, str] = {}  # name → table

    def add(self, place: str, table: _Table, name: str, script: str) -> None:
        """Take what a table says, or note what is wrong with it."""
        first = self._places.setdefault(name, place)
        if first != place:
            self.wrong.append((f"{place}.name", f"'{name}' is the name of {first}, too"))
        spans = {}
        for field, span in (("missed_within", table.missed_within), ("jitter", table.jitter)):
            try:
                spans[field] = _seconds(span)
            except ValueError as error:
                self.wrong.append((f"{place}.{field}", str(error)))
        schedule = _schedule(table, name, script, spans)
        try:
            planning.check(schedule)
        except InvalidRequest as error:
            self.refuse(place, error)
        self._schedules.append(schedule)

    def refuse(self, place: str, error: InvalidRequest) -> None:
        """Note what is wrong with a table."""
        if not error.errors:
            self.wrong.append((place, str(error)))
        for one in error.errors:
            field = str(one["field"])
            self.wrong.append((f"{place}.{_SPANS.get(field, field)}", str(one["message"])))

    def whole(self, where: str = "") -> tuple[NewSchedule, ...]:
        """All of them; InvalidRequest."""
        if self.wrong:
            raise InvalidRequest.of_all(self.wrong, where)
        return tuple(self._schedules)


def _schedule(table: _Table, name: str, script: str, spans: Mapping[str, int]) -> NewSchedule:
    return NewSchedule(
        name=name,
        script=script,
        cron=table.cron,
        every=table.every,
        at=table.at,
        timezone=table.timezone,
        payload=msgspec.json.encode(table.payload),
        overlap=table.overlap,
        missed=table.missed,
        missed_within_s=spans.get("missed_within", 0),
        jitter_s=spans.get("jitter", 0),
    )


def _seconds(span: int | str) -> int:
    """A span as seconds; ValueError."""
    if isinstance(span, int):
        return span
    found = _SPAN.fullmatch(span.strip().lower())
    unit_s = _UNITS_S.get(found[2]) or _UNITS_S.get(found[2].removesuffix("s")) if found else None
    if found is None or unit_s is None:
        raise ValueError("must be a time such as '90 seconds', '2 hours' or '1 day', or a number of seconds")
    return int(found[1]) * unit_s
