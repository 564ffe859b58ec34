"""Events: what CloudEvents 1.0 lets one be, what is the platform's own, and what a script sees of one. Pure.

Owns: the rules of attributes, wherever an event comes from (https://github.com/cloudevents/spec, v1.0.2).
"""

import re
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import msgspec

from picloud.errors import InvalidRequest
from picloud.model import (
    EVENT_ATTRIBUTE_BYTES_MAX,
    EVENT_BYTES_MAX,
    EVENT_EXTENSIONS_MAX,
    EVENT_ID_BYTES_MAX,
    EVENT_SOURCE_BYTES_MAX,
    EVENT_TYPE_BYTES_MAX,
    Event,
    Request,
    Trigger,
)

SPECVERSION = "1.0"
MEDIA_JSON = "application/json"
OWN_SOURCE = "/picloud"
OWN_TYPES = "picloud."
DEPLOYED = "picloud.script.deployed"
JOB_DEAD = "picloud.job.dead"
SCHEDULE_MISSED = "picloud.schedule.missed"

_SIZES = {"id": EVENT_ID_BYTES_MAX, "source": EVENT_SOURCE_BYTES_MAX, "type": EVENT_TYPE_BYTES_MAX}
_OTHERS = ("subject", "time", "datacontenttype", "dataschema")
KNOWN = frozenset((*_SIZES, *_OTHERS, "specversion", "data", "data_base64"))
"""What no extension is called."""

NOT_JSON_DATA = "must be JSON that a script can read: nested at most 127 deep, no number beyond 1e308"
_DEPTH_MAX = 127  # a script's `json.decode` reads 128, and the event is one
_NUMBER_MAX = 10**308

_NAME = re.compile("[a-z0-9]{1,64}")
_INTEGERS = range(-(1 << 31), 1 << 31)
# Control characters, halves of surrogate pairs, and what Unicode says is no character.
_NO_TEXT = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(p << 16 | 0xFFFE)}{chr(p << 16 | 0xFFFF)}" for p in range(17))
    + "]"
)
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*:")
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:)(\d{2})(?:\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - of HTTP
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}[ \t]*(?:;[\x20-\x7e\t]*)?")


def check(event: Event, *, of: str = "") -> None:
    """InvalidRequest names the attribute that is wrong; ``of`` stands before it: `[2].`."""
    named = _attributes(event).items()
    wrong = [(of + name, message) for name, value in named if (message := _wrong(name, value))]
    if len(event.extensions) > EVENT_EXTENSIONS_MAX:
        wrong.append(
            (f"{of}extensions", f"there are more than {EVENT_EXTENSIONS_MAX} attributes beside the known ones")
        )
    if event.data is not None and len(encoded(event.data)) > EVENT_BYTES_MAX:
        wrong.append((f"{of}data", f"has more than {EVENT_BYTES_MAX} bytes"))
    if wrong:
        raise InvalidRequest.of_all(wrong, "the event: ")


def check_foreign(event: Event, *, of: str = "") -> None:
    """The same, and of what is not the platform's own: what it says of itself, nobody else can say."""
    check(event, of=of)
    if event.type.startswith(OWN_TYPES):
        raise InvalidRequest.of(
            f"{of}type", f"what begins with '{OWN_TYPES}' is for PiCloud's own events", "the event: "
        )
    if is_at(event.source, OWN_SOURCE):
        raise InvalidRequest.of(f"{of}source", f"'{OWN_SOURCE}' is PiCloud itself", "the event: ")


def is_at(source: str, place: str) -> bool:
    """Whether a source is this place, or below it."""
    return source == place or source.startswith((f"{place}/", f"{place}?", f"{place}#"))


def source_of(script: str) -> str:
    """What events of a script come from."""
    return f"/scripts/{script}"


