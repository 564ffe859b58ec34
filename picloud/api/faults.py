"""Every error that reaches HTTP as a problem: which fault is which row of the table.

A traceback never gets past this module.
"""

import logging
from http import HTTPStatus
from typing import Any

import falcon

from picloud import errors
from picloud.api.problems import MEDIA_TYPE, TABLE, Problem, document, of_status, status_of
from picloud.orchestrator.response import InvocationFailed

_log = logging.getLogger(__name__)

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
    if isinstance(error, errors.StillRunning):  # of all conflicts the one that goes away by itself
        resp.set_header("retry-after", "1")


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
    row = of_status(status)
    if error.headers:
        resp.set_headers(error.headers)
    detail = error.description or row.title
    if isinstance(error, falcon.HTTPMethodNotAllowed):
        detail = f"{req.method} is not allowed here; these are: {resp.get_header('allow')}"
    _send(req, resp, row, detail, status)


def _unexpected(req: falcon.Request, resp: falcon.Response, error: BaseException, _params: object) -> None:
    _log.error("%s %r failed", req.method, req.path, exc_info=error)
    _send(req, resp, TABLE["internal-error"], "the server's log holds the details")
