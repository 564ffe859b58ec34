"""What an upload is over HTTP: its query, its conditions, its body, its answer."""

from typing import Annotated, Any, Literal

import falcon
import msgspec
from msgspec import Meta

from picloud.errors import InvalidRequest, PreconditionFailed
from picloud.manager import bundle
from picloud.manager.files import ENTRY, FILES_MAX
from picloud.manager.uploads import Uploads
from picloud.messages.endpoint import Answer
from picloud.messages.reading import Query, ScriptName, form, has_body, read_body
from picloud.messages.writing import send_json
from picloud.model import Condition

_LUA = {"type": "string", "format": "lua"}
_FILES = {
    "required": [ENTRY],
    "properties": {ENTRY: _LUA},
    "patternProperties": {r"\.lua$": _LUA},
    "propertyNames": {"format": "path-in-a-bundle"},
    "maxProperties": FILES_MAX,
}

Lua = Annotated[str, form("lua", "source that compiles")]


class Bundle(msgspec.Struct, forbid_unknown_fields=True):
    """Files as JSON."""

    files: Annotated[dict[str, str], Meta(description="path → text", extra_json_schema=_FILES)]


class UploadedShape(msgspec.Struct):
    """What became of an upload."""

    script: str
    version: int
    url: str


class UploadQuery(Query):
    """Of an upload."""

    activate: Annotated[bool, Meta(description="false: store the version, and leave the active one active")] = True


class NamedUploadQuery(UploadQuery, kw_only=True):
    """Of an upload whose path does not say to which script."""

    name: ScriptName


TAG: dict[str, Any] = {"ETag": Annotated[str, Meta(pattern='^"[0-9]{1,9}"$', description="the active version")]}

_MATCH = 'upload only while this version is active (`"N"`), or only if there is such a script (`*`)'

_TYPES = {bundle.Kind.LUA: Lua, bundle.Kind.JSON: Bundle, bundle.Kind.TAR: None}
_NO_FORM = {bundle.FORM: None}  # it says that it is one: no schema of a form tells what is taken

DECLARED: dict[str, Any] = {
    "media": {name: _TYPES[kind] for name, kind in bundle.MEDIA_TYPES.items()} | _NO_FORM,
    "headers": {
        "If-Match": Annotated[str, Meta(pattern=r'^("[0-9]{1,9}"|\*)$', description=_MATCH)],
        "If-None-Match": Annotated[Literal["*"], Meta(description="upload only if there is no such script yet")],
    },
    "answers": {
        200: Answer(UploadedShape, headers=TAG, meaning="The active version has these files already"),
        201: Answer(UploadedShape, headers=TAG, meaning="Stored, and active unless `?activate=false`"),
    },
    "problems": ("body-too-large", "executor-lost", "precondition-failed", "syntax-error", "unsupported-media-type"),
}
"""What the endpoints that take uploads declare."""


def receive(uploads: Uploads, name: str, query: UploadQuery, req: falcon.Request, resp: falcon.Response) -> None:
    """Read the files, upload them, and say what became of it; `ETag` is the version that is active now."""
    kind = bundle.kind_of(req.content_type or "", req.get_header("content-encoding") or "")
    condition = _condition(req)
    if not has_body(req.env):
        raise InvalidRequest("there is no body: send the script's source, or a bundle")
    files = bundle.read(kind, read_body(req.env, bundle.body_bytes_max(kind)))
    who = req.context.principal
    done = uploads.upload(name, files, who.name, condition, activate=query.activate, only=who.scripts)
    resp.set_header("etag", f'"{done.active_version}"')
    send_json(resp, UploadedShape(name, done.version, f"/fn/{name}"), 201 if done.created else 200)


def _condition(req: falcon.Request) -> Condition:
    """`If-Match: "N"`: N is the active version; `*`: there is one. `If-None-Match: *`: there is no such script."""
    match, none_match = req.get_header("if-match"), req.get_header("if-none-match")
    if none_match not in (None, "*"):
        raise PreconditionFailed("If-None-Match takes '*' only: upload if there is no such script yet")
    create_only = none_match == "*"
    if match is None or match.strip() == "*":
        return Condition(create_only=create_only, update_only=match is not None)
    number = match.strip().removeprefix('"').removesuffix('"')
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise PreconditionFailed(f"no version has the ETag {match!r}; an ETag is the active version's number in quotes")
    return Condition(active_version=int(number), create_only=create_only)
