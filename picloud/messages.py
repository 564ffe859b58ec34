"""One exchange of the API: bodies, query parameters and pages in, JSON out.

Owns: how any resource reads its request and writes its answer. Knows nothing of what a resource means.
Times are RFC 3339 in UTC, sizes in bytes, durations in ms. A list is `{"items": […], "next": CURSOR or null}`.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import falcon
import msgspec

from picloud.auth import Principal, Scope
from picloud.errors import BodyTooLarge, InvalidRequest, NotFound

PAGE_MAX = 500
PAGE_DEFAULT = 50

_JSON_BYTES_MAX = 64 * 1024
_CHUNK_BYTES = 64 * 1024

Item = TypeVar("Item")
Typed = TypeVar("Typed")


def require(req: falcon.Request, scope: Scope) -> Principal:
    """Who is asking, if they may; Forbidden."""
    principal: Principal = req.context.principal
    principal.require(scope)
    return principal


def has_body(environ: dict[str, Any]) -> bool:
    """Whether the request announces a body."""
    return environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ


def read_body(environ: dict[str, Any], bytes_max: int) -> bytes:
    """The whole body, by length or in chunks; BodyTooLarge before more than bytes_max are kept, InvalidRequest."""
    declared = int(environ.get("CONTENT_LENGTH") or 0)
    if declared > bytes_max:
        raise BodyTooLarge(f"the body has {declared} bytes, at most {bytes_max} are taken")
    stream, parts, size = environ["wsgi.input"], [], 0
    while size <= bytes_max and (part := _next_part(stream, min(_CHUNK_BYTES, bytes_max + 1 - size))):
        parts.append(part)
        size += len(part)
    if size > bytes_max:
        raise BodyTooLarge(f"the body has more than {bytes_max} bytes, which is the limit")
    if size < declared:
        raise InvalidRequest(f"the body ended after {size} of {declared} bytes")
    return b"".join(parts)


def read_json(req: falcon.Request, kind: type[Typed]) -> Typed:
    """The body as a typed message; InvalidRequest says which field is wrong."""
    body = read_body(req.env, _JSON_BYTES_MAX)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the body is not what is asked for: {error}") from error


def page_limit(req: falcon.Request) -> int:
    """`?limit=`: 1 to PAGE_MAX."""
    return number_parameter(req, "limit", PAGE_DEFAULT, 1, PAGE_MAX)


def number_parameter(req: falcon.Request, name: str, default: int, least: int, most: int) -> int:
    """A whole number in the query; InvalidRequest."""
    text = req.get_param(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        message = f"must be a whole number from {least} to {most}"
        raise InvalidRequest(f"?{name}={text}: {message}", [{"field": name, "message": message}])
    return int(text)


def text_parameter(req: falcon.Request, name: str) -> str:
    """A text in the query, "" if it is not there; InvalidRequest for control characters: nothing here has any."""
    text = req.get_param(name) or ""
    if not text.isprintable():
        message = "must not have control characters"
        raise InvalidRequest(f"?{name}=: {message}", [{"field": name, "message": message}])
    return text


def flag_parameter(req: falcon.Request, name: str) -> bool:
    """`true` or `false` in the query, false if it is not there; InvalidRequest."""
    text = text_parameter(req, name) or "false"
    if text not in ("true", "false"):
        message = "must be true or false"
        raise InvalidRequest(f"?{name}={text}: {message}", [{"field": name, "message": message}])
    return text == "true"


def path_number(text: str, what: str) -> int:
    """A whole number in the path; what is not one does not exist."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotFound(f"there is no {what} '{text}'")
    return int(text)


def send_json(resp: falcon.Response, value: object, status: int = 200) -> None:
    """Answer with JSON."""
    resp.status = status
    resp.content_type = "application/json"
    resp.data = msgspec.json.encode(value)


def send_page(
    resp: falcon.Response,
    items: Sequence[Item],
    limit: int,
    show: Callable[[Item], object],
    cursor: Callable[[Item], object],
) -> None:
    """Answer with a page; `next` is the cursor of its last item if there may be more."""
    following = cursor(items[-1]) if len(items) == limit else None
    send_json(resp, {"items": [show(item) for item in items], "next": None if following is None else str(following)})


def _next_part(stream: Any, size: int) -> bytes:
    try:
        return bytes(stream.read(size))
    except Exception as error:
        raise InvalidRequest("the body could not be read to its end") from error
