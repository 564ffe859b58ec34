"""Events: what has happened, as CloudEvents 1.0 has it, and which scripts are to hear of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

EVENT_ID_BYTES_MAX = 512  # of UTF-8, as all of these
EVENT_SOURCE_BYTES_MAX = 1024  # with the id it is the key of an index, which takes no more than 2,700
EVENT_TYPE_BYTES_MAX = 255
EVENT_ATTRIBUTE_BYTES_MAX = 2048  # any other
EVENT_EXTENSIONS_MAX = 50
EVENT_BYTES_MAX = 1024 * 1024  # of its data, and of all that is sent at once
EVENT_BATCH_MAX = 100
EVENT_DEPTH_MAX = 16  # events that led to each other


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened. (source, id) is there once; `picloud.events` has the rules."""

    id: str
    source: str  # a URI, or a path: who says so
    type: str
    subject: str | None = None  # of what, in the source's words
    time: str | None = None  # RFC 3339, as it was written
    datacontenttype: str | None = None
    dataschema: str | None = None
    data: str | bytes | None = None  # text: JSON, if datacontenttype says so; bytes: what is no text
    extensions: Mapping[str, str | int | bool] = field(default_factory=dict)  # further attributes


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it is kept."""

    number: int  # later ones have higher ones
    event: Event
    depth: int  # how many events led to each other, this one included
    published_at: datetime


@dataclass(frozen=True, slots=True)
class Published:
    """What became of publishing one."""

    duplicate: bool  # there is one with its source and id: nothing was done
    jobs: int  # one for each script that hears of it


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted, by patterns as subscriptions have them; None lets all of them through."""

    type: str | None = None
    source: str | None = None
    id: str | None = None  # itself


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which events a script hears of."""

    id: int
    script: str
    type: str  # a pattern, see picloud.subscriptions
    source: str | None  # a pattern; None: any
    subject: str | None  # a pattern; None: any, or none
    declared: bool  # by the script's own picloud.toml, which also removes it
