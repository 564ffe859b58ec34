"""`/api/v1/scripts/NAME/kv`: what a script keeps, as `kv` in it does."""

from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated, Any

import falcon
import msgspec
from msgspec import UNSET, Meta, UnsetType

from picloud.auth import Principal, Scope
from picloud.errors import Forbidden, UnsupportedMediaType
from picloud.manager.values import Values, value_of
from picloud.messages import conditions
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.forms import form
from picloud.messages.reading import CURSOR, MEDIA_JSON, PAGE_MAX, Query, read_body
from picloud.messages.writing import Page, send_json
from picloud.model import SPACE_NAME, VALUE_BYTES_MAX, Entry, ValueKind, is_last_page

MEDIA_BYTES = "application/octet-stream"
_JSON_TYPES = ("", MEDIA_JSON, "application/x-www-form-urlencoded")  # the last is what curl says if nothing is said
_BODY_BYTES_MAX = 6 * VALUE_BYTES_MAX + 2  # a byte of text may be six of JSON's
_TTL_S_MAX = 10 * 366 * 24 * 60 * 60

_Space = Annotated[str, Meta(pattern=f"^({SPACE_NAME.pattern})?$", description="a shared space; without it, its own")]
_Cursor = Annotated[str, Meta(pattern="^[A-Za-z0-9_=-]{0,700}$", description=CURSOR)]
_Ttl = Annotated[int, Meta(ge=1, le=_TTL_S_MAX, description="in how many seconds it is gone; without it, never")]


class SpaceQuery(Query):
    """In which space."""

    space: _Space = ""


