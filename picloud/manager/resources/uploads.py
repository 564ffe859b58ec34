"""What an upload is over HTTP: its query, its conditions, its body, its answer."""

from dataclasses import replace
from typing import Annotated, Any

import falcon
import msgspec
from msgspec import Meta

from picloud.errors import InvalidRequest
from picloud.manager import bundle
from picloud.manager.files import ENTRY, FILES_MAX
from picloud.manager.uploads import Uploads
from picloud.messages import conditions
from picloud.messages.endpoint import Answer
from picloud.messages.forms import form
from picloud.messages.reading import Query, ScriptName, has_body, read_body
from picloud.messages.writing import send_json
from picloud.model import Uploaded

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


_TYPES = {bundle.Kind.LUA: Lua, bundle.Kind.JSON: Bundle, bundle.Kind.TAR: None}
_NO_FORM = {bundle.FORM: None}  # it says that it is one: no schema of a form tells what is taken

_STORED = Answer(UploadedShape, headers=conditions.ETAG, meaning="Stored, and active unless `?activate=false`")

DECLARED: dict[str, Any] = {
    "media": {name: _TYPES[kind] for name, kind in bundle.MEDIA_TYPES.items()} | _NO_FORM,
    "headers": {**conditions.IF_MATCH, **conditions.IF_NEW},
    "answers": {
        200: Answer(UploadedShape, headers=conditions.ETAG, meaning="The active version has these files already"),
        201: _STORED,
    },
    "problems": ("body-too-large", "executor-lost", "precondition-failed", "syntax-error", "unsupported-media-type"),
}
"""What the endpoints that take uploads declare."""

_PLACE = {"Location": Annotated[str, Meta(description="the script's path")]}

DECLARED_NAMED: dict[str, Any] = DECLARED | {
    "answers": DECLARED["answers"] | {201: replace(_STORED, headers={**_STORED.headers, **_PLACE})}
}
"""The same, where the path does not say to which script."""


def receive(uploads: Uploads, name: str, query: UploadQuery, req: falcon.Request, resp: falcon.Response) -> Uploaded:
    """Read the files, upload them, and say what became of it; `ETag` is the version that is active now."""
    kind = bundle.kind_of(req.content_type or "", req.get_header("content-encoding") or "")
    condition = conditions.only_if_or_new(req)
    if not has_body(req.env):
        raise InvalidRequest("there is no body: send the script's source, or a bundle")
    files = bundle.read(kind, read_body(req.env, bundle.body_bytes_max(kind)))
    who = req.context.principal
    done = uploads.upload(name, files, who.name, condition, activate=query.activate, only=who.scripts)
    resp.set_header("etag", conditions.version_tag(done.active_version))
    send_json(resp, UploadedShape(name, done.version, f"/fn/{name}"), 201 if done.created else 200)
    return done
