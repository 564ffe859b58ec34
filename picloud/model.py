"""The nouns: frozen, slotted, with a unit in each name or comment.

Owns: the words of the platform as types. Knows nothing of how they are stored, sent or run; imports nothing of ours.
"""

import enum
import re
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

import msgspec

SCRIPT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

HeaderList = tuple[tuple[str, str], ...]
"""Header fields in order: (name, value), repeats allowed, text as latin-1 carries it."""


class Outcome(enum.StrEnum):
    """How an invocation ended: ``ok``, or the name of the problem that its caller was answered with."""

    OK = "ok"
    SCRIPT_ERROR = "script-error"
    TIMEOUT = "timeout"
    CPU_LIMIT = "cpu-limit"
    MEMORY_LIMIT = "memory-limit"
    SANDBOX_VIOLATION = "sandbox-violation"
    SANDBOX_CRASH = "sandbox-crash"
    EXECUTOR_LOST = "executor-lost"
    OVERLOADED = "overloaded"
    CONCURRENCY_LIMIT = "concurrency-limit"
    BAD_RESPONSE = "bad-response"
    INVALID_REQUEST = "invalid-request"  # `request:json()` on a body that is no JSON, uncaught


class Trigger(enum.StrEnum):
    """Why a script runs."""

    HTTP = "http"
    INVOKE = "invoke"


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
class Limits:
    """What one invocation of a script may use."""

    wall_ms: int = 10_000  # from the sandbox's accept to its answer
    cpu_ms: int = 5_000
    memory_bytes: int = 64 * 1024 * 1024  # Lua's heap
    request_bytes: int = 1024 * 1024  # body
    response_bytes: int = 6 * 1024 * 1024  # body
    log_bytes: int = 64 * 1024  # all lines of one invocation
    host_calls: int = 1_000  # of one invocation: kv, http, …
    concurrency: int = 16  # invocations at once on a node

    def within(self, maxima: "Limits") -> "Limits":
        """These, and none above the other's."""
        return Limits(*(min(getattr(self, it.name), getattr(maxima, it.name)) for it in fields(self)))


LIMITS_MOST = Limits(
    wall_ms=24 * 60 * 60 * 1000,
    cpu_ms=24 * 60 * 60 * 1000,
    memory_bytes=64 * 1024**3,
    request_bytes=1024**3,
    response_bytes=1024**3,
    log_bytes=1024**3,
    host_calls=1_000_000,
    concurrency=100_000,
)
"""What no operator can go beyond."""


class Access(enum.StrEnum):
    """Who may call a script over HTTP."""

    PUBLIC = "public"
    TOKEN = "token"  # noqa: S105 - no secret: who sends a token with the scope `invoke`


@dataclass(frozen=True, slots=True)
class Cors:
    """Which pages of other origins may call a script (the CORS protocol of the Fetch standard)."""

    origins: tuple[str, ...] = ()  # `https://example.org`, or `*`
    headers: tuple[str, ...] = ()  # that a page may send, lower-case, or `*`
    methods: tuple[str, ...] = ()  # beside GET, HEAD and POST, or `*`
    credentials: bool = False  # whether cookies and Authorization may come along; never with `*`
    max_age: int = 0  # s that a browser may remember the answer


@dataclass(frozen=True, slots=True)
class Settings:
    """What belongs to a script and not to a version of it; a rollback leaves it alone."""

    access: Access = Access.PUBLIC
    limits: Limits = Limits()
    env: Mapping[str, str] = field(default_factory=dict)
    cors: Cors | None = None  # None: the script answers for itself
    expose_errors: bool = True  # whether a caller sees the script's error message


StoredSettings = Mapping[str, Any]
"""What was set of a script's settings, as JSON has it; what was not follows the server."""