class ValuesQuery(SpaceQuery):
    """Which values."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX, description="how many items at most")] = 50
    after: _Cursor = ""
    prefix: Annotated[str, form("printable", "what the keys begin with")] = ""


class PutQuery(SpaceQuery):
    """How to store a value."""

    ttl: _Ttl | None = None


class ValueShape(msgspec.Struct):
    """A key with its value: JSON as `value`, or bytes as `value_base64`."""

    key: str
    version: int
    bytes: Annotated[int, Meta(description="of the value")]
    expires_at: datetime | None
    value: Any = UNSET
    value_base64: str | UnsetType = UNSET


class StoredShape(msgspec.Struct):
    """A value that was stored."""

    key: str
    version: int
    bytes: Annotated[int, Meta(description="of the value")]
    expires_at: datetime | None


class ValuesResource:
    """`/api/v1/scripts/NAME/kv`"""

    def __init__(self, values: Values) -> None:
        self._values = values

    @endpoint(Scope.READ, query=ValuesQuery, answers={200: Page[ValueShape]}, problems=("not-found",))
    def on_get(self, req: falcon.Request, resp: falcon.Response, script: str, query: ValuesQuery) -> None:
        """List what a script keeps, in the order of the keys' bytes.

        With `?space=` what it shares with others, for a token that is not limited to scripts. A page ends early where
        values are large; what has expired is not there.
        """
        _require_all_scripts(req.context.principal, query.space)
        found = self._values.page(script, query.space, query.prefix, _key_of(query.after), query.limit)
        following = None if is_last_page(found, query.limit) else _cursor(found[-1].key)
        send_json(resp, Page([_shape(it) for it in found], following))


class ValueResource:
    """`/api/v1/scripts/NAME/kv/KEY`"""

    def __init__(self, values: Values) -> None:
        self._values = values

    @endpoint(
        Scope.READ,
        query=SpaceQuery,
        answers={200: Answer(Any, media=(MEDIA_BYTES,), headers=conditions.VALUE_ETAG)},
        problems=("not-found",),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, script: str, key: str, query: SpaceQuery) -> None:
        """One value as it was stored: JSON, or bytes as `application/octet-stream`; `ETag` is its version.

        `Picloud-Expires` says when it is gone, if ever.
        """
        _require_all_scripts(req.context.principal, query.space)
        entry = self._values.get(script, query.space, key)
        _set_headers(resp, entry)
        resp.content_type = MEDIA_BYTES if entry.value.kind is ValueKind.BYTES else MEDIA_JSON
        resp.data = entry.value.raw if entry.value.kind is ValueKind.BYTES else entry.value.document.encode()

    @endpoint(
        Scope.DEPLOY,
        query=PutQuery,
        media={MEDIA_JSON: Any, MEDIA_BYTES: None},
        headers={**conditions.IF_VALUE_MATCH, **conditions.IF_NEW_VALUE},
        answers={200: Answer(StoredShape, headers=conditions.VALUE_ETAG)},
        problems=("not-found", "precondition-failed", "unsupported-media-type"),
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response, script: str, key: str, query: PutQuery) -> None:
        """Store a value: the body is JSON, or as `application/octet-stream` any bytes, at most 256 KiB.

        The key is the rest of the path, decoded: 1 to 512 bytes, slashes too. `ETag` is the new version. With
        `If-Match` only over that version, with `If-None-Match: *` only if there is none. Bytes that are UTF-8 are text.
        409: there is no room left in the space.
        """
        _require_all_scripts(req.context.principal, query.space)
        is_json = _is_json(req)
        value = value_of(read_body(req.env, _BODY_BYTES_MAX), is_json=is_json)
        ttl_ms = query.ttl and query.ttl * 1000
        condition = conditions.only_if_or_new(req, conditions.VALUE_VERSION)
        entry = self._values.put(script, query.space, key, value, ttl_ms, condition)
        _set_headers(resp, entry)
        send_json(resp, StoredShape(entry.key, entry.version, entry.value.size, entry.expires_at))

    @endpoint(
        Scope.DEPLOY,
        query=SpaceQuery,
        headers=conditions.IF_VALUE_MATCH,
        answers={204: None},
        problems=("not-found", "precondition-failed"),
    )
    def on_delete(self, req: falcon.Request, resp: falcon.Response, script: str, key: str, query: SpaceQuery) -> None:
        """Remove a value; with `If-Match` only that version."""
        _require_all_scripts(req.context.principal, query.space)
        condition = conditions.only_if(req, conditions.VALUE_VERSION)
        self._values.delete(script, query.space, key, condition)
        resp.status = 204


def _require_all_scripts(principal: Principal, space: str) -> None:
    """What scripts share is for who may reach all of them."""
    if space and principal.scripts is not None:
        raise Forbidden("this token is limited to scripts, and a shared space is about more than a script")


def _is_json(req: falcon.Request) -> bool:
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    if media_type not in (*_JSON_TYPES, MEDIA_BYTES):
        raise UnsupportedMediaType(f"'{media_type[:100]}' is not taken here; send {MEDIA_JSON} or {MEDIA_BYTES}")
    return media_type != MEDIA_BYTES


def _set_headers(resp: falcon.Response, entry: Entry) -> None:
    resp.set_header("etag", f'"{entry.version}"')
    if entry.expires_at:
        resp.set_header("picloud-expires", msgspec.to_builtins(entry.expires_at))


def _shape(it: Entry) -> ValueShape:
    if it.value.kind is ValueKind.BYTES:
        raw = b64encode(it.value.raw).decode()
        return ValueShape(it.key, it.version, it.value.size, it.expires_at, value_base64=raw)
    return ValueShape(it.key, it.version, it.value.size, it.expires_at, msgspec.Raw(it.value.document.encode()))


def _cursor(key: str) -> str:
    return urlsafe_b64encode(key.encode()).decode()


def _key_of(cursor: str) -> str:
    """The key that a cursor names; of what is none, whatever it says."""
    padded = cursor.rstrip("=") + "=" * (-len(cursor.rstrip("=")) % 4)
    try:
        return urlsafe_b64decode(padded).decode("utf-8", "ignore").replace("\0", "")
    except ValueError:
        return ""
