"""What a schedule must be to be taken: the same for all who make one.

Owns: the rules of its fields. Those of times are `picloud.timetable`'s. Pure.
"""

from collections.abc import Iterator

from picloud.errors import InvalidRequest
from picloud.model import (
    SCHEDULE_JITTER_S_MAX,
    SCHEDULE_MISSED_WITHIN_S_MAX,
    SCHEDULE_PAYLOAD_BYTES_MAX,
    NewSchedule,
    Schedule,
    is_script_name,
)
from picloud.timetable import BadRule, Rule, parse

NAME_RULE = "lower-case letters, digits and '-', at most 63, no '-' first"


def check(wanted: NewSchedule) -> Rule:
    """When it is due; InvalidRequest names each field that is wrong."""
    wrong = list(_wrong(wanted))
    try:
        rule = rule_of(wanted)
    except BadRule as error:
        raise InvalidRequest.of_all([*wrong, (error.field, error.message)]) from error
    if wrong:
        raise InvalidRequest.of_all(wrong)
    return rule


def rule_of(it: Schedule | NewSchedule) -> Rule:
    """When it is due; BadRule: this version of PiCloud, or of its time zones, knows no such rule."""
    return parse(cron=it.cron, every=it.every, at=it.at, timezone=it.timezone)


def _wrong(wanted: NewSchedule) -> Iterator[tuple[str, str]]:
    if not is_script_name(wanted.name):
        yield "name", f"{wanted.name[:80]!r} cannot be a schedule's name: {NAME_RULE}"
    if not is_script_name(wanted.script):
        yield "script", f"{wanted.script[:80]!r} cannot be a script's name: {NAME_RULE}"
    if len(wanted.payload) > SCHEDULE_PAYLOAD_BYTES_MAX:
        yield "payload", f"has {len(wanted.payload)} bytes as JSON, at most {SCHEDULE_PAYLOAD_BYTES_MAX} are taken"
    if not 0 <= wanted.missed_within_s <= SCHEDULE_MISSED_WITHIN_S_MAX:
        yield "missed_within_s", f"must be 0 to {SCHEDULE_MISSED_WITHIN_S_MAX} seconds"
    if not 0 <= wanted.jitter_s <= SCHEDULE_JITTER_S_MAX:
        yield "jitter_s", f"must be 0 to {SCHEDULE_JITTER_S_MAX} seconds"
