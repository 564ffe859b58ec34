"""`/api/v1/schedules`: when scripts run by themselves, and what became of each time that was due."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import falcon
import msgspec
from msgspec import Meta

from picloud.auth import Principal, Scope
from picloud.manager.schedule_tables import At, Cron, Every, Zone
from picloud.manager.schedules import NEXT_RUNS_MAX, Schedules
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.reading import CURSOR, PAGE_MAX, Paging, Query, ScriptName
from picloud.messages.writing import Page, send_json, send_page
from picloud.model import (
    SCHEDULE_JITTER_S_MAX,
    SCHEDULE_MISSED_WITHIN_S_MAX,
    SCRIPT_NAME,
    Missed,
    NewSchedule,
    Origin,
    Overlap,
    Schedule,
    Slot,
    SlotState,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CURSOR_MAX = 253_402_300_799_999_999  # the last microsecond that there is

_Name = Annotated[str, Meta(extra_json_schema={"pattern": f"^{SCRIPT_NAME.pattern}$"})]
_Within = Annotated[int, Meta(ge=0, le=SCHEDULE_MISSED_WITHIN_S_MAX, description="later than that is missed")]
_Jitter = Annotated[int, Meta(ge=0, le=SCHEDULE_JITTER_S_MAX, description="runs begin up to so much later")]


class ScheduleBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a schedule is to be: either `cron` or `every`."""

    script: ScriptName
    cron: Cron | None = None
    every: Every | None = None
    at: At | None = None
    timezone: Zone = "UTC"
    payload: Annotated[Any, Meta(description="the body of the requests, as JSON")] = None
    overlap: Overlap = Overlap.SKIP
    missed: Missed = Missed.RUN_ONCE
    missed_within_s: _Within = 86_400
    jitter_s: _Jitter = 0

    def named(self, name: str) -> NewSchedule:
        """The schedule that it describes."""
        fields = {field: getattr(self, field) for field in ScheduleBody.__struct_fields__}
        return NewSchedule(name, **{**fields, "payload": msgspec.json.encode(self.payload)})


class NamedScheduleBody(ScheduleBody, kw_only=True):
    """A schedule to be."""

    name: _Name


def _moment(meaning: str) -> Meta:
    return Meta(description=meaning, extra_json_schema={"format": "date-time"})


class ScheduleShape(msgspec.Struct):
    """When a script runs by itself."""

    name: str
    script: str
    cron: str | None
    every: str | None
    at: str | None
    timezone: str
    payload: Any
    overlap: Overlap
    missed: Missed
    missed_within_s: int
    jitter_s: int
    origin: Annotated[Origin, Meta(description="who made it, and alone changes it")]
    anchor: Annotated[datetime, _moment("from which intervals count")]
    next_due: Annotated[datetime | None, _moment("null: there is no due time to come")]
    error: Annotated[str, Meta(description="why it is not due any more")]
    created_at: datetime
    updated_at: datetime


class NextRun(msgspec.Struct):
    """One due time to come."""

    due_at: datetime
    local: Annotated[str, Meta(description="the same moment as the schedule's time zone has it")]


class NextRunsShape(msgspec.Struct):
    """When a schedule is due next."""

    schedule: str
    timezone: str
    items: list[NextRun]


class SchedulesQuery(Paging):
    """Which schedules."""

    script: ScriptName | None = None


