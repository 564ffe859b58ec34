"""Jobs: invocations that are asked for now and run later."""

import enum
from dataclasses import dataclass
from datetime import datetime

from picloud.model.runs import Outcome, Request, Response, Trigger

JOB_KEY_BYTES_MAX = 512  # of UTF-8: a key, an ordering key
JOB_PRIORITY_MAX = 100  # and as far below 0
JOB_ATTEMPTS_MAX = 100
JOB_DELAY_S_MAX = 366 * 24 * 60 * 60
JOBS_QUEUED_MAX = 10_000  # of one script, that are sent by requests and by scripts
JOBS_QUEUED_BYTES_MAX = 256 * 1024 * 1024  # their requests, as PostgreSQL packs them
JOB_CRASHES_MAX = 10  # attempts that came to no end: then it is dead

# What PiCloud's own keys begin with, and no script's: else whoever guesses one has another's job taken for its twin,
# or keeps whoever makes a schedule's jobs waiting.
KEYS_OF_REQUESTS = "request:"  # with the setting `idempotency`
KEYS_OF_DELIVERIES = "webhook:"
LANES_OF_SCHEDULES = "schedule "


class JobState(enum.StrEnum):
    """What has become of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"  # it failed as often as it may
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be."""

    script: str
    request: Request  # what it will see; each run of it has an id of its own
    delay_ms: int = 0  # from the moment when it is stored
    due_at: datetime | None = None  # instead of a delay
    key: str | None = None  # of a script's jobs, one is kept with a key
    max_attempts: int | None = None  # None: as the script's settings say
    priority: int = 0  # higher ones first
    ordering_key: str | None = None  # those with the same one run one after the other, in the order of their sending
    sender: str | None = None  # the script that sent it, and may cancel it; None: no script did


@dataclass(frozen=True, slots=True)
class SentJob:
    """What became of sending one."""

    id: str
    created: bool  # False: there is one with its key


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands."""

    id: str
    script: str
    trigger: Trigger
    state: JobState
    priority: int
    due_at: datetime
    key: str | None
    ordering_key: str | None
    attempts: int  # that failed
    max_attempts: int | None  # None: as the script's settings say
    crashes: int  # attempts that came to no end
    created_at: datetime
    ended_at: datetime | None
    invocation: str | None  # the last one that came to an end
    outcome: Outcome | None  # of that
    error: str


@dataclass(frozen=True, slots=True)
class AddedJob:
    """What became of asking for one."""

    job: Job
    twin: Request | None = None  # what the job with this key was sent with, if there was one; None: this is new


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a job."""

    invocation: str
    started_at: datetime
    outcome: str | None  # an Outcome, or `crashed`; None: it is under way, or nobody has looked yet


@dataclass(frozen=True, slots=True)
class JobHistory:
    """A job, with what came of it."""

    job: Job
    response: Response | None  # its last run's answer, if it gave one
    cut: bool  # the body of that was too large to be kept
    runs: tuple[JobRun, ...]  # the newest, oldest first


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job that nobody else runs now."""

    id: str
    script: str
    request: Request
    attempts: int
    max_attempts: int | None
    crashes: int
    new_crashes: int  # of those, found just now


@dataclass(frozen=True, slots=True)
class JobEnd:
    """What one run of a job leaves it as."""

    state: JobState  # QUEUED: it runs again
    outcome: Outcome
    error: str = ""
    delay_ms: int = 0  # until it runs again
    counts: bool = False  # as one of its attempts
    crashed: bool = False  # as one of its crashes
    response: Response | None = None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are wanted; what is left out lets all of them through."""

    script: str = ""
    scripts: frozenset[str] | None = None  # those that the reader may see; None: all
    state: JobState | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class QueueState:
    """How much waits, and since when."""

    queued: int  # due or not
    running: int
    done: int
    dead: int
    cancelled: int
    due: int  # of those queued: they could run now
    oldest_ms: float  # for which the oldest of those has been due; 0: none is
