"""What becomes of an invocation whose run was ended, or not begun, by what we raised. Pure."""

from picloud.errors import (
    AnswerNotKept,
    CallerGone,
    ConcurrencyLimit,
    DatabaseUnavailable,
    DeadlinePassed,
    OutcomeUnknown,
    Overloaded,
    PicloudError,
)
from picloud.model import Outcome, Run

_OUTCOMES: dict[type[PicloudError], Outcome] = {
    Overloaded: Outcome.OVERLOADED,
    ConcurrencyLimit: Outcome.CONCURRENCY_LIMIT,
    CallerGone: Outcome.CALLER_GONE,
    AnswerNotKept: Outcome.BAD_RESPONSE,
    DeadlinePassed: Outcome.TIMEOUT,
    OutcomeUnknown: Outcome.OUTCOME_UNKNOWN,
    DatabaseUnavailable: Outcome.DATABASE_UNAVAILABLE,
}

ENDING = tuple(_OUTCOMES)
"""Errors that are an invocation's end, and no fault in this program."""


def ended(error: PicloudError) -> Run:
    """The run that one of them ended."""
    kind = next(kind for kind in _OUTCOMES if isinstance(error, kind))
    return Run(_OUTCOMES[kind], detail=str(error))
