"""`schedule`: when scripts run by themselves, as a script's host calls. Set in the invocation's commit, or not at all.

| call            | arguments                    | values                                |
|-----------------|------------------------------|---------------------------------------|
| schedule.set    | name, payload, the rest of … | when it is due next; nothing if never |
| schedule.remove | name                         | `1` if it was there, else `0`         |
| schedule.list   |                              | JSON, one a schedule                  |

… which is script, cron, every, at, timezone, overlap, missed, missed_within_s, jitter_s.
What is left out is empty; a payload is JSON. A script sees and changes those alone that it set itself.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from picloud.errors import Forbidden, InvalidRequest
from picloud.model import (
    SCHEDULE_JITTER_S_MAX,
    SCHEDULE_MISSED_WITHIN_S_MAX,
    Missed,
    NewSchedule,
    Overlap,
    Schedule,
)
from picloud.orchestrator.attempt import Attempt, Binding
from picloud.orchestrator.bindings.reading import fields, integer, text

_SPANS = {"missed_within_s": SCHEDULE_MISSED_WITHIN_S_MAX, "jitter_s": SCHEDULE_JITTER_S_MAX}
_SHOWN = (
    "name", "script", "cron", "every", "at", "timezone", "overlap", "missed", "missed_within_s", "jitter_s", "next_due",
)  # fmt: skip

Choice = TypeVar("Choice", bound=StrEnum)


def put(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """schedule.set"""
    name, payload, script, cron, every, at, timezone, overlap, missed, within_s, jitter_s = fields(arguments, 11)
    own = attempt.program.script
    if script and text(script, "script") != own:
        raise Forbidden("a script sets schedules for itself alone")
    times = {"cron": cron, "every": every, "at": at, "timezone": timezone}
    options: dict[str, Any] = {field: text(value, field) for field, value in times.items() if value}
    if overlap:
        options["overlap"] = _choice(Overlap, overlap, "overlap")
    if missed:
        options["missed"] = _choice(Missed, missed, "missed")
    for (field, most), value in zip(_SPANS.items(), (within_s, jitter_s), strict=True):
        if value:
            options[field] = integer(value, field, 0, most)
    wanted = NewSchedule(text(name, "a schedule's name"), own, payload=_json(payload), **options)
    made = attempt.work().schedules.put(wanted, attempt.program.script_id)
    return [_moment(made).encode()] if made.next_due else []


def remove(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """schedule.remove"""
    (name,) = fields(arguments, 1)
    was_there = attempt.work().schedules.remove(text(name, "a schedule's name"), attempt.program.script_id)
    return [b"%d" % was_there]


def page(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """schedule.list"""
    fields(arguments, 0)
    return [_document(it) for it in attempt.work().schedules.own(attempt.program.script_id)]


TABLE: Mapping[str, Binding] = {"schedule.set": put, "schedule.remove": remove, "schedule.list": page}


def _json(payload: bytes) -> bytes:
    try:
        payload.decode()
        msgspec.json.decode(payload, type=msgspec.Raw)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        raise InvalidRequest("the payload must be JSON") from None
    return payload


def _choice(kind: type[Choice], field: bytes, what: str) -> Choice:
    try:
        return kind(text(field, what))
    except ValueError:
        raise InvalidRequest(f"{what} must be one of {', '.join(kind)}") from None


def _document(it: Schedule) -> bytes:
    """What is not set is left out: Lua has nil for it."""
    shown = {field: value for field in _SHOWN if (value := getattr(it, field)) is not None}
    return msgspec.json.encode({**shown, "payload": msgspec.Raw(it.payload)})


def _moment(it: Schedule) -> str:
    return str(msgspec.to_builtins(it.next_due))
