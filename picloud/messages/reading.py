"""Queries and bodies: typed, bounded, and refused with the field that is wrong."""

import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Annotated, Any, TypeVar, get_args

import falcon
import msgspec

from picloud.errors import BodyTooLarge, InvalidRequest, NotFound, UnsupportedMediaType
from picloud.messages.wrong import CURSOR_PATTERN, SCRIPT_PATTERN, invalid

PAGE_MAX = 500

ScriptName = Annotated[str, msgspec.Meta(pattern=SCRIPT_PATTERN, description="a script's name")]

CURSOR = "the `next` of the page before"

BODY = "the body: "  # before a field of it that is wrong
_QUERY = "?"

MEDIA_JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"  # RFC 7396
_OF_CURL = "application/x-www-form-urlencoded"

_JSON_BYTES_MAX = 512 * 1024  # 64 KiB of variables, a byte of which may be six of JSON's
READING = "picloud.reading"  # in a WSGI environ: gives a context manager, one for each body that is read

_CHUNK_BYTES = 64 * 1024
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}

Typed = TypeVar("Typed")


class Query(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What may stand behind the question mark: one field a parameter."""


Asked = TypeVar("Asked", bound=Query)


class Paging(Query):
    """Which page of a list; `after` is the `next` of the page before."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX, description="how many items at most")] = 50
    after: Annotated[str, msgspec.Meta(pattern=CURSOR_PATTERN, description=CURSOR)] = ""


def has_body(environ: dict[str, Any]) -> bool:
    """Whether the request announces a body."""
    return environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ


def read_body(environ: dict[str, Any], bytes_max: int) -> bytes:
    """The whole body, by length or in chunks; BodyTooLarge before more than bytes_max are kept, InvalidRequest.

    Overloaded at once if as many bodies as may be are being sent: a slow sender holds a thread.
    """
    if not has_body(environ):
        return b""
    declared = int(environ.get("CONTENT_LENGTH") or 0)
    if declared > bytes_max:
        raise BodyTooLarge(f"the body has {declared} bytes, at most {bytes_max} are taken")
    with environ.get(READING, nullcontext)():
        body = _read(environ["wsgi.input"], bytes_max)
    if len(body) < declared:
        raise InvalidRequest(f"the body ended after {len(body)} of {declared} bytes")
    return body


def _read(stream: Any, bytes_max: int) -> bytes:
    parts, size = [], 0
    while size <= bytes_max and (part := _next_part(stream, min(_CHUNK_BYTES, bytes_max + 1 - size))):
        parts.append(part)
        size += len(part)
    if size > bytes_max:
        raise BodyTooLarge(f"the body has more than {bytes_max} bytes, which is the limit")
    return b"".join(parts)


def read_json(req: falcon.Request, kind: type[Typed], bytes_max: int = _JSON_BYTES_MAX) -> Typed:
    """The body as a typed message; UnsupportedMediaType, or InvalidRequest, which says which field is wrong."""
    require_json(req)
    body = read_body(req.env, bytes_max)
    try:
        value = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is no JSON that is taken here: {error}") from error
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise invalid(kind, error, BODY, value) from error


def read_query(req: falcon.Request, kind: type[Asked]) -> Asked:
    """The query as a typed message; InvalidRequest says which parameter is wrong. None may have control characters."""
    texts: dict[str, str] = {}
    for name, value in req.params.items():
        if not isinstance(value, str):
            raise InvalidRequest.of(name, "is given more than once", _QUERY)
        if not (name + value).isprintable():
            raise InvalidRequest.of(name, "must not have control characters", _QUERY)
        texts[name] = value
    try:
        return msgspec.convert(_typed(texts, kind), kind)
    except msgspec.ValidationError as error:
        raise invalid(kind, error, _QUERY) from error


def path_number(text: str, what: str, digits_max: int = 9) -> int:
    """A whole number in the path; what is not one does not exist."""
    if not (text.isascii() and text.isdigit() and len(text) <= digits_max):
        raise NotFound(f"there is no {what} '{text}'")
    return int(text)


def require_json(req: falcon.Request) -> None:
    """UnsupportedMediaType if the body says that it is something else: what curl sends says that it is a form."""
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    if media_type not in ("", MEDIA_JSON, MERGE_PATCH, _OF_CURL):
        raise UnsupportedMediaType(f"'{media_type[:100]}' is not taken here; send {MEDIA_JSON} or {MERGE_PATCH}")


def _number(text: str) -> float:
    """JSON knows no whole numbers: 1.0 is as good as 1."""
    value = float(text)
    return int(value) if value.is_integer() else value


_decoder = msgspec.json.Decoder(float_hook=_number)


def _typed(texts: Mapping[str, str], kind: type[Query]) -> dict[str, object]:
    """Texts as numbers and booleans where the message has some; what is spelled in another way stays text."""
    types = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    return {name: _value(text, set(_flat(types.get(name, str)))) for name, text in texts.items()}


def _value(text: str, types: set[Any]) -> object:
    if bool in types and text in _BOOLEANS:
        return _BOOLEANS[text]
    return int(text) if int in types and _WHOLE.fullmatch(text) else text


def _flat(kind: Any) -> Iterator[Any]:
    """A type, or those that it is made of."""
    inner = get_args(kind)
    yield from (it for part in inner for it in _flat(part)) if inner else (kind,)


def _next_part(stream: Any, size: int) -> bytes:
    try:
        return bytes(stream.read(size))
    except Exception as error:
        raise InvalidRequest("the body could not be read to its end") from error
