"""`/api/v1/logs`: what scripts wrote, by pages or as it comes."""

import re
import uuid
from datetime import datetime
from typing import Annotated, Any, Protocol

import falcon
import msgspec

from picloud.auth import Scope, TokenFinder, bearer
from picloud.errors import InvalidRequest
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.moments import MomentOrAgoText, MomentText, read_moment, read_moment_or_ago
from picloud.messages.reading import CURSOR, PAGE_MAX, Query, ScriptName
from picloud.messages.writing import Page, send_page
from picloud.model import Level, LineFilter, StoredLine
from picloud.orchestrator import feed
from picloud.orchestrator.resources import follow

_CURSOR_MAX = 2**63 - 1
_PAGE = 50
_EVENT_ID = "[0-9]{1,18}"

_LIMIT = f"how many items at most, {_PAGE} unless given; with follow, how many of the newest to begin with, else none"
Limit = Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX, description=_LIMIT)]
EventId = Annotated[
    str,
    msgspec.Meta(
        pattern=f"^{_EVENT_ID}$", description="with follow: the `id` that was seen last; `limit` is not heeded then"
    ),
]


class LineReader(follow.LineFollower, Protocol):
    """Where log lines are read."""

    def page(self, wanted: LineFilter, limit: int, before: int) -> list[StoredLine]:
        """Newest first, those older than the cursor `before`."""

    def before_newest(self, wanted: LineFilter, count: int) -> int:
        """The cursor behind which the newest `count` stand."""


class LogsQuery(Query):
    """Which log lines."""

    script: ScriptName | None = None
    invocation: Annotated[uuid.UUID, msgspec.Meta(description="those of one invocation")] | None = None
    level: Annotated[Level, msgspec.Meta(description="those of this level and louder")] | None = None
    since: MomentOrAgoText | None = None
    until: MomentText | None = None
    follow: Annotated[bool, msgspec.Meta(description="send those that come, as server-sent events")] = False
    limit: Limit | None = None
    after: Annotated[int, msgspec.Meta(ge=0, le=_CURSOR_MAX, description=CURSOR)] | None = None


class LineShape(msgspec.Struct):
    """One log line as the API shows it."""

    invocation: str
    script: str
    at: datetime
    level: Level
    message: str
    fields: Any


class LogsResource:
    """`/api/v1/logs`"""

    def __init__(self, lines: LineReader, followers: feed.Feed, tokens: TokenFinder) -> None:
        self._lines = lines
        self._feed = followers
        self._tokens = tokens

    @endpoint(
        Scope.READ,
        query=LogsQuery,
        answers={200: Answer(Page[LineShape], media=(follow.MEDIA_TYPE,))},
        problems=("overloaded",),
        headers={"Last-Event-ID": EventId},
        by_script=True,
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, query: LogsQuery) -> None:
        """List log lines, newest first; with `?follow=true` send those that come, as server-sent events."""
        req.context.principal.require(Scope.READ, query.script)
        wanted = _filter(query, req.context.principal.scripts)
        resume = _last_event_id(req)
        if query.follow:
            self._follow(req, resp, query, wanted, resume)
            return
        limit = _PAGE if query.limit is None else query.limit
        send_page(resp, self._lines.page(wanted, limit, query.after or 0), limit, line_shape, lambda line: line.id)

    def _follow(
        self, req: falcon.Request, resp: falcon.Response, query: LogsQuery, wanted: LineFilter, resume: int | None
    ) -> None:
        if query.after is not None:
            raise InvalidRequest.of("after", "does not go with follow: send 'Last-Event-ID' to resume")
        resp.content_type = follow.MEDIA_TYPE
        resp.set_headers(follow.HEADERS)
        if req.method == "HEAD":
            return
        cursor = self._lines.before_newest(wanted, query.limit or 0) if resume is None else resume
        client = req.env["gunicorn.socket"]
        follow.keep_alive(client)
        admitted = follow.Pass(self._tokens, bearer(req.auth), req.context.principal)
        place = self._feed.subscribe(client)
        resp.stream = follow.Follow(self._lines, wanted, cursor, place, admitted, encode)


def line_shape(line: StoredLine) -> LineShape:
    """As the API shows it."""
    fields = msgspec.Raw(line.fields.encode()) if line.fields else None
    return LineShape(line.invocation, line.script, line.at, line.level, line.message, fields)


def encode(line: StoredLine) -> bytes:
    """As JSON, on one line: a line break in the fields, which a sandbox wrote, is white space."""
    return msgspec.json.encode(line_shape(line)).replace(b"\n", b" ").replace(b"\r", b" ")


def _filter(query: LogsQuery, scripts: frozenset[str] | None) -> LineFilter:
    return LineFilter(
        script=query.script or "",
        scripts=scripts,
        invocation=str(query.invocation or ""),
        level=query.level,
        since=read_moment_or_ago(query.since, "since"),
        until=read_moment(query.until, "until"),
    )


def _last_event_id(req: falcon.Request) -> int | None:
    text = req.get_header("last-event-id")
    if text is None:
        return None
    if not re.fullmatch(_EVENT_ID, text):
        raise InvalidRequest.of("Last-Event-ID", "must be the id of an event that was received")
    return int(text)
