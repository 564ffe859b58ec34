"""What can go wrong, by whose fault it is; the docstring is the default message.

Owns: one class a fault. Knows nothing of HTTP: `picloud.api.problems` has the one table to status codes.
What a *script* does wrong is no exception but an `Outcome` (picloud.model): only ingress turns it into an answer.
"""

from collections.abc import Iterable, Sequence
from typing import Self

_NAMED_MAX = 5  # of the fields that are wrong, in one message


class PicloudError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])


# ── the caller's ────────────────────────────────────────────────────────────────────────────────────────────────────


class CallerError(PicloudError):
    """The request cannot be served as it stands."""


class InvalidRequest(CallerError):
    """The request is not valid.

    ``errors``: one ``{"field": …, "message": …}`` for each thing that is wrong, if there is more to say.
    """

    def __init__(self, message: str | None = None, errors: Sequence[dict[str, object]] = ()) -> None:
        super().__init__(message)
        self.errors = list(errors)

    @classmethod
    def of(cls, field: str, message: str, where: str = "") -> Self:
        """One field and what is wrong with it; ``where`` is put before it for people: `?`, or `the body: `."""
        return cls.of_all([(field, message)], where)

    @classmethod
    def of_all(cls, wrong: Iterable[tuple[str, str]], where: str = "") -> Self:
        """Fields and what is wrong with each; the message names the first few, ``errors`` all."""
        errors: list[dict[str, object]] = [{"field": field, "message": message} for field, message in wrong]
        named = "; ".join(f"{one['field']}: {one['message']}" for one in errors[:_NAMED_MAX])
        return cls(where + named, errors)


class InvalidSource(CallerError):
    """The source does not compile.

    ``file``, ``line``: where; ``problem``: what Lua says, without the position.
    """

    def __init__(self, file: str, line: int, problem: str) -> None:
        super().__init__(f"{file}:{line}: {problem}")
        self.file, self.line, self.problem = file, line, problem


class Unauthorized(CallerError):
    """This needs a token: send 'Authorization: Bearer TOKEN'."""


class Forbidden(CallerError):
    """The token does not carry the scope that this needs."""


class NotFound(CallerError):
    """There is nothing here."""


class Conflict(CallerError):
    """This clashes with what is there."""


class StillRunning(Conflict):
    """A request with the same Idempotency-Key is still running; try again in a moment."""


class TransactionConflict(Conflict):
    """This clashed with another change at the same moment; nothing is stored: try again."""


class PreconditionFailed(CallerError):
    """The condition in the request does not hold."""


class SpaceFull(Conflict):
    """What is kept there has reached its limit."""


class NoAnswer(CallerError):
    """What a script asked another server for did not come."""


class BodyTooLarge(CallerError):
    """The request's body is larger than is allowed."""


class UnsupportedMediaType(CallerError):
    """The body's content type is not one that is taken here."""


# ── pressure ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Overloaded(PicloudError):
    """The server is full; try again in a moment."""


class QueueFull(Overloaded):
    """So many jobs of this script wait already that no more are taken; try again later."""


class ConcurrencyLimit(PicloudError):
    """The script runs as often at once as its settings allow; try again in a moment."""


class AnswerNotKept(PicloudError):
    """The script's answer cannot be kept for who asks again: it is too large, or sent while it is made."""


class DeadlinePassed(PicloudError):
    """The time that this may take is up."""


class CallerGone(PicloudError):
    """The caller hung up before the answer."""


# ── ours ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class PlatformError(PicloudError):
    """Something broke on our side."""


class ExecutorLost(PlatformError):
    """The executor went away; it is being started again."""


class DatabaseUnavailable(PlatformError):
    """The database cannot be reached."""


class OutcomeUnknown(DatabaseUnavailable):
    """The connection was lost during COMMIT: the transaction may have happened or not."""


class ConfigurationError(PlatformError):
    """The configuration is not valid."""
