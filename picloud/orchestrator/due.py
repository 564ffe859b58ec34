"""What becomes of slots that are due: run, skipped, or missed. Pure: the time is told, and nothing is done.

A slot is *on time* if it is at most 60 seconds late: it runs, or is skipped if an earlier one's job is not over and its
schedule does not want two at once. What is later is for the schedule's `missed` to say. What does not run of that is
missed, and recorded as one range, however long nobody was there.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from picloud.model import (
    LANES_OF_SCHEDULES,
    DueSchedule,
    Missed,
    NewJob,
    Overlap,
    Request,
    Schedule,
    SlotPlan,
    SlotRange,
    Trigger,
)
from picloud.planning import rule_of
from picloud.timetable import count, following, latest, slots

ON_TIME = timedelta(seconds=60)
LATE_RUNS_MAX = 1_000  # of one schedule with run-all; those before them are missed

_TICK = timedelta(microseconds=1)  # questions about due times begin after a moment
_HEADERS = (("content-type", "application/json"),)
_JITTER_STEPS = 1 << 32


def decide(due: DueSchedule) -> SlotPlan:
    """What becomes of what is due from `next_due` to `until`; ValueError: the rule is none any more."""
    it, rule = due.schedule, rule_of(due.schedule)
    assert it.next_due is not None
    begin = it.next_due - _TICK
    late_end = max(begin, min(due.until, due.now - ON_TIME - _TICK))
    late = _late_runs(due, begin, late_end)
    missed_end = late[0] - _TICK if late else late_end
    on_time = [at for at in slots(rule, it.anchor, late_end, due.until) if not _is_recorded(due, at)]
    runs, skipped = _apart(due, late, on_time)
    return SlotPlan(
        jobs=tuple((at, job_of(it, at)) for at in runs),
        skipped=tuple(skipped),
        missed=tuple(_ranges(due, begin, missed_end)),
        next_due=following(rule, it.anchor, due.until),
    )


def job_of(it: Schedule, due_at: datetime) -> NewJob:
    """The job of one slot: its script sees the payload as the body, and the slot as `request.event`."""
    event = msgspec.json.encode({"schedule": it.name, "due_at": due_at})
    request = Request("", "POST", "/", "", _HEADERS, it.payload, trigger=Trigger.SCHEDULE, event=event)
    in_order = it.overlap is Overlap.QUEUE or (it.overlap is Overlap.SKIP and it.missed is Missed.RUN_ALL)
    lane = f"{LANES_OF_SCHEDULES}{it.name}" if in_order else None
    return NewJob(it.script, request, due_at=due_at + jitter(it, due_at), ordering_key=lane)


def jitter(it: Schedule, due_at: datetime) -> timedelta:
    """How long the job of a slot waits: 0 to `jitter_s`, always the same for the same slot."""
    text = f"{it.name} {due_at.timestamp():.6f}"
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / _JITTER_STEPS
    return timedelta(milliseconds=int(share * it.jitter_s * 1000))


def cut(it: Schedule, range_: SlotRange, now: datetime) -> SlotRange | None:
    """What is left of a range if it ends now; None: nothing. ValueError: the rule is none any more."""
    rule, begin = rule_of(it), range_.first - _TICK
    end = min(now, range_.last)
    last = latest(rule, it.anchor, begin, end)
    if not last:
        return None
    return SlotRange(range_.first, last[0], min(range_.count, count(rule, it.anchor, begin, end)))


def _late_runs(due: DueSchedule, begin: datetime, end: datetime) -> list[datetime]:
    """Those of the late ones that run, ascending: the last of all."""
    it = due.schedule
    if it.missed is Missed.SKIP or (it.missed is Missed.RUN_ONCE and due.until < due.now):
        return []
    limit = 1 if it.missed is Missed.RUN_ONCE else LATE_RUNS_MAX
    oldest = max(begin, due.now - timedelta(seconds=it.missed_within_s) - _TICK)
    return [at for at in latest(rule_of(it), it.anchor, oldest, end, limit) if not _is_recorded(due, at)]


def _apart(due: DueSchedule, late: list[datetime], on_time: list[datetime]) -> tuple[list[datetime], list[datetime]]:
    """Which run, and which are skipped because an earlier one's job is not over."""
    if due.schedule.overlap is not Overlap.SKIP:
        return [*late, *on_time], []
    if due.schedule.missed is Missed.RUN_ALL:  # those run one after the other
        first, rest = late, on_time
    else:
        first, rest = [], [*late, *on_time]
    runs = first if due.is_running or first else rest[:1]
    return runs, [at for at in rest if at not in runs]


def _ranges(due: DueSchedule, begin: datetime, end: datetime) -> Iterator[SlotRange]:
    """What is missed after one moment and up to another: all that the ledger does not have."""
    rule, anchor = rule_of(due.schedule), due.schedule.anchor
    for first, last in (*due.recorded, (end + _TICK, end + _TICK)):
        until = min(end, first - _TICK)
        if until > begin and (number := count(rule, anchor, begin, until)):
            ends = next(slots(rule, anchor, begin, until)), latest(rule, anchor, begin, until)[0]
            yield SlotRange(*ends, number)
        begin = max(begin, last)


def _is_recorded(due: DueSchedule, at: datetime) -> bool:
    return any(first <= at <= last for first, last in due.recorded)
