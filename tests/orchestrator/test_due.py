"""What becomes of slots: on time, late, in each other's way, or while nobody was there."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from picloud.model import DueSchedule, Missed, Origin, Overlap, Schedule, SlotPlan, SlotRange, Trigger
from picloud.orchestrator.due import LATE_RUNS_MAX, cut, decide, jitter

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def schedule(**fields: object) -> Schedule:
    it = Schedule(
        "every-minute", "script", "* * * * *", None, None, "UTC", b'{"a": 1}', Overlap.SKIP, Missed.RUN_ONCE, 86_400, 0,
        Origin.API, NOON, NOON, "", NOON, NOON,
    )  # fmt: skip
    return replace(it, **fields)  # type: ignore[arg-type]


def decided(
    it: Schedule, now: datetime, *, is_running: bool = False, recorded: Sequence[tuple[datetime, datetime]] = ()
) -> SlotPlan:
    return decide(DueSchedule(it, now, now, is_running, tuple(recorded)))


def runs(plan: SlotPlan) -> list[datetime]:
    return [at for at, _ in plan.jobs]


def minutes(*numbers: int) -> list[datetime]:
    return [NOON + number * MINUTE for number in numbers]


def between(first: int, last: int) -> SlotRange:
    return SlotRange(NOON + first * MINUTE, NOON + last * MINUTE, last - first + 1)


@pytest.mark.parametrize("missed", Missed)
def test_a_slot_runs_on_time_up_to_60_seconds_late(missed: Missed) -> None:
    it = schedule(cron="0 12 * * *", missed=missed, missed_within_s=0)
    plan = decided(it, NOON + timedelta(seconds=60))
    assert (runs(plan), plan.skipped, plan.missed) == ([NOON], (), ())
    assert plan.next_due == NOON + timedelta(days=1)


def test_one_that_is_later_runs_only_if_its_schedule_wants_that() -> None:
    late = NOON + timedelta(seconds=60, microseconds=1)
    for missed in (Missed.RUN_ONCE, Missed.RUN_ALL):
        assert runs(decided(schedule(cron="0 12 * * *", missed=missed), late)) == [NOON]
    plan = decided(schedule(cron="0 12 * * *", missed=Missed.SKIP), late)
    assert (runs(plan), plan.missed) == ([], (SlotRange(NOON, NOON, 1),))


def test_of_late_ones_the_newest_runs_and_the_others_are_one_range() -> None:
    it = schedule(overlap=Overlap.ALLOW)
    plan = decided(it, NOON + 10.5 * MINUTE)
    assert runs(plan) == minutes(9, 10)  # the newest late one, and the one that is on time
    assert plan.missed == (between(0, 8),)
    assert plan.next_due == NOON + 11 * MINUTE


def test_late_ones_all_run_in_order_and_not_beside_each_other() -> None:
    plan = decided(schedule(missed=Missed.RUN_ALL), NOON + 4.5 * MINUTE, is_running=True)
    assert (runs(plan), plan.missed) == (minutes(0, 1, 2, 3), ())
    assert plan.skipped == tuple(minutes(4))
    assert {job.ordering_key for _, job in plan.jobs} == {"schedule every-minute"}


def test_no_late_one_runs_if_its_schedule_skips_them() -> None:
    plan = decided(schedule(missed=Missed.SKIP), NOON + 10.5 * MINUTE)
    assert (runs(plan), plan.missed) == (minutes(10), (between(0, 9),))


@pytest.mark.parametrize("missed", [Missed.RUN_ONCE, Missed.RUN_ALL])
def test_what_is_later_than_its_schedule_allows_is_missed(missed: Missed) -> None:
    it = schedule(missed=missed, missed_within_s=180, overlap=Overlap.QUEUE)
    plan = decided(it, NOON + 10.5 * MINUTE)
    late = minutes(9) if missed is Missed.RUN_ONCE else minutes(8, 9)
    assert runs(plan) == [*late, *minutes(10)]
    assert sum(each.count for each in plan.missed) == 11 - len(plan.jobs)
    it = schedule(cron="0 * * * *", missed=missed, missed_within_s=180)
    assert decided(it, NOON + 10 * MINUTE).missed == (SlotRange(NOON, NOON, 1),)


def test_of_very_many_late_ones_the_newest_thousand_run() -> None:
    it = schedule(cron="* * * * * *", missed=Missed.RUN_ALL, overlap=Overlap.ALLOW)
    plan = decided(it, NOON + timedelta(hours=1))
    assert len(plan.jobs) == LATE_RUNS_MAX + 61
    assert plan.missed == (SlotRange(NOON, NOON + timedelta(seconds=3600 - 61 - LATE_RUNS_MAX), 3600 - 60 - 1000),)


def test_a_year_that_nobody_was_there_is_one_range() -> None:
    it = schedule(cron="* * * * * *", timezone="Europe/Berlin")
    plan = decided(it, NOON + timedelta(days=365))
    assert [each.count for each in plan.missed] == [365 * 86_400 - 61]
    assert len(plan.jobs) == 1  # and the others that are on time come while that is not over
    assert len(plan.skipped) == 61


def test_one_that_comes_while_an_earlier_one_is_not_over_is_skipped_queued_or_runs_beside_it() -> None:
    for overlap, expected, key in (
        (Overlap.SKIP, [], None),
        (Overlap.QUEUE, [NOON], "schedule every-minute"),
        (Overlap.ALLOW, [NOON], None),
    ):
        plan = decided(schedule(overlap=overlap), NOON, is_running=True)
        assert runs(plan) == expected
        assert plan.skipped == (() if expected else (NOON,))
        assert {job.ordering_key for _, job in plan.jobs} <= {key}


def test_of_some_that_are_on_time_at_once_the_first_runs_and_the_others_are_skipped() -> None:
    plan = decided(schedule(cron="*/20 * * * * *"), NOON + timedelta(seconds=45))
    assert (runs(plan), len(plan.skipped)) == ([NOON], 2)


def test_what_the_ledger_has_is_not_decided_again() -> None:
    recorded = [
        (NOON + 2 * MINUTE, NOON + 2 * MINUTE),
        (NOON + 4 * MINUTE, NOON + 6 * MINUTE),
        (NOON + 10 * MINUTE,) * 2,
    ]
    plan = decided(schedule(missed=Missed.SKIP), NOON + 10 * MINUTE, recorded=recorded)
    assert runs(plan) == minutes(9)
    assert plan.missed == (between(0, 1), between(3, 3), between(7, 8))
    plan = decided(schedule(missed=Missed.RUN_ALL, overlap=Overlap.ALLOW), NOON + 10 * MINUTE, recorded=recorded)
    assert (runs(plan), plan.missed) == (minutes(0, 1, 3, 7, 8, 9), ())


def test_when_the_ledger_has_too_much_it_is_decided_up_to_where_it_was_read() -> None:
    due = DueSchedule(schedule(), NOON + 600 * MINUTE, NOON + 5 * MINUTE, False, ((NOON, NOON + 3 * MINUTE),))
    plan = decide(due)
    assert (runs(plan), plan.skipped, plan.missed) == ([], (), (between(4, 5),))
    assert plan.next_due == NOON + 6 * MINUTE


def test_the_script_sees_the_payload_and_the_slot() -> None:
    job = decided(schedule(), NOON).jobs[0][1]
    assert (job.script, job.due_at) == ("script", NOON)
    request = job.request
    assert (request.method, request.path, request.body, request.trigger) == ("POST", "/", b'{"a": 1}', Trigger.SCHEDULE)
    assert request.headers == (("content-type", "application/json"),)
    assert msgspec.json.decode(request.event) == {"schedule": "every-minute", "due_at": "2026-05-01T12:00:00Z"}


def test_jitter_is_the_same_for_the_same_slot_and_within_its_bound() -> None:
    it = schedule(jitter_s=30)
    waits = [jitter(it, at) for at in minutes(*range(100))]
    assert waits == [jitter(it, at) for at in minutes(*range(100))]
    assert all(timedelta() <= wait < timedelta(seconds=30) for wait in waits)
    assert len(set(waits)) > 90
    plan = decided(it, NOON)
    assert plan.jobs[0][0] == NOON
    assert plan.jobs[0][1].due_at == NOON + jitter(it, NOON)
    assert jitter(schedule(), NOON) == timedelta()


def test_a_range_that_reaches_beyond_the_clock_is_cut() -> None:
    assert cut(schedule(), between(0, 9), NOON + 4.5 * MINUTE) == between(0, 4)
    assert cut(schedule(), between(0, 9), NOON) == between(0, 0)
    assert cut(schedule(cron="0 0 * * *"), between(0, 9), NOON + MINUTE) is None  # of another rule, before it changed


def test_a_rule_that_is_none_any_more_says_why() -> None:
    with pytest.raises(ValueError, match="there is no time zone 'Europe/Atlantis'"):
        decided(schedule(timezone="Europe/Atlantis"), NOON)
