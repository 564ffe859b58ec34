"""Queries and bodies: typed, bounded, and refused with the field that is wrong."""

import difflib
import enum
import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Annotated, Any, TypeVar, get_args

import falcon
import msgspec

from picloud.errors import BodyTooLarge, InvalidRequest, NotFound
from picloud.model import SCRIPT_NAME

PAGE_MAX = 500
SCRIPT_PATTERN = f"^{SCRIPT_NAME.pattern}$"
SCRIPT_NAME_RULE = "lower-case letters, digits and '-', at most 63, no '-' first"

ScriptName = Annotated[str, msgspec.Meta(pattern=SCRIPT_PATTERN, description="a script's name")]

CURSOR = "the `next` of the page before"

BODY = "the body: "  # before a field of it that is wrong
_QUERY = "?"

_CURSOR_PATTERN = "^[!-~]{0,200}$"  # visible ASCII
_JSON_BYTES_MAX = 512 * 1024  # 64 KiB of variables, a byte of which may be six of JSON's
READING = "picloud.reading"  # in a WSGI environ: gives a context manager, one for each body that is read

_CHUNK_BYTES = 64 * 1024
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_NO_MEMBER = re.compile(r"Invalid enum value '(.*)'", re.DOTALL)

Typed = TypeVar("Typed")


class Query(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What may stand behind the question mark: one field a parameter."""


Asked = TypeVar("Asked", bound=Query)


class Paging(Query):
    """Which page of a list; `after` is the `next` of the page before."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX, description="how many items at most")] = 50
    after: Annotated[str, msgspec.Meta(pattern=_CURSOR_PATTERN, description=CURSOR)] = ""


def form(name: str, meaning: str) -> msgspec.Meta:
    """Of a text with rules that a schema cannot say: they have a name there, and are checked elsewhere."""
    return msgspec.Meta(description=meaning, extra_json_schema={"format": name})


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
    """The body as a typed message; InvalidRequest says which field is wrong."""
    body = read_body(req.env, bytes_max)
    try:
        return msgspec.convert(_decoder.decode(body), kind)
    except msgspec.ValidationError as error:
        raise invalid(kind, error, BODY) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is no JSON that is taken here: {error}") from error


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


def invalid(kind: Any, error: msgspec.ValidationError, where: str) -> InvalidRequest:
    """What msgspec found wrong, for people and by field; `where` is put before the field's path."""
    message, _, path = str(error).partition(" - at `")
    field = path.removesuffix("`").removeprefix("$").removeprefix(".")
    if unknown := _UNKNOWN.fullmatch(message):
        field = ".".join(filter(None, (field, unknown[1])))
        message = "is not known" + _did_you_mean(unknown[1], _names(kind))
    elif stranger := _NO_MEMBER.fullmatch(message):
        message = f"'{stranger[1]}' is not known" + _did_you_mean(stranger[1], _members(kind))
    return InvalidRequest.of(field, message, where) if field else InvalidRequest(where + message)


def path_number(text: str, what: str) -> int:
    """A whole number in the path; what is not one does not exist."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotFound(f"there is no {what} '{text}'")
    return int(text)


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


def _did_you_mean(word: str, known: Iterator[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _names(kind: Any) -> Iterator[str]:
    """Every field of a message and of those inside it."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            yield field.encode_name
            yield from _names(field.type)
    for inner in get_args(kind):
        yield from _names(inner)


def _members(kind: Any) -> Iterator[str]:
    """Every value of the enums in a message and in those inside it."""
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        yield from kind
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            yield from _members(field.type)
    for inner in get_args(kind):
        yield from _members(inner)


def _next_part(stream: Any, size: int) -> bytes:
    try:
        return bytes(stream.read(size))
    except Exception as error:
        raise InvalidRequest("the body could not be read to its end") from error
