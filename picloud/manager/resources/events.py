"""`/api/v1/events`: what was published, and publishing."""

from datetime import datetime
from typing import Annotated, Any

import falcon
import msgspec
from msgspec import UNSET, Meta, UnsetType

from picloud import events as rules
from picloud.auth import Scope
from picloud.manager.events import Events
from picloud.messages import cloud_events
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.forms import form
from picloud.messages.reading import CURSOR, Paging, path_number, read_body
from picloud.messages.writing import Page, send_json, send_page
from picloud.model import (
    EVENT_BATCH_MAX,
    EVENT_BYTES_MAX,
    EVENT_SOURCE_BYTES_MAX,
    EventFilter,
    StoredEvent,
)
from picloud.subscriptions import check_text_pattern, check_type_pattern

TYPE_PATTERN = form("type-pattern", "a type, `order.*` for all that begin so, or `*`")
SOURCE_PATTERN = form("text-pattern", "a source, or what it begins with and `*`")

_DIGITS_MAX = 18
_NUMBER_MAX = 10**_DIGITS_MAX - 1

_Text = Annotated[str, Meta(min_length=1)]


class _Members(msgspec.Struct, kw_only=True):
    """Those of an event in the JSON format of CloudEvents 1.0 that have a meaning there."""

    specversion: Annotated[str, Meta(pattern="^1\\.0$")]
    id: Annotated[str, form("event-id", "with the source it is there once")]
    source: Annotated[str, form("event-source", "who says so: a URI, or a path")]
    type: Annotated[str, form("event-type", "what has happened; none that begins with `picloud.`")]
    subject: Annotated[str, form("printable", "of what, in the source's words")] | None = None
    time: Annotated[str, Meta(extra_json_schema={"format": "date-time"})] | None = None
    datacontenttype: Annotated[str, form("media-type", "of the data; without it, JSON")] | None = None
    dataschema: Annotated[str, form("event-schema", "a URI")] | None = None
    data: Annotated[Any, Meta(description="JSON, or text if `datacontenttype` says so")] = None
    data_base64: Annotated[str, form("base64", "bytes, instead of `data`")] | None = None


_Name = Annotated[str, Meta(pattern="^([a-z0-9]{1,64}|data_base64)$")]
_Extension = (
    Annotated[str, form("printable", "an extension")] | Annotated[int, Meta(ge=-(2**31), lt=2**31)] | bool | None
)
_DECLARED = msgspec.json.schema_components([_Members])[1]["_Members"]
_KNOWN = {name: _DECLARED[name] for name in ("properties", "required")}

# An event may have more members than those, but not of any form.
_Event = Annotated[dict[_Name, _Extension], Meta(description="as CloudEvents has it", extra_json_schema=_KNOWN)]
_Batch = Annotated[list[_Event], Meta(max_length=EVENT_BATCH_MAX)]


class PublishedShape(msgspec.Struct):
    """What became of one event."""

    id: str
    source: str
    jobs: Annotated[int, Meta(description="one for each script that hears of it")]
    duplicate: Annotated[bool, Meta(description="whether it was there: then nothing was done")]


class PublishedListShape(msgspec.Struct):
    """What became of each event, in their order."""

    items: list[PublishedShape]


class EventShape(msgspec.Struct, kw_only=True):
    """An event as it is kept."""

    number: Annotated[int, Meta(description="later ones have higher ones")]
    id: str
    source: str
    type: str
    subject: str | None
    time: Annotated[str | None, Meta(description="as it was written")]
    datacontenttype: str | None
    dataschema: str | None
    extensions: dict[str, str | int | bool]
    depth: Annotated[int, Meta(description="how many events led to each other, this one included")]
    published_at: datetime
    bytes: Annotated[int, Meta(description="of its data")]
    data: Annotated[Any, Meta(description="of one event: JSON, or text; null: there is none")] = UNSET
    data_base64: Annotated[str, Meta(description="of one event: data that is no text")] | UnsetType = UNSET


class EventsQuery(Paging):
    """Which events."""

    type: Annotated[str, TYPE_PATTERN] | None = None
    source: Annotated[str, SOURCE_PATTERN] | None = None
    id: Annotated[str, form("printable", "with this id")] | None = None
    after: Annotated[int, Meta(ge=1, le=_NUMBER_MAX, description=CURSOR)] | None = None  # type: ignore[assignment]


class EventsResource:
    """`/api/v1/events`"""

    def __init__(self, events: Events) -> None:
        self._events = events

    @endpoint(Scope.READ, query=EventsQuery, answers={200: Page[EventShape]})
    def on_get(self, _req: falcon.Request, resp: falcon.Response, query: EventsQuery) -> None:
        """List events, newest first, without their data.

        `type` and `source` are patterns as a subscription has them.
        """
        if query.type is not None:
            check_type_pattern("type", query.type)
        check_text_pattern("source", query.source, EVENT_SOURCE_BYTES_MAX)
        found = self._events.page(EventFilter(query.type, query.source, query.id), query.limit, query.after)
        send_page(resp, found, query.limit, _shape, lambda it: it.number)

    @endpoint(
        Scope.INVOKE,
        media={cloud_events.STRUCTURED: _Event, cloud_events.BATCH: _Batch},  # what headers say, no schema can
        answers={202: Answer(PublishedListShape, meaning="They are stored, and so are the jobs")},
        problems=("conflict", "outcome-unknown", "unsupported-media-type"),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Publish events of CloudEvents 1.0: one, a batch, or one whose attributes are headers.

        Each script that is subscribed gets one job for each event, once for a `source` and `id`; an event that is there
        already is a `duplicate`. All of a batch are stored in one commit, or none: at most 100, and 1 MiB.

        One whose attributes are headers, `ce-specversion`, `ce-id`, `ce-source`, `ce-type` and what else there is, is
        taken, too: the body is its data, of any content type or none, and may be empty.
        """
        headers = {name.lower(): value for name, value in req.headers.items()}
        content_type = req.content_type or ""
        cloud_events.mode_of(content_type, headers)  # what is no event is not read
        found = cloud_events.read(content_type, headers, read_body(req.env, EVENT_BYTES_MAX))
        done = self._events.publish(found) if found else []
        items = [
            PublishedShape(event.id, event.source, it.jobs, it.duplicate) for event, it in zip(found, done, strict=True)
        ]
        send_json(resp, PublishedListShape(items), 202)


class EventResource:
    """`/api/v1/events/NUMBER`"""

    def __init__(self, events: Events) -> None:
        self._events = events

    @endpoint(Scope.READ, answers={200: EventShape}, problems=("not-found",))
    def on_get(self, _req: falcon.Request, resp: falcon.Response, event_number: str) -> None:
        """One event with its data."""
        found = self._events.get(path_number(event_number, "event", _DIGITS_MAX))
        shape, data = _shape(found), found.event.data
        if isinstance(data, bytes):
            shape.data_base64 = rules.base64_of(data)
        else:
            is_json = data is not None and rules.is_json(found.event.datacontenttype)
            shape.data = msgspec.Raw(rules.encoded(data)) if data is not None and is_json else data
        send_json(resp, shape)


def _shape(it: StoredEvent) -> EventShape:
    event = it.event
    return EventShape(
        number=it.number,
        id=event.id,
        source=event.source,
        type=event.type,
        subject=event.subject,
        time=event.time,
        datacontenttype=event.datacontenttype,
        dataschema=event.dataschema,
        extensions=dict(event.extensions),
        depth=it.depth,
        published_at=it.published_at,
        bytes=len(rules.encoded(event.data or b"")),
    )
