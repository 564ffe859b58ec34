"""`/api/v1/invocations`: what ran, and what became of it."""

import uuid
from typing import Annotated, Protocol

import falcon
import msgspec

from picloud.auth import Scope
from picloud.errors import NotFound
from picloud.messages.endpoint import endpoint
from picloud.messages.moments import MomentOrAgoText, MomentText, read_moment, read_moment_or_ago
from picloud.messages.reading import CURSOR, Paging, ScriptName
from picloud.messages.writing import Page, send_json, send_page
from picloud.model import Invocation, InvocationFilter, Outcome, Trigger


class RecordReader(Protocol):
    """Where records are read."""

    def page(self, wanted: InvocationFilter, limit: int, after: str) -> list[Invocation]:
        """Newest first, those older than `after`."""

    def get(self, invocation_id: str) -> Invocation:
        """One; NotFound."""


class InvocationsQuery(Paging):
    """Which invocations."""

    script: ScriptName | None = None
    outcome: Annotated[Outcome, msgspec.Meta(description="those that ended so")] | None = None
    trigger: Annotated[Trigger, msgspec.Meta(description="those that were started so")] | None = None
    since: MomentOrAgoText | None = None
    until: MomentText | None = None
    after: Annotated[uuid.UUID, msgspec.Meta(description=CURSOR)] | None = None  # type: ignore[assignment]


class InvocationsResource:
    """`/api/v1/invocations`"""

    def __init__(self, records: RecordReader) -> None:
        self._records = records

    @endpoint(Scope.READ, query=InvocationsQuery, answers={200: Page[Invocation]}, by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response, query: InvocationsQuery) -> None:
        """List invocations, newest first.

        `since`: started then or later; `until`: started before.
        """
        req.context.principal.require(Scope.READ, query.script)
        wanted = InvocationFilter(
            script=query.script or "",
            scripts=req.context.principal.scripts,
            outcome=query.outcome,
            trigger=query.trigger,
            since=read_moment_or_ago(query.since, "since"),
            until=read_moment(query.until, "until"),
        )
        found = self._records.page(wanted, query.limit, str(query.after or ""))
        send_page(resp, found, query.limit, lambda it: it, lambda it: it.id)


class InvocationResource:
    """`/api/v1/invocations/ID`"""

    def __init__(self, records: RecordReader) -> None:
        self._records = records

    @endpoint(Scope.READ, answers={200: Invocation}, problems=("not-found",), by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response, identifier: str) -> None:
        """One invocation; it appears within 250 ms of its answer."""
        try:
            known = str(uuid.UUID(identifier))
        except ValueError:
            raise NotFound(f"there is no invocation '{identifier}'") from None
        found = self._records.get(known)
        scripts = req.context.principal.scripts
        if scripts is not None and found.script not in scripts:
            raise NotFound(f"there is no invocation {known}")  # as if it were not there
        send_json(resp, found)
