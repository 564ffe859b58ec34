"""Every error as RFC 9457 `application/problem+json`: the one table from faults to HTTP.

Owns: names, statuses, titles and what to do. A traceback never gets past this module.
"""

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import falcon
import msgspec

from picloud import errors
from picloud.model import Outcome
from picloud.orchestrator.response import InvocationFailed

MEDIA_TYPE = "application/problem+json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """One row: its `type` is /problems/NAME."""

    name: str
    status: int
    title: str
    advice: str  # what to do about it
    retry_after_s: int | None = None


_ROWS = (
    Problem(
        "script-error", 500, "The script raised an error", "Read the message and the script's log; fix the script."
    ),
    Problem("timeout", 504, "The script took too long", "Its wall clock limit, wall_ms, passed. Do less at once."),
    Problem("cpu-limit", 504, "The script computed too long", "Its CPU limit, cpu_ms, passed. Do less at once."),
    Problem("memory-limit", 500, "The script ran out of memory", "It may hold memory_bytes. Hold less at once."),
    Problem(
        "sandbox-violation", 500, "The sandbox process tried what is forbidden", "It was killed. Please report it."
    ),
    Problem(
        "sandbox-crash", 500, "The sandbox process crashed", "It took nothing with it. If it happens again, report it."
    ),
    Problem("executor-lost", 503, "The executor went away", "It is being started again: try again.", 1),
    Problem("overloaded", 503, "The server is full", "Try again; if it stays so, raise pool_max or the machine.", 1),
    Problem(
        "concurrency-limit",
        429,
        "The script runs too often at once",
        "It already runs concurrency times. Try again.",
        1,
    ),
    Problem("bad-response", 502, "The script's answer is not valid HTTP", "The detail says what is wrong with it."),
    Problem("body-too-large", 413, "The body is too large", "Send less, or in pieces."),
    Problem("not-found", 404, "There is nothing here", "Look at the name; 'picloud ls' lists the scripts."),
    Problem("method-not-allowed", 405, "The method is not allowed here", "The Allow header lists those that are."),
    Problem("unsupported-media-type", 415, "This content type is not taken", "The detail lists those that are."),
    Problem("unauthorized", 401, "This needs a token", "Send 'Authorization: Bearer TOKEN'."),
    Problem("forbidden", 403, "The token may not do this", "Use a token with the scope that the detail names."),
    Problem("invalid-request", 422, "The request is not valid", "The detail and the errors say what to change."),
    Problem(
        "syntax-error", 422, "The source does not compile", "Nothing was stored. Mend the line that the detail names."
    ),
    Problem("conflict", 409, "This clashes with what is there", "The detail names it."),
    Problem("precondition-failed", 412, "The condition does not hold", "It changed meanwhile: read it again."),
    Problem("database-unavailable", 503, "The database is away", "Try again; /readyz says when it is back.", 1),
    Problem("outcome-unknown", 503, "Whether it was done is not known", "Look before you try again.", 1),
    Problem("internal-error", 500, "Something broke on our side", "The server's log holds the details."),
)

TABLE = {row.name: row for row in _ROWS}

_OF_ERROR: dict[type[errors.PicloudError], str] = {
    errors.InvalidRequest: "invalid-request",
    errors.InvalidSource: "syntax-error",
    errors.Unauthorized: "unauthorized",
    errors.Forbidden: "forbidden",
    errors.NotFound: "not-found",
    errors.Conflict: "conflict",
    errors.PreconditionFailed: "precondition-failed",
    errors.BodyTooLarge: "body-too-large",
    errors.UnsupportedMediaType: "unsupported-media-type",
    errors.Overloaded: "overloaded",
    errors.ConcurrencyLimit: "concurrency-limit",
    errors.ExecutorLost: "executor-lost",
    errors.DatabaseUnavailable: "database-unavailable",
    errors.OutcomeUnknown: "outcome-unknown",
}

_OF_STATUS = {
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-media-type",
    503: "overloaded",
}


def status_of(outcome: Outcome) -> int:
    """The status that a caller gets for an outcome that is no answer."""
    return 400 if outcome is Outcome.INVALID_REQUEST else TABLE[outcome].status


def document(row: Problem, status: int, detail: str, instance: str = "", **more: object) -> bytes:
    """One problem as JSON: type, title, status, detail, instance and what else is known."""
    known = {"type": f"/problems/{row.name}", "title": row.title, "status": status, "detail": detail}
    return msgspec.json.encode({**known, **({"instance": instance} if instance else {}), **more})


def of_server(status: int, detail: str) -> tuple[int, str, bytes]:
    """What gunicorn refuses before any of ours is asked → status, content type, body."""
    row = _row_of(status)
    return status, MEDIA_TYPE, document(row, status, detail)


def install(app: falcon.App[falcon.Request, falcon.Response]) -> None:
    """Answer every error of the app with a problem."""
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _falcon_error)
    app.add_error_handler(errors.PicloudError, _error)
    app.add_error_handler(InvocationFailed, _failed_invocation)


def _send(req: falcon.Request, resp: falcon.Response, row: Problem, detail: str, status: int = 0, **more: Any) -> None:
    status = status or row.status
    resp.status = status
    resp.content_type = MEDIA_TYPE
    resp.data = document(row, status, detail, req.path, **more)
    if row.retry_after_s is not None:
        resp.set_header("retry-after", str(row.retry_after_s))
    if status == HTTPStatus.UNAUTHORIZED:
        resp.set_header("www-authenticate", "Bearer")


def _error(req: falcon.Request, resp: falcon.Response, error: errors.PicloudError, _params: object) -> None:
    name = next((_OF_ERROR[kind] for kind in type(error).__mro__ if kind in _OF_ERROR), None)
    if name is None:
        _unexpected(req, resp, error, _params)
        return
    _send(req, resp, TABLE[name], str(error), **_more(error))


def _more(error: errors.PicloudError) -> dict[str, Any]:
    if isinstance(error, errors.InvalidSource):
        where = {"file": error.file, "line": error.line}
        return {**where, "errors": [{**where, "message": error.problem}]}
    if isinstance(error, errors.InvalidRequest) and error.errors:
        return {"errors": error.errors}
    return {}


def _failed_invocation(req: falcon.Request, resp: falcon.Response, failed: InvocationFailed, _params: object) -> None:
    resp.set_headers(failed.headers)
    _send(req, resp, TABLE[failed.outcome], str(failed), status_of(failed.outcome))


def _falcon_error(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, _params: object) -> None:
    status = error.status_code
    row = _row_of(status)
    if error.headers:
        resp.set_headers(error.headers)
    _send(req, resp, row, error.description or row.title, status)


def _row_of(status: int) -> Problem:
    """A status that somebody else chose."""
    ours = status == HTTPStatus.INTERNAL_SERVER_ERROR
    return TABLE[_OF_STATUS.get(status, "internal-error" if ours else "invalid-request")]


def _unexpected(req: falcon.Request, resp: falcon.Response, error: BaseException, _params: object) -> None:
    _log.error("%s %r failed", req.method, req.path, exc_info=error)
    _send(req, resp, TABLE["internal-error"], "the server's log holds the details")
