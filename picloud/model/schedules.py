"""Schedules: when scripts run by themselves, and the ledger of each time that was due."""

import enum
from dataclasses import dataclass
from datetime import datetime

from picloud.model.jobs import NewJob

SCHEDULE_PAYLOAD_BYTES_MAX = 64 * 1024  # of JSON
SCHEDULE_MISSED_WITHIN_S_MAX = 366 * 24 * 60 * 60
SCHEDULE_JITTER_S_MAX = 24 * 60 * 60
SCHEDULES_OF_SCRIPT_MAX = 100  # that a script set itself, or its bundle declares


class Overlap(enum.StrEnum):
    """What becomes of a slot while the run of an earlier one of its schedule is not over."""

    SKIP = "skip"  # it does not run
    QUEUE = "queue"  # it runs after that
    ALLOW = "allow"  # it runs beside that


class Missed(enum.StrEnum):
    """What becomes of slots that nobody was there to run."""

    RUN_ONCE = "run-once"  # the last one runs late
    RUN_ALL = "run-all"  # each of them does
    SKIP = "skip"  # none does


class Origin(enum.StrEnum):
    """Who made a schedule, and alone changes it."""

    CONFIG = "config"  # the operator's picloud.toml
    BUNDLE = "bundle"  # a script's own picloud.toml
    API = "api"
    SCRIPT = "script"  # one of its runs: schedule.set


class SlotState(enum.StrEnum):
    """What became of one due time."""

    QUEUED = "queued"  # its job is to run, or runs
    RAN = "ran"
    FAILED = "failed"
    SKIPPED_OVERLAP = "skipped-overlap"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A schedule as somebody wants it: either ``cron`` or ``every``."""

    name: str
    script: str
    cron: str | None = None
    every: str | None = None
    at: str | None = None  # with every
    timezone: str = "UTC"
    payload: bytes = b"null"  # JSON: the body of the requests
    overlap: Overlap = Overlap.SKIP
    missed: Missed = Missed.RUN_ONCE
    missed_within_s: int = 86_400  # what is later than that is missed, whatever `missed` says
    jitter_s: int = 0  # each slot's job is due up to so much later


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it stands."""

    name: str
    script: str  # by name: it may not be there
    cron: str | None
    every: str | None
    at: str | None
    timezone: str
    payload: bytes
    overlap: Overlap
    missed: Missed
    missed_within_s: int
    jitter_s: int
    origin: Origin
    anchor: datetime  # from which intervals count
    next_due: datetime | None  # the first slot that is not in the ledger; None: there will be none
    error: str  # why it makes no more slots; '': it does
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Slot:
    """One due time of a schedule; or, with ``until``, all of those from `due_at` to then, as one."""

    schedule: str
    script: str  # that it was for
    due_at: datetime
    until: datetime | None  # the last one of a range
    count: int  # of due times: 1, or those of the range
    state: SlotState
    job: str | None
    invocation: str | None  # that the job ended with
    lateness_ms: int | None  # from due_at to the job's making
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class SlotRange:
    """Due times of one schedule in a row."""

    first: datetime
    last: datetime
    count: int


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """A schedule of which something is due, and what there is to know to say what becomes of it."""

    schedule: Schedule
    now: datetime
    until: datetime  # to be decided about up to here: now, or before it if there is too much in the ledger
    is_running: bool  # an earlier slot's job is not over
    recorded: tuple[tuple[datetime, datetime], ...]  # first and last of what the ledger has from `next_due` to `until`


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """What becomes of what is due."""

    jobs: tuple[tuple[datetime, NewJob], ...]  # a slot's due time and its job, which may be due later
    skipped: tuple[datetime, ...]  # an earlier one's job is not over
    missed: tuple[SlotRange, ...]
    next_due: datetime | None
