"""`/api/v1/invocations` and `/api/v1/logs`: what ran, and what it wrote."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Protocol

import falcon
import msgspec

from picloud.auth import Scope
from picloud.errors import NotFound
from picloud.messages.endpoint import endpoint
from picloud.messages.reading import CURSOR, Paging, ScriptName
from picloud.messages.writing import Page, send_json, send_page
from picloud.model import Invocation, Level, StoredLine

_CURSOR_MAX = 2**63 - 1


class RecordReader(Protocol):
    """Where records are read."""

    def page(self, script: str, limit: int, after: str) -> list[Invocation]:
        """Newest first, those older than `after`; all scripts' if ''."""

    def get(self, invocation_id: str) -> Invocation:
        """One; NotFound."""

    def lines(self, script: str, invocation: str, limit: int, after: int) -> list[StoredLine]:
        """Newest first, those older than the cursor `after`."""


class InvocationsQuery(Paging):
    """Which invocations."""

    script: ScriptName | None = None
    after: Annotated[uuid.UUID, msgspec.Meta(description=CURSOR)] | None = None  # type: ignore[assignment]


class LogsQuery(Paging):
    """Which log lines."""

    script: ScriptName | None = None
    invocation: Annotated[uuid.UUID, msgspec.Meta(description="those of one invocation")] | None = None
    after: Annotated[int, msgspec.Meta(ge=0, le=_CURSOR_MAX, description=CURSOR)] = 0  # type: ignore[assignment]


class LineShape(msgspec.Struct):
    """One log line as the API shows it."""

    invocation: str
    script: str
    at: datetime
    level: Level
    message: str
    fields: Any


class InvocationsResource:
    """`/api/v1/invocations`"""

    def __init__(self, records: RecordReader) -> None:
        self._records = records

    @endpoint(Scope.READ, query=InvocationsQuery, answers={200: Page[Invocation]})
    def on_get(self, _req: falcon.Request, resp: falcon.Response, query: InvocationsQuery) -> None:
        """List invocations, newest first."""
        found = self._records.page(query.script or "", query.limit, str(query.after or ""))
        send_page(resp, found, query.limit, lambda it: it, lambda it: it.id)


class InvocationResource:
    """`/api/v1/invocations/ID`"""

    def __init__(self, records: RecordReader) -> None:
        self._records = records

    @endpoint(Scope.READ, answers={200: Invocation}, problems=("not-found",))
    def on_get(self, _req: falcon.Request, resp: falcon.Response, identifier: str) -> None:
        """One invocation; it appears within 250 ms of its answer."""
        try:
            known = str(uuid.UUID(identifier))
        except ValueError:
            raise NotFound(f"there is no invocation '{identifier}'") from None
        send_json(resp, self._records.get(known))


class LogsResource:
    """`/api/v1/logs`"""

    def __init__(self, records: RecordReader) -> None:
        self._records = records

    @endpoint(Scope.READ, query=LogsQuery, answers={200: Page[LineShape]})
    def on_get(self, _req: falcon.Request, resp: falcon.Response, query: LogsQuery) -> None:
        """List log lines, newest first."""
        found = self._records.lines(query.script or "", str(query.invocation or ""), query.limit, query.after)
        send_page(resp, found, query.limit, _line_shape, lambda line: line.id)


def _line_shape(line: StoredLine) -> LineShape:
    fields = msgspec.Raw(line.fields.encode()) if line.fields else None
    return LineShape(line.invocation, line.script, line.at, line.level, line.message, fields)
