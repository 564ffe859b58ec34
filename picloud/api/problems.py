"""The one table of problems (RFC 9457): names, statuses, when each comes and what to do.

Owns: what a problem says. `faults` turns errors into them, `problem_pages` shows them, the documentation repeats them.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from picloud.model import Outcome

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """One row: its `type` is /problems/NAME."""

    name: str
    status: int
    title: str
    when: str  # it comes
    advice: str  # what to do about it
    retry_after_s: int | None = None


class ProblemShape(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What went wrong, as RFC 9457 has it."""

    type: Annotated[str, Meta(description="`/problems/NAME`: a page that says what it means and what to do")]
    title: Annotated[str, Meta(description="the same for every problem of this type")]
    status: int
    detail: Annotated[str, Meta(description="what it was this time")]
    instance: Annotated[str, Meta(description="the path that was asked for")] = ""
    errors: Annotated[
        list[dict[str, Any]], Meta(description="each thing that is wrong: `field` or `file`, `message`")
    ] = []
    file: Annotated[str, Meta(description="of a syntax-error")] = ""
    line: Annotated[int, Meta(description="of a syntax-error")] = 0


_ROWS = (
    Problem(
        "script-error", 500, "The script raised an error",
        "The script raised and caught it nowhere. The detail is `main.lua:3: message`; the traceback is in its log.",
        "Read the message and the script's log; fix the script.",
    ),
    Problem(
        "timeout", 504, "The script took too long",
        "Its wall clock limit, `wall_ms`, passed before it answered.",
        "Do less in one request, or raise the limit.",
    ),
    Problem(
        "cpu-limit", 504, "The script computed too long",
        "Its limit of computing time, `cpu_ms`, passed before it answered.",
        "Do less in one request, or raise the limit.",
    ),
    Problem(
        "memory-limit", 500, "The script ran out of memory",
        "It wanted more than `memory_bytes`.",
        "Hold less at once, or raise the limit.",
    ),
    Problem(
        "sandbox-violation", 500, "The sandbox process tried what is forbidden",
        "It made a system call that its filter does not allow, and was killed.",
        "No script should be able to: please report it.",
    ),
    Problem(
        "sandbox-crash", 500, "The sandbox process crashed",
        "It ended by a signal or broke the protocol. It took nothing with it.",
        "Try again; if it happens again, report it with the script.",
    ),
    Problem(
        "executor-lost", 503, "The executor went away",
        "It ended while the script ran and is being started again, or the server stops: runs have 2.5 s left then.",
        "Try again.", 1,
    ),
    Problem(
        "overloaded", 503, "The server is full",
        "No sandbox became free within `PICLOUD_QUEUE_MS`, the queue is full, or so is the server.",
        "Try again; if it stays so, raise `PICLOUD_POOL_MAX`, or take a larger machine.", 1,
    ),
    Problem(
        "concurrency-limit", 429, "The script runs too often at once",
        "It already runs as often at once as its limit, `concurrency`, allows.",
        "Try again, or raise the limit.", 1,
    ),
    Problem(
        "bad-response", 502, "The script's answer is not valid HTTP",
        "Its status, a header, its type or its size is not valid; the detail says which.",
        "Fix the script.",
    ),
    Problem(
        "caller-gone", 499, "The caller hung up",
        "The connection was gone before the answer was whole. What the script wrote is undone, unless the answer had "
        "begun. Only records say so.",
        "Wait longer for the answer, or have the script do less.",
    ),
    Problem(
        "body-too-large", 413, "The body is too large",
        "The request's body is larger than is taken: the script's `request_bytes`, or what an upload may have.",
        "Send less, or in pieces.",
    ),
    Problem(
        "not-found", 404, "There is nothing here",
        "No script, version or other thing has this name, or no path is spelled like this.",
        "Look at the name; `picloud ls` lists the scripts.",
    ),
    Problem(
        "method-not-allowed", 405, "The method is not allowed here",
        "The path exists, and does not take this method.",
        "The `Allow` header lists those that it takes.",
    ),
    Problem(
        "unsupported-media-type", 415, "This content type is not taken",
        "The body's `Content-Type` is none that this endpoint reads.",
        "The detail lists those that it reads.",
    ),
    Problem(
        "unauthorized", 401, "This needs a token, or a signature",
        "There was no token, or one that is not known: mistyped, revoked or expired. Or a webhook is not signed as the "
        "script's setting `webhook` says; the detail says what is missing.",
        "Send `Authorization: Bearer TOKEN`. Of a webhook: give its sender and the secret the same value.",
    ),
    Problem(
        "forbidden", 403, "The token may not do this",
        "The token is good, but has not the scope, or not for this script.",
        "Use a token with the scope that the detail names.",
    ),
    Problem(
        "invalid-request", 422, "The request is not valid",
        "A parameter, a header or the body is not as it must be; `errors` names the fields. "
        "400, 408, 414, 417, 431, 501 or 505 if it is no HTTP that is taken here; "
        "400 if `request:json()` or `:form()` failed uncaught.",
        "Change what the detail and `errors` name.",
    ),
    Problem(
        "syntax-error", 422, "The source does not compile",
        "A file of the upload is no Lua; `file` and `line` say where. Nothing was stored.",
        "Mend the line that the detail names.",
    ),
    Problem(
        "conflict", 409, "This clashes with what is there",
        "The same thing exists already, or was changed by somebody else at the same moment; or a request with the same "
        "`Idempotency-Key` is still running: then with `Retry-After`.",
        "The detail names what it clashes with.",
    ),
    Problem(
        "precondition-failed", 412, "The condition does not hold",
        "`If-Match` or `If-None-Match` asked for a state that is not so.",
        "It changed meanwhile: read it again, then decide.",
    ),
    Problem(
        "database-unavailable", 503, "The database is away",
        "PostgreSQL cannot be reached. Scripts that are cached go on answering.",
        "Try again; `/readyz` says when it is back.", 1,
    ),
    Problem(
        "outcome-unknown", 503, "Whether it was done is not known",
        "The database went away during COMMIT: it may be done, or not.",
        "Look before you try again.", 1,
    ),
    Problem(
        "internal-error", 500, "Something broke on our side",
        "A fault of the server.",
        "The server's log holds the details; please report it.",
    ),
)  # fmt: skip

TABLE = {row.name: row for row in _ROWS}

_OF_STATUS = {
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-media-type",
    429: "concurrency-limit",
    503: "overloaded",
}


def status_of(outcome: Outcome) -> int:
    """The status that a caller gets for an outcome that is no answer."""
    return 400 if outcome is Outcome.INVALID_REQUEST else TABLE[outcome].status


def document(row: Problem, status: int, detail: str, instance: str = "", **more: Any) -> bytes:
    """One problem as JSON; `more` are further fields of ProblemShape."""
    kind = f"/problems/{row.name}"
    return msgspec.json.encode(
        ProblemShape(type=kind, title=row.title, status=status, detail=detail, instance=instance, **more)
    )


def of_server(status: int, detail: str) -> tuple[int, str, bytes]:
    """What gunicorn refuses before any of ours is asked → status, content type, body."""
    row = of_status(status)
    return status, MEDIA_TYPE, document(row, status, detail)


def of_status(status: int) -> Problem:
    """The row of a status that somebody else chose."""
    ours = status == HTTPStatus.INTERNAL_SERVER_ERROR
    return TABLE[_OF_STATUS.get(status, "internal-error" if ours else "invalid-request")]
