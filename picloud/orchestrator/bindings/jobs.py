"""`jobs` and `after`: work for later, as a script's host calls. It is sent in the invocation's commit, or not at all.

| call        | arguments                                                               | values                     |
|-------------|-------------------------------------------------------------------------|----------------------------|
| jobs.send   | script, payload, delay ms, at ms, key, attempts, priority, ordering key | id, `1` if it is new       |
| jobs.after  | `script` or `function`, its name, payload                               | id                         |
| jobs.cancel | id                                                                      | `1` if it waited, else `0` |

What is left out is empty; a payload is JSON, `at` counts from 1970. Of a script's jobs one is kept with a key: who
sends another gets that one's id, and `0`. `after` with a function is a job of the script that asks; `request.event`
tells the prelude which function to call: it heeds a job's event alone, and nobody else makes jobs that have one.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from picloud.errors import InvalidRequest, NotFound, QueueFull
from picloud.model import (
    JOB_ATTEMPTS_MAX,
    JOB_DELAY_S_MAX,
    JOB_KEY_BYTES_MAX,
    JOB_PRIORITY_MAX,
    KEYS_OF_DELIVERIES,
    KEYS_OF_REQUESTS,
    LANES_OF_SCHEDULES,
    NewJob,
    Program,
    Request,
    SentJob,
    Trigger,
)
from picloud.orchestrator.attempt import Attempt, Binding
from picloud.orchestrator.bindings.granting import Resolver, granted
from picloud.orchestrator.bindings.reading import fields, integer, optional_integer, text

CALLS = ("jobs.send", "jobs.after", "jobs.cancel")
SENT_BYTES_MAX = 16 * 1024 * 1024  # of all payloads that one invocation sends
_DELAY_MS_MAX = JOB_DELAY_S_MAX * 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FUNCTION_BYTES_MAX = 200
_ID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEADERS = (("content-type", "application/json"),)
_UNHEARD_OF = (
    "there is neither a script '{name}' nor a global function of that name; a local one cannot be found by its name: "
    "write `function {name}(payload)` without `local`, outside of any other function"
)


def table(resolver: Resolver) -> Mapping[str, Binding]:
    """The host calls of `jobs` and `after`."""

    def send_job(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
        """jobs.send"""
        name, payload, delay, at, key, attempts, priority, ordering_key = fields(arguments, 8)
        program = granted(resolver, text(name, "a script's name"), attempt.program)
        job = NewJob(
            program.script,
            _request(attempt, program, payload),
            delay_ms=optional_integer(delay, "delay_s, in ms,", 0, _DELAY_MS_MAX) or 0,
            due_at=_moment(at) if at else None,
            key=_key(key, "key", KEYS_OF_REQUESTS, KEYS_OF_DELIVERIES),
            max_attempts=optional_integer(attempts, "max_attempts", 1, JOB_ATTEMPTS_MAX),
            priority=optional_integer(priority, "priority", -JOB_PRIORITY_MAX, JOB_PRIORITY_MAX) or 0,
            ordering_key=_key(ordering_key, "ordering_key", LANES_OF_SCHEDULES),
            sender=attempt.program.script,
        )
        sent = _send(attempt, job)
        return [sent.id.encode(), b"%d" % sent.created]

    def after(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
        """jobs.after"""
        kind, name, payload = fields(arguments, 3)
        target = text(name, "a name")
        if kind == b"function":
            program, event = attempt.program, _call_of(target)
        else:
            program, event = _named(resolver, target, attempt.program), b""
        job = NewJob(program.script, _request(attempt, program, payload, event), sender=attempt.program.script)
        return [_send(attempt, job).id.encode()]

    return {"jobs.send": send_job, "jobs.after": after, "jobs.cancel": cancel}


def cancel(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """jobs.cancel"""
    (job,) = fields(arguments, 1)
    if not _ID.fullmatch(job):
        raise InvalidRequest("needs a job's id, as jobs.send gives it")
    return [b"%d" % attempt.work().jobs.cancel(attempt.program.script, job.decode())]


def _send(attempt: Attempt, job: NewJob) -> SentJob:
    attempt.shared.sent_bytes += len(job.request.body)
    if attempt.shared.sent_bytes > SENT_BYTES_MAX:
        raise InvalidRequest(f"the payloads of one invocation have at most {SENT_BYTES_MAX} bytes together")
    try:
        return attempt.work().jobs.send(job)
    except QueueFull as full:
        raise InvalidRequest(str(full)) from None


def _request(attempt: Attempt, program: Program, payload: bytes, event: bytes = b"") -> Request:
    most = program.settings.limits.request_bytes
    if len(payload) > most:
        raise InvalidRequest(f"'{program.script}' takes at most {most} bytes, the payload has {len(payload)}")
    try:
        payload.decode()
        msgspec.json.decode(payload, type=msgspec.Raw)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        raise InvalidRequest("the payload must be JSON") from None
    return Request(
        id="",
        method="POST",
        path="/",
        query_string="",
        headers=_HEADERS,
        body=payload,
        trigger=Trigger.JOB,
        event=event,
        event_depth=attempt.request.event_depth,
    )


def _call_of(name: str) -> bytes:
    if not 1 <= len(name.encode()) <= _FUNCTION_BYTES_MAX:
        raise InvalidRequest(f"a function's name has 1 to {_FUNCTION_BYTES_MAX} bytes")
    return msgspec.json.encode({"after": name})


def _named(resolver: Resolver, name: str, asking: Program) -> Program:
    try:
        return granted(resolver, name, asking)
    except NotFound:
        raise NotFound(_UNHEARD_OF.format(name=name[:_FUNCTION_BYTES_MAX])) from None


def _moment(at: bytes) -> datetime | None:
    """When a job is due; None: now, which it is said to have been before."""
    milliseconds, now = integer(at, "at"), datetime.now(UTC)
    ahead = timedelta(milliseconds=_DELAY_MS_MAX)
    if milliseconds <= now.timestamp() * 1000:
        return None
    if milliseconds > (now + ahead).timestamp() * 1000:
        raise InvalidRequest(f"at must be within the next {ahead.days} days")
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _key(field: bytes, what: str, *not_for_scripts: str) -> str | None:
    if len(field) > JOB_KEY_BYTES_MAX:
        raise InvalidRequest(f"{what} has at most {JOB_KEY_BYTES_MAX} bytes, not {len(field)}")
    key = text(field, what) if field else None
    if key and key.startswith(not_for_scripts):
        raise InvalidRequest(f"{what} must not begin with {' or '.join(map(repr, not_for_scripts))}: PiCloud's own do")
    return key
