"""What a job is left as after a run: pure."""

import pytest

from picloud.model import JOB_CRASHES_MAX, ClaimedJob, JobEnd, JobState, Outcome, Request, Response, Retry, Run
from picloud.orchestrator.job_ends import crash_end, end_of

RETRY = Retry(max_attempts=3, backoff_ms=1000, backoff_max_ms=60_000)
FAILURES = [
    Outcome.SCRIPT_ERROR, Outcome.TIMEOUT, Outcome.CPU_LIMIT, Outcome.MEMORY_LIMIT, Outcome.SANDBOX_VIOLATION,
    Outcome.SANDBOX_CRASH, Outcome.BAD_RESPONSE, Outcome.INVALID_REQUEST, Outcome.CONFLICT,
]  # fmt: skip
NOBODYS_FAULT = [
    Outcome.OVERLOADED, Outcome.CONCURRENCY_LIMIT, Outcome.DATABASE_UNAVAILABLE, Outcome.OUTCOME_UNKNOWN,
]  # fmt: skip


def job(attempts: int = 0, max_attempts: int | None = None, crashes: int = 0) -> ClaimedJob:
    return ClaimedJob("id", "s", Request("", "POST", "/", "", (), b""), attempts, max_attempts, crashes, 0)


def half() -> float:
    return 0.5


def ends(run: Run, it: ClaimedJob) -> JobEnd:
    return end_of(run, it, RETRY, half)


@pytest.mark.parametrize("outcome", FAILURES)
def test_a_failure_is_tried_again_after_a_pause_that_grows_and_then_it_is_dead(outcome: Outcome) -> None:
    run = Run(outcome, detail="why")
    assert [ends(run, job(failed)) for failed in range(3)] == [
        JobEnd(JobState.QUEUED, outcome, "why", 1000, counts=True),
        JobEnd(JobState.QUEUED, outcome, "why", 2000, counts=True),
        JobEnd(JobState.DEAD, outcome, "why", counts=True),
    ]


@pytest.mark.parametrize(("failed", "state"), [(0, JobState.QUEUED), (4, JobState.DEAD)])
def test_a_jobs_own_number_of_attempts_goes_before_the_scripts(failed: int, state: JobState) -> None:
    assert ends(Run(Outcome.TIMEOUT), job(failed, max_attempts=5)).state is state


def test_an_answer_that_undoes_what_was_done_is_a_failure_and_kept() -> None:
    answer = Response(409, (), b"why")
    run = Run(Outcome.OK, answer, committed=False)
    error = "error{…} answered 409"
    expected = JobEnd(JobState.QUEUED, Outcome.SCRIPT_ERROR, error, 1000, counts=True, response=answer)
    assert ends(run, job()) == expected


def test_what_says_that_it_is_not_to_be_tried_again_is_dead_at_once() -> None:
    run = Run(Outcome.OK, Response(500, (), b""), committed=False, retry=False)
    assert ends(run, job()).state is JobState.DEAD


@pytest.mark.parametrize("outcome", NOBODYS_FAULT)
def test_what_is_nobodys_fault_counts_for_nothing(outcome: Outcome) -> None:
    assert ends(Run(outcome), job(2, crashes=9)) == JobEnd(JobState.QUEUED, outcome, "", 1000)


def test_every_outcome_has_its_end() -> None:
    nobodys = {Outcome.OK, Outcome.EXECUTOR_LOST, Outcome.CALLER_GONE}  # its own, a crash; a job has no caller
    assert {*FAILURES, *NOBODYS_FAULT} | nobodys == {*Outcome}


def test_a_lost_executor_is_a_crash_and_not_an_attempt() -> None:
    run = Run(Outcome.EXECUTOR_LOST, detail="gone")
    first = JobEnd(JobState.QUEUED, Outcome.EXECUTOR_LOST, "gone", crashed=True)
    last = JobEnd(JobState.DEAD, Outcome.EXECUTOR_LOST, "gone", crashed=True)
    assert [ends(run, job(2)), ends(run, job(crashes=JOB_CRASHES_MAX - 1))] == [first, last]


def test_after_one_crash_it_runs_at_once_then_later_and_later_and_at_last_never() -> None:
    ended = [crash_end(crashes) for crashes in range(1, JOB_CRASHES_MAX + 1)]
    assert ended[0] is None
    pauses = [end.delay_ms for end in ended[1:-1] if end and end.state is JobState.QUEUED]
    assert pauses == [200, 400, 800, 1600, 3200, 5000, 5000, 5000]
    assert ended[-1]
    assert ended[-1].state is JobState.DEAD
