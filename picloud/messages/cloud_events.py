"""CloudEvents 1.0 as HTTP carries them: in JSON alone or many, or with its attributes as headers and its data as body.

Owns: the HTTP binding and the JSON format (https://github.com/cloudevents/spec, v1.0.2); the attributes' own rules are
`picloud.events`. Knows nothing of what becomes of an event.
"""

import binascii
import enum
import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from picloud import events
from picloud.errors import InvalidRequest, UnsupportedMediaType
from picloud.model import EVENT_BATCH_MAX, Event

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

_PREFIX = "ce-"
_WHERE = "the event: "
_REQUIRED = ("id", "source", "type")
_DATA = ("data", "data_base64")
_UTF_8 = ("", "utf-8", "utf8", "us-ascii", "ascii")
_CHARSET = re.compile(r"""(?:^|;)[ \t]*charset=["']?([^"';, \t]*)""", re.IGNORECASE)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_TEXTS = ("application/xml", "application/x-www-form-urlencoded", "application/javascript", "application/yaml")


class _Names(list[tuple[str, Any]]):
    """The members of an object, in their order, and as often as they are there."""


Members = Mapping[str, msgspec.Raw]


class Mode(enum.Enum):
    """How an event is carried."""

    STRUCTURED = enum.auto()
    BATCH = enum.auto()
    BINARY = enum.auto()


