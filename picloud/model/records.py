"""What is kept of runs, and what of it is wanted: invocations and log lines."""

import enum
from dataclasses import dataclass
from datetime import datetime

from picloud.model.runs import Outcome, Request, Trigger


class Level(enum.StrEnum):
    """How loud a log line is."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"

    def and_louder(self) -> tuple["Level", ...]:
        """This one and those above it."""
        return tuple(Level)[tuple(Level).index(self) :]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a script wrote."""

    at: datetime  # UTC, when the trusted side read it
    level: Level
    message: str
    fields: str  # a JSON object as text, or ""


@dataclass(frozen=True, slots=True)
class Invocation:
    """The record of one run of one version."""

    id: str
    script: str
    version: int
    trigger: Trigger
    outcome: Outcome
    status: int  # what the caller was answered
    started_at: datetime  # UTC
    queue_ms: float
    run_ms: float
    cpu_ms: float
    memory_bytes: int
    error: str = ""  # the detail of a problem
    http_calls: int = 0


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """The request of an invocation, kept to be looked at and to be run again."""

    request: Request
    body_bytes: int  # of its body as it came
    cut: bool  # it was too large: body or headers are left out
    masked: bool  # there were secrets in it


@dataclass(frozen=True, slots=True)
class Record:
    """One invocation with what it wrote."""

    invocation: Invocation
    lines: tuple[LogLine, ...]
    request: KeptRequest | None = None  # if the script's settings say that it is kept
    granted: tuple[str, ...] = ()  # names of secrets that must not be in it when it is written
    kept_bytes: int = 0  # beside all that: its answer, if that was kept for a key; its job's request


@dataclass(frozen=True, slots=True)
class StoredLine:
    """One log line as it is listed."""

    id: int  # its cursor
    invocation: str
    script: str
    at: datetime
    level: Level
    message: str
    fields: str | None  # a JSON object as text: it came from a sandbox, and is parsed by nobody here


@dataclass(frozen=True, slots=True)
class InvocationFilter:
    """Which invocations are wanted; what is left out lets all of them through."""

    script: str = ""
    scripts: frozenset[str] | None = None  # those that the reader may see; None: all
    outcome: Outcome | None = None
    trigger: Trigger | None = None
    since: datetime | None = None  # started then or later
    until: datetime | None = None  # started before


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which log lines are wanted; what is left out lets all of them through."""

    script: str = ""
    scripts: frozenset[str] | None = None  # those that the reader may see; None: all
    invocation: str = ""
    level: Level | None = None  # this one and louder
    since: datetime | None = None  # written then or later
    until: datetime | None = None  # written before


@dataclass(frozen=True, slots=True)
class LinePage:
    """Log lines in the order of their coming."""

    lines: tuple[StoredLine, ...]
    cursor: int  # to go on from: behind them, and behind lines in between that are not wanted
    more: bool  # whether there are some behind it already
