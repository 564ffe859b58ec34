"""`/api/v1/invocations`: what ran, and what became of it."""

import uuid
from dataclasses import dataclass, fields
from typing import Annotated, Protocol

import falcon
import msgspec
from msgspec import UNSET, Meta, UnsetType

from picloud.auth import Scope
from picloud.errors import NotFound
from picloud.messages.endpoint import endpoint
from picloud.messages.moments import MomentOrAgoText, MomentText, read_moment, read_moment_or_ago
from picloud.messages.reading import CURSOR, Paging, Query, ScriptName
from picloud.messages.writing import Page, send_json, send_page
from picloud.model import Invocation, InvocationFilter, KeptRequest, Outcome, Trigger
from picloud.orchestrator.resources.shapes import Headers, body_shape, headers_shape


class RecordReader(Protocol):
    """Where records are read."""

    def page(self, wanted: InvocationFilter, limit: int, after: str) -> list[Invocation]:
        """Newest first, those older than `after`."""

    def get(self, invocation_id: str) -> Invocation:
        """One; NotFound."""

    def request(self, invocation_id: str) -> KeptRequest | None:
        """Of one; None: it was not kept."""


class InvocationsQuery(Paging):
    """Which invocations."""

    script: ScriptName | None = None
    outcome: Annotated[Outcome, Meta(description="those that ended so")] | None = None
    trigger: Annotated[Trigger, Meta(description="those that were started so")] | None = None
    since: MomentOrAgoText | None = None
    until: MomentText | None = None
    after: Annotated[uuid.UUID, Meta(description=CURSOR)] | None = None  # type: ignore[assignment]


class InvocationQuery(Query):
    """What of it."""

    request: Annotated[bool, Meta(description="its request, too: null if that was not kept")] = False


class RequestShape(msgspec.Struct):
    """A request that was kept with its invocation."""

    method: str
    path: Annotated[str, Meta(description="decoded")]
    query: Annotated[str, Meta(description="raw")]
    headers: Headers
    host: str
    remote_addr: str
    body: str
    base64: Annotated[bool, Meta(description="whether `body` is in base64: it is no UTF-8")]
    body_bytes: Annotated[int, Meta(description="as it came")]
    cut: Annotated[bool, Meta(description="whether body or headers are left out, as they were too large")]
    masked: Annotated[bool, Meta(description="whether `***` stands for something that was secret")]


@dataclass(frozen=True, slots=True)
class InvocationDetail(Invocation):
    """The record of one run of one version, with its request if that was asked for."""

    request: RequestShape | UnsetType | None = UNSET


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

    @endpoint(
        Scope.READ, query=InvocationQuery, answers={200: InvocationDetail}, problems=("not-found",), by_script=True
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, identifier: str, query: InvocationQuery) -> None:
        """One invocation; it appears within 250 ms of its answer."""
        found = find(self._records, req, identifier)
        if not query.request:
            send_json(resp, found)
            return
        kept = self._records.request(found.id)
        known = {field.name: getattr(found, field.name) for field in fields(found)}
        send_json(resp, InvocationDetail(**known, request=request_shape(kept) if kept else None))


def find(records: RecordReader, req: falcon.Request, identifier: str) -> Invocation:
    """The invocation of this id, for who asks; NotFound."""
    try:
        known = str(uuid.UUID(identifier))
    except ValueError:
        raise NotFound(f"there is no invocation '{identifier}'") from None
    found = records.get(known)
    scripts = req.context.principal.scripts
    if scripts is not None and found.script not in scripts:
        raise NotFound(f"there is no invocation {known}")  # as if it were not there
    return found


def request_shape(kept: KeptRequest) -> RequestShape:
    """As the API shows it: what HTTP carried as bytes is text."""
    it = kept.request
    body, is_base64 = body_shape(it.body)
    return RequestShape(
        method=it.method,
        path=_readable(it.path),
        query=_readable(it.query_string),
        headers=headers_shape(tuple((name, _readable(value)) for name, value in it.headers)),
        host=_readable(it.host),
        remote_addr=it.remote_addr,
        body=body,
        base64=is_base64,
        body_bytes=kept.body_bytes,
        cut=kept.cut,
        masked=kept.masked,
    )


def _readable(latin: str) -> str:
    return latin.encode("latin-1", "replace").decode(errors="replace")
