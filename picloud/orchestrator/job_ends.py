"""What a job is left as after a run of it. Pure.

A response is its end, whatever its status. A failure of the script's is retried, after a pause that grows; what is
nobody's fault (the node is full, the database away) is tried again and counts for nothing.
"""

from collections.abc import Callable

from picloud.model import JOB_CRASHES_MAX, ClaimedJob, JobEnd, JobState, Outcome, Retry, Run, backoff_ms

_NOBODYS_FAULT = (Outcome.OVERLOADED, Outcome.CONCURRENCY_LIMIT, Outcome.DATABASE_UNAVAILABLE, Outcome.OUTCOME_UNKNOWN)
_PAUSE_MS = 1_000  # about, before it is tried again
_CRASH_PAUSE_MS = (100, 5_000)  # twice as long after each crash; the longest

Chance = Callable[[], float]
"""Gives a number from 0 to 1."""


def end_of(run: Run, job: ClaimedJob, retry: Retry, chance: Chance) -> JobEnd:
    """After a run that did nothing: its answer is none, or one with `error{…}`."""
    if run.outcome in _NOBODYS_FAULT:
        return JobEnd(JobState.QUEUED, run.outcome, run.detail, delay_ms=int(_PAUSE_MS * (0.5 + chance())))
    if run.outcome is Outcome.EXECUTOR_LOST:
        crash = crash_end(job.crashes + 1, run.detail) or JobEnd(JobState.QUEUED, run.outcome, run.detail)
        return JobEnd(crash.state, run.outcome, crash.error, crash.delay_ms, crashed=True)
    outcome, error = (Outcome.SCRIPT_ERROR, _answered(run)) if run.outcome is Outcome.OK else (run.outcome, run.detail)
    failed = job.attempts + 1
    if not run.retry or failed >= (job.max_attempts or retry.max_attempts):
        return JobEnd(JobState.DEAD, outcome, error, counts=True, response=run.response)
    pause_ms = backoff_ms(retry, failed, chance)
    return JobEnd(JobState.QUEUED, outcome, error, pause_ms, counts=True, response=run.response)


def crash_end(crashes: int, error: str = "") -> JobEnd | None:
    """What a job is left as that came to no end so often, the last time just now; None: it may run at once.

    Once is bad luck, so it runs. Whatever comes again may be the job's doing, and the others are to have their turn.
    """
    if crashes >= JOB_CRASHES_MAX:
        return JobEnd(JobState.DEAD, Outcome.EXECUTOR_LOST, error or f"{crashes} runs of it came to no end")
    if crashes <= 1:
        return None
    first_ms, most_ms = _CRASH_PAUSE_MS
    delay_ms = min(first_ms * 2 ** (crashes - 1), most_ms)
    return JobEnd(JobState.QUEUED, Outcome.EXECUTOR_LOST, error or "a run of it came to no end", delay_ms)


def gone(error: Exception) -> JobEnd:
    """Its script is not there."""
    return JobEnd(JobState.DEAD, Outcome.INVALID_REQUEST, str(error))


def _answered(run: Run) -> str:
    return f"error{{…}} answered {run.response.status}" if run.response else "error{…}"