def now() -> str:
    """This moment, as an event has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_json(media_type: str | None) -> bool:
    """Whether data of this type is JSON."""
    base = (media_type or "").partition(";")[0].strip().lower()
    return base.endswith("+json") or base.rpartition("/")[2] == "json"


def is_json_text(text: str | bytes) -> bool:
    """Whether this is one JSON document."""
    try:
        msgspec.json.decode(text if isinstance(text, str) else text.decode(), type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def is_json_data(text: str | bytes) -> bool:
    """Whether this is JSON that a script can read once it is an event's data: see `NOT_JSON_DATA`."""
    try:
        level = [msgspec.json.decode(text if isinstance(text, str) else text.decode())]
    except (ValueError, RecursionError):  # msgspec's own are ValueErrors
        return False
    for _ in range(_DEPTH_MAX + 1):
        if any(isinstance(it, int) and abs(it) > _NUMBER_MAX for it in level):
            return False
        outer = [it.values() if isinstance(it, dict) else it for it in level if isinstance(it, dict | list)]
        if not outer:
            return True
        level = [it for inner in outer for it in inner]
    return False


def encoded(data: str | bytes) -> bytes:
    """Data as bytes."""
    return data.encode() if isinstance(data, str) else data


def base64_of(data: bytes) -> str:
    """Data that is no text, as JSON carries it."""
    return b64encode(data).decode()


def document(event: Event) -> bytes:
    """The event in the JSON format of CloudEvents."""
    found: dict[str, Any] = {"specversion": SPECVERSION, **_attributes(event)}
    if isinstance(event.data, bytes):
        found["data_base64"] = base64_of(event.data)
    elif event.data is not None:
        found["data"] = msgspec.Raw(event.data.encode()) if is_json(event.datacontenttype) else event.data
    return msgspec.json.encode(found)


def request_of(event: Event, depth: int) -> Request:
    """What a script that hears of it sees: the data as the body, all of it as `request.event`."""
    headers = (("content-type", event.datacontenttype),) if event.datacontenttype else ()
    return Request(
        id="",
        method="POST",
        path="/",
        query_string="",
        headers=headers,
        body=encoded(event.data or b""),
        trigger=Trigger.EVENT,
        event=document(event),
        event_depth=depth,
    )


def _attributes(event: Event) -> dict[str, str | int | bool]:
    """Those that it has, by name."""
    found = {name: getattr(event, name) for name in (*_SIZES, *_OTHERS)}
    return {name: value for name, value in found.items() if value is not None} | dict(event.extensions)


def _wrong(name: str, value: str | int | bool) -> str:
    """What is wrong with an attribute; nothing, if it is good."""
    if name not in KNOWN and not _NAME.fullmatch(name):
        return "an attribute's name has letters a to z and digits, at most 64"
    if isinstance(value, bool | int):
        return "" if isinstance(value, bool) or value in _INTEGERS else "must be a whole number of 32 bits"
    if not value and name in KNOWN:
        return "must not be empty"
    if _NO_TEXT.search(value):
        return "must not have control characters, or what is no character"
    size = _SIZES.get(name, EVENT_ATTRIBUTE_BYTES_MAX)
    if len(value.encode()) > size:
        return f"has more than {size} bytes"
    return _unlike(name, value)


def _unlike(name: str, value: str) -> str:
    """What is wrong with the form of one that must have some."""
    if name == "source" and not _URI_REFERENCE.fullmatch(value):
        return "must be a URI, or a path such as /shop"
    if name == "dataschema" and not (_URI_REFERENCE.fullmatch(value) and _SCHEME.match(value)):
        return "must be a URI with its scheme"
    if name == "time" and not _is_time(value):
        return "must be a time with its zone, such as 2026-01-31T12:00:00Z"
    if name == "datacontenttype" and not _MEDIA_TYPE.fullmatch(value):
        return "must be a media type, such as application/json"
    return ""


def _is_time(text: str) -> bool:
    found = _TIME.fullmatch(text)
    if not found:
        return False
    date, clock, seconds, zone = found.groups()
    try:  # a leap second is one, too
        datetime.fromisoformat(f"{date}T{clock}{'59' if seconds == '60' else seconds}{zone.upper()}")
    except ValueError:
        return False
    return True