class SlotsQuery(Query):
    """Which slots."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX, description="how many items at most")] = 50
    after: Annotated[int, Meta(ge=0, le=_CURSOR_MAX, description=CURSOR)] = 0
    state: Annotated[SlotState, Meta(description="those that ended so; `queued`: not yet")] | None = None


class NextRunsQuery(Query):
    """How many due times."""

    count: Annotated[int, Meta(ge=1, le=NEXT_RUNS_MAX, description="how many at most")] = 5


_PLACE = {"Location": Annotated[str, Meta(description="the schedule's own path")]}


class SchedulesResource:
    """`/api/v1/schedules`"""

    def __init__(self, schedules: Schedules) -> None:
        self._schedules = schedules

    @endpoint(Scope.READ, query=SchedulesQuery, answers={200: Page[ScheduleShape]}, by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response, query: SchedulesQuery) -> None:
        """List schedules by name, of one script with `?script=`."""
        if query.script:
            req.context.principal.require(Scope.READ, query.script)
        found = self._schedules.page(query.limit, query.after, query.script, req.context.principal.scripts)
        send_page(resp, found, query.limit, _shape, lambda it: it.name)

    @endpoint(
        Scope.DEPLOY,
        body=NamedScheduleBody,
        answers={201: Answer(ScheduleShape, headers=_PLACE)},
        problems=("not-found", "conflict"),
        by_script=True,
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, body: NamedScheduleBody) -> None:
        """Make a schedule: at its times the script runs, with `payload` as the request's body.

        `conflict`: there is one of this name. It goes with its script.
        """
        it = self._schedules.add(_wanted(req.context.principal, body, body.name), req.context.principal.scripts)
        resp.location = f"/api/v1/schedules/{it.name}"
        send_json(resp, _shape(it), 201)


class ScheduleResource:
    """`/api/v1/schedules/NAME`"""

    def __init__(self, schedules: Schedules) -> None:
        self._schedules = schedules

    @endpoint(Scope.READ, answers={200: ScheduleShape}, problems=("not-found",), by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response, schedule: str) -> None:
        """One schedule."""
        send_json(resp, _shape(self._schedules.get(schedule, req.context.principal.scripts)))

    @endpoint(
        Scope.DEPLOY,
        body=ScheduleBody,
        answers={200: Answer(ScheduleShape, meaning="There was one"), 201: Answer(ScheduleShape, meaning="It is new")},
        problems=("not-found", "conflict"),
        by_script=True,
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response, schedule: str, body: ScheduleBody) -> None:
        """Make a schedule, or replace one that was made here.

        Intervals go on counting from where they did unless `every` is another one. `conflict`: one of this name was
        made elsewhere, and the detail says where.
        """
        wanted = _wanted(req.context.principal, body, schedule)
        it, is_new = self._schedules.put(wanted, req.context.principal.scripts)
        send_json(resp, _shape(it), 201 if is_new else 200)

    @endpoint(Scope.DEPLOY, answers={204: None}, problems=("not-found", "conflict"), by_script=True)
    def on_delete(self, req: falcon.Request, resp: falcon.Response, schedule: str) -> None:
        """Remove a schedule; its slots stay.

        One of a bundle comes back when a version that declares it is next uploaded. `conflict`: the server's
        configuration declares it.
        """
        self._schedules.delete(schedule, req.context.principal.scripts)
        resp.status = 204


class SlotsResource:
    """`/api/v1/schedules/NAME/slots`"""

    def __init__(self, schedules: Schedules) -> None:
        self._schedules = schedules

    @endpoint(Scope.READ, query=SlotsQuery, answers={200: Page[Slot]}, problems=("not-found",), by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response, schedule: str, query: SlotsQuery) -> None:
        """List what became of a schedule's due times, newest first, also of one that is gone.

        With `until` an item stands for `count` due times, from `due_at` to that.
        """
        before = _EPOCH + query.after * _MICROSECOND if query.after else None
        found = self._schedules.slots(schedule, query.limit, before, query.state, req.context.principal.scripts)
        send_page(resp, found, query.limit, lambda it: it, lambda it: (it.due_at - _EPOCH) // _MICROSECOND)


class NextRunsResource:
    """`/api/v1/schedules/NAME/next-runs`"""

    def __init__(self, schedules: Schedules) -> None:
        self._schedules = schedules

    @endpoint(
        Scope.READ,
        query=NextRunsQuery,
        answers={200: NextRunsShape},
        problems=("not-found", "conflict"),
        by_script=True,
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, schedule: str, query: NextRunsQuery) -> None:
        """Tell when a schedule is due next, as far as is known now."""
        it, due = self._schedules.next_runs(schedule, query.count, req.context.principal.scripts)
        zone = ZoneInfo(it.timezone)
        runs = [NextRun(moment, moment.astimezone(zone).isoformat()) for moment in due]
        send_json(resp, NextRunsShape(it.name, it.timezone, runs))


def _wanted(principal: Principal, body: ScheduleBody, name: str) -> NewSchedule:
    principal.require(Scope.DEPLOY, body.script)
    return body.named(name)


def _shape(it: Schedule) -> ScheduleShape:
    return ScheduleShape(
        name=it.name,
        script=it.script,
        cron=it.cron,
        every=it.every,
        at=it.at,
        timezone=it.timezone,
        payload=msgspec.Raw(it.payload),
        overlap=it.overlap,
        missed=it.missed,
        missed_within_s=it.missed_within_s,
        jitter_s=it.jitter_s,
        origin=it.origin,
        anchor=it.anchor,
        next_due=it.next_due,
        error=it.error,
        created_at=it.created_at,
        updated_at=it.updated_at,
    )