SettingsChange = Callable[[StoredSettings], StoredSettings]
"""What is stored of a script's settings → what is to be; InvalidRequest, and nothing is."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator allows every script, and what one gets that does not say."""

    maxima: Limits = Limits(
        wall_ms=300_000,
        cpu_ms=300_000,
        memory_bytes=512 * 1024 * 1024,
        request_bytes=64 * 1024 * 1024,
        response_bytes=64 * 1024 * 1024,
        log_bytes=1024 * 1024,
        host_calls=10_000,
        concurrency=256,
    )
    access: Access = Access.PUBLIC

    def hold(self, stored: Mapping[str, Any]) -> Settings:
        """What holds for a script: what was set, else the default, and no limit above the operator's."""
        settings = msgspec.convert({"access": self.access, **stored}, Settings)
        return replace(settings, limits=settings.limits.within(self.maxima))


DEFAULT_POLICY = Policy()


@dataclass(frozen=True, slots=True)
class Program:
    """One version of a script, ready to run."""

    script: str
    version: int
    files: Mapping[str, bytes]  # path → text; `main.lua` is the entry
    settings: Settings


@dataclass(frozen=True, slots=True)
class Request:
    """What a script sees as `request`; all text is bytes in latin-1, as HTTP carries it."""

    id: str  # the invocation's
    method: str
    path: str  # whole, decoded
    query_string: str  # raw
    headers: HeaderList  # lower-case names, one entry a name, repeats joined by ", "
    body: bytes
    host: str = ""
    remote_addr: str = ""
    trigger: Trigger = Trigger.HTTP
    params: HeaderList = ()  # the route's parameters; `rest` under /fn/NAME/…
    event: bytes = b""  # JSON, for later triggers


@dataclass(frozen=True, slots=True)
class Response:
    """What a script answered, checked: the status is 200 to 599, each header a legal field."""

    status: int
    headers: HeaderList
    body: bytes


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a script wrote."""

    at: datetime  # UTC, when the trusted side read it
    level: Level
    message: str
    fields: str  # a JSON object as text, or ""


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one program in one sandbox, as the executor's client saw it."""

    outcome: Outcome
    response: Response | None = None  # with outcome OK only
    committed: bool = True  # False for `error{…}`: the answer goes out, the effects do not
    detail: str = ""  # for a person: `main.lua:3: attempt to …`, `exceeded 10000 ms`
    traceback: str = ""  # Lua's, for the log
    queue_ms: float = 0.0  # until a sandbox accepted
    run_ms: float = 0.0  # from there to the last byte of the answer
    cpu_ms: float = 0.0
    memory_bytes: int = 0  # Lua's heap at the end; the process's peak if it died


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """Why a file of a version does not compile."""

    file: str
    line: int
    message: str  # Lua's, without the position


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
class Record:
    """One invocation with what it wrote."""

    invocation: Invocation
    lines: tuple[LogLine, ...]


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


@dataclass(frozen=True, slots=True)
class Script:
    """A named program with its active version."""

    name: str
    active_version: int
    settings: Settings
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Route:
    """(method, host, path pattern) → script."""

    id: int
    method: str  # or ANY
    host: str | None  # None: every host
    path: str  # a pattern, see picloud.patterns
    script: str


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be so of a script for a change to happen."""

    active_versions: frozenset[int] | None = None  # one of these is active
    create_only: bool = False  # there is no such script
    update_only: bool = False  # there is one


ANYWAY = Condition()


@dataclass(frozen=True, slots=True)
class Upload:
    """Files to be a new version."""

    files: Mapping[str, bytes]  # path → content; `main.lua` is the entry
    sha256: str  # of all of them
    created_by: str  # the token's name
    activate: bool = True


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of an upload."""

    version: int
    active_version: int
    created: bool  # False: the active version has the same files


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable upload."""

    script: str
    version: int
    sha256: str  # hex: of the source if it is one file, else of all paths and contents
    bytes: int
    created_at: datetime
    created_by: str  # the token's name


def is_script_name(text: str) -> bool:
    """Whether a script may have this name."""
    return SCRIPT_NAME.fullmatch(text) is not None


def is_variable_name(text: str) -> bool:
    """Whether a variable of `env` may have this name."""
    return VARIABLE_NAME.fullmatch(text) is not None


def new_id() -> str:
    """A UUID of version 7 (RFC 9562, method 3): sorts by when it was made, to a quarter of a microsecond."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    return str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)))
