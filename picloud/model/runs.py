"""One run of a program: what it is asked, what it answers, how it ends."""

import enum
import secrets
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

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
    CALLER_GONE = "caller-gone"  # before the answer was whole; if it had not begun, what was done is gone, too
    CONFLICT = "conflict"  # with another invocation, and it cannot run again
    DATABASE_UNAVAILABLE = "database-unavailable"
    OUTCOME_UNKNOWN = "outcome-unknown"  # it was lost in COMMIT; or it is under way, or was when its server died


class Trigger(enum.StrEnum):
    """Why a script runs."""

    HTTP = "http"
    INVOKE = "invoke"
    JOB = "job"
    EVENT = "event"
    SCHEDULE = "schedule"


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
    idempotency_key: str | None = None  # as it was sent; None: it was not
    params: HeaderList = ()  # the route's parameters; `rest` under /fn/NAME/…
    event: bytes = b""  # JSON: what led here, if it was no call
    event_depth: int = 0  # how many events led to each other to get here


@dataclass(frozen=True, slots=True)
class Response:
    """What a script answered, checked: the status is 200 to 599, each header a legal field."""

    status: int
    headers: HeaderList
    body: bytes
    is_streamed: bool = False  # it is made while it is sent: `body` is empty, and its length not known


class Stream(Protocol):
    """The body of an answer that is made while it is sent. Whoever has one closes it."""

    deadline: float  # monotonic, s: when it ends, whole or not

    def pieces(self) -> Generator[bytes, None, None]:
        """Have it made: each piece as it comes, none of them empty. To be asked for once."""

    def close(self) -> "Run":
        """End it, if it has not ended → what became of it."""


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one program in one sandbox, as the executor's client saw it."""

    outcome: Outcome
    response: Response | None = None  # with outcome OK; if a stream ended otherwise, the head that was sent
    committed: bool = True  # False for `error{…}`: the answer goes out, the effects do not
    retry: bool = True  # False for `error{retry=false, …}`: if it was a job, it does not run again
    detail: str = ""  # for a person: `main.lua:3: attempt to …`, `exceeded 10000 ms`
    traceback: str = ""  # Lua's, for the log
    queue_ms: float = 0.0  # until a sandbox accepted
    run_ms: float = 0.0  # from there to the last byte of the answer
    cpu_ms: float = 0.0
    memory_bytes: int = 0  # Lua's heap at the end; the process's peak if it died
    http_calls: int = 0  # that it made, whatever became of them
    replays: str = ""  # the invocation that gave this answer, if nothing ran
    stream: Stream | None = None  # with outcome OK: the answer has only begun, and nothing of its body is made yet


def new_id() -> str:
    """A UUID of version 7 (RFC 9562, method 3): sorts by when it was made, to a quarter of a microsecond."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    return str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)))
