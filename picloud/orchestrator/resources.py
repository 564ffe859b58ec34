"""`invoke`, `invocations` and `logs` as HTTP. Each docstring is the reference of its endpoint."""

import uuid
from dataclasses import asdict
from typing import Protocol

import falcon
import msgspec

from picloud.auth import Scope
from picloud.errors import InvalidRequest, NotFound
from picloud.messages import (
    has_body,
    number_parameter,
    page_limit,
    read_body,
    require,
    send_json,
    send_page,
    text_parameter,
)
from picloud.model import Invocation, Request, StoredLine, Trigger, new_id
from picloud.orchestrator.dispatch import Dispatcher
from picloud.orchestrator.ingress import Proxies
from picloud.orchestrator.response import send

_CURSOR_MAX = 2**63 - 1


class RecordReader(Protocol):
    """Where records are read."""

    def page(self, script: str, limit: int, after: str) -> list[Invocation]:
        """Newest first, those older than `after`; all scripts' if ''."""

    def get(self, invocation_id: str) -> Invocation:
        """One; NotFound."""

    def lines(self, script: str, invocation: str, limit: int, after: int) -> list[StoredLine]:
        """Newest first, those older than the cursor `after`."""


class InvokeResource:
    """`/api/v1/scripts/NAME/invoke`"""

    def __init__(self, dispatcher: Dispatcher, proxies: Proxies) -> None:
        self._dispatcher = dispatcher
        self._proxies = proxies

    def on_post(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Run the script once: it sees POST, path `/`, trigger `invoke`, this body and its type. Scope `invoke`.

        The answer is the script's own, with `Picloud-Invocation` and `Server-Timing`.
        """
        require(req, Scope.INVOKE)
        send(self._dispatcher.dispatch(name, new_id(), _Invoked(req, self._proxies)), resp)


class InvocationsResource:
    """`/api/v1/invocations`"""

    def __init__(self, records: RecordReader) -> None:
        self._records = records

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List invocations, newest first; `?script=NAME&limit=&after=ID`. Scope `read`. 200 page of invocations."""
        require(req, Scope.READ)
        limit = page_limit(req)
        after = _uuid(req, "after")
        found = self._records.page(text_parameter(req, "script"), limit, after)
        send_page(resp, found, limit, asdict, lambda invocation: invocation.id)


class InvocationResource:
    """`/api/v1/invocations/ID`"""

    def __init__(self, records: RecordReader) -> None:
        self._records = records

    def on_get(self, req: falcon.Request, resp: falcon.Response, identifier: str) -> None:
        """One invocation; it appears within 250 ms of its answer. Scope `read`. 200, 404."""
        require(req, Scope.READ)
        try:
            known = str(uuid.UUID(identifier))
        except ValueError:
            raise NotFound(f"there is no invocation '{identifier}'") from None
        send_json(resp, asdict(self._records.get(known)))


class LogsResource:
    """`/api/v1/logs`"""

    def __init__(self, records: RecordReader) -> None:
        self._records = records

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List log lines, newest first; `?script=NAME&invocation=ID&limit=&after=CURSOR`. Scope `read`.

        200: `{"items": [{invocation, script, at, level, message, fields}], "next": CURSOR or null}`.
        """
        require(req, Scope.READ)
        limit = page_limit(req)
        after = number_parameter(req, "after", 0, 1, _CURSOR_MAX)
        found = self._records.lines(text_parameter(req, "script"), _uuid(req, "invocation"), limit, after)
        send_page(resp, found, limit, _line_shape, lambda line: line.id)


class _Invoked:
    """The request of `invoke`, as a script sees it."""

    def __init__(self, req: falcon.Request, proxies: Proxies) -> None:
        self._req = req
        self._proxies = proxies

    @property
    def has_body(self) -> bool:
        """Whether one was announced."""
        return has_body(self._req.env)

    def read(self, invocation_id: str, body_bytes_max: int) -> Request:
        """BodyTooLarge, InvalidRequest."""
        content_type, environ = self._req.content_type, self._req.env
        return Request(
            id=invocation_id,
            method="POST",
            path="/",
            query_string="",
            headers=(("content-type", content_type),) if content_type else (),
            body=read_body(environ, body_bytes_max),
            host=environ.get("HTTP_HOST", ""),
            remote_addr=self._proxies.client(environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")),
            trigger=Trigger.INVOKE,
        )


def _line_shape(line: StoredLine) -> dict[str, object]:
    shape = asdict(line)
    del shape["id"]
    return {**shape, "fields": msgspec.Raw(line.fields.encode()) if line.fields else None}


def _uuid(req: falcon.Request, name: str) -> str:
    text = text_parameter(req, name)
    try:
        return str(uuid.UUID(text)) if text else ""
    except ValueError:
        message = "must be an invocation's id"
        raise InvalidRequest(f"?{name}={text}: {message}", [{"field": name, "message": message}]) from None