def mode_of(content_type: str, headers: Mapping[str, str]) -> Mode:
    """How a request carries events; UnsupportedMediaType if it does not. ``headers``: lower-case name → value."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in (STRUCTURED, BATCH):
        if _charset(content_type) not in _UTF_8:
            raise UnsupportedMediaType(f"'{content_type[:100]}': JSON is UTF-8")
        return Mode.BATCH if media_type == BATCH else Mode.STRUCTURED
    if not media_type.startswith("application/cloudevents") and any(name.startswith(_PREFIX) for name in headers):
        return Mode.BINARY
    raise UnsupportedMediaType(
        f"'{media_type[:100]}' is no event: send {STRUCTURED} or {BATCH}, or attributes as headers: ce-id, ce-source, …"
    )


def read(content_type: str, headers: Mapping[str, str], body: bytes) -> list[Event]:
    """The events of a request; InvalidRequest names what is wrong, UnsupportedMediaType."""
    mode = mode_of(content_type, headers)
    if mode is Mode.BINARY:
        found = [_binary(content_type, headers, body)]
        events.check_foreign(found[0])
        return found
    if mode is Mode.STRUCTURED:
        members: Members = _decoded(body, dict[str, msgspec.Raw], "one event is an object")
        found = [_structured(members, "")]
        events.check_foreign(found[0])
        return found
    batch: list[Members] = _decoded(body, list[dict[str, msgspec.Raw]], "a batch is a list of objects")
    if len(batch) > EVENT_BATCH_MAX:
        raise InvalidRequest(f"the batch has {len(batch)} events, at most {EVENT_BATCH_MAX} are taken at once")
    found = [_structured(members, f"[{at}].") for at, members in enumerate(batch)]
    for at, event in enumerate(found):
        events.check_foreign(event, of=f"[{at}].")
    return found


def _decoded(body: bytes, kind: Any, rule: str) -> Any:
    try:
        text = body.decode()
        found = msgspec.json.decode(text, type=kind)
        _check_names(text)
        return found
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the body: {rule}: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is no JSON that is taken here: {error}") from error


def _check_names(text: str) -> None:
    """InvalidRequest unless each member is there once: who reads JSON may take the first one, or the last."""
    found = json.loads(text, object_pairs_hook=_Names, parse_int=str, parse_float=str)
    for of, names in [("", found)] if isinstance(found, _Names) else ((f"[{at}].", it) for at, it in enumerate(found)):
        seen: set[str] = set()
        for name, _ in names:
            if name in seen:
                raise InvalidRequest.of(of + name, "is there twice", _WHERE)
            seen.add(name)


def _structured(members: Members, of: str) -> Event:
    attributes, wrong = {}, []
    for name, raw in members.items():
        if name not in _DATA and (value := _value(raw)) is not None:  # null: it is not there
            attributes[name] = value
            if not _is_good(name, value):
                wrong.append(
                    (
                        of + name,
                        "must be text"
                        if name in events.KNOWN
                        else "must be text, a number of 32 bits or true or false",
                    )
                )
    wrong += [(of + name, message) for name, message in _missing(attributes)]
    if wrong:
        raise InvalidRequest.of_all(wrong, _WHERE)
    return _event(attributes, *_data(members, attributes, of))


def _value(raw: msgspec.Raw) -> Any:
    try:
        value = msgspec.json.decode(raw)
        return int(value) if isinstance(value, float) and value.is_integer() else value  # 5.0 is one, and so is 5e0
    except (msgspec.MsgspecError, RecursionError):  # a number beyond all, half of a surrogate pair
        return ()


def _is_good(name: str, value: object) -> bool:
    return isinstance(value, str if name in events.KNOWN else str | int)  # a bool is an int, too


def _missing(attributes: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    version = attributes.get("specversion")
    if version != events.SPECVERSION:
        yield "specversion", "is missing" if version is None else f"must be {events.SPECVERSION}"
    yield from ((name, "is missing") for name in _REQUIRED if name not in attributes)


def _data(members: Members, attributes: Mapping[str, Any], of: str) -> tuple[str | bytes | None, str | None]:
    """The data and its type."""
    content_type, (text, binary) = attributes.get("datacontenttype"), (_there(members.get(name)) for name in _DATA)
    if text and binary:
        raise InvalidRequest.of(f"{of}data_base64", "stands beside data: an event has one of them", _WHERE)
    if binary:
        return _from_base64(_value(binary), of), content_type
    if not text:
        return None, content_type
    if content_type is None or events.is_json(content_type):
        if not events.is_json_data(bytes(text)):
            raise InvalidRequest.of(f"{of}data", events.NOT_JSON_DATA, _WHERE)
        return bytes(text).decode(), content_type or events.MEDIA_JSON  # which is what no type says
    value = _value(text)
    if not isinstance(value, str):
        raise InvalidRequest.of(f"{of}data", f"must be text, since '{content_type[:100]}' is no JSON", _WHERE)
    return value, content_type


def _there(raw: msgspec.Raw | None) -> msgspec.Raw | None:
    return None if raw is None or bytes(raw) == b"null" else raw


def _from_base64(value: object, of: str) -> bytes:
    try:
        return b64decode(value if isinstance(value, str) else "!", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest.of(f"{of}data_base64", "must be base64", _WHERE) from None


def _binary(content_type: str, headers: Mapping[str, str], body: bytes) -> Event:
    carried = {name.removeprefix(_PREFIX): value for name, value in headers.items() if name.startswith(_PREFIX)}
    attributes = {name: _unescaped(name, value) for name, value in carried.items()}
    wrong = [(_PREFIX + name, message) for name, message in _missing(attributes)]
    wrong += [
        (_PREFIX + name, "is no header: the body's Content-Type is its type")
        for name in ("datacontenttype", *_DATA)
        if name in attributes
    ]
    if wrong:
        raise InvalidRequest.of_all(wrong, _WHERE)
    if content_type:
        attributes["datacontenttype"] = content_type
    return _event(attributes, _content(content_type, body), content_type or None)


def _unescaped(name: str, value: str) -> str:
    """What a header says: quotes are taken off first, then percents decoded, once."""
    if quoted := _QUOTED.fullmatch(value.strip()):
        value = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
    try:
        return unquote_to_bytes(value.encode("latin-1")).decode()
    except UnicodeError:
        raise InvalidRequest.of(_PREFIX + name, "is not UTF-8 once its percents are decoded", _WHERE) from None


def _content(content_type: str, body: bytes) -> str | bytes | None:
    """A body as data: text if its type says so and it is."""
    if not body:
        return None
    if events.is_json(content_type):
        return body.decode() if events.is_json_data(body) else body
    media_type = content_type.partition(";")[0].strip().lower()
    is_text = media_type.startswith("text/") or media_type.endswith(("+xml", "+yaml")) or media_type in _TEXTS
    try:
        return body.decode() if is_text and _charset(content_type) in _UTF_8 else body
    except UnicodeDecodeError:
        return body


def _charset(content_type: str) -> str:
    found = _CHARSET.search(content_type)
    return found[1].lower() if found else ""


def _event(attributes: Mapping[str, Any], data: str | bytes | None, content_type: str | None) -> Event:
    extensions = {name: value for name, value in attributes.items() if name not in events.KNOWN}
    return Event(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        subject=attributes.get("subject"),
        time=attributes.get("time"),
        datacontenttype=content_type,
        dataschema=attributes.get("dataschema"),
        data=data,
        extensions=extensions,
    )
