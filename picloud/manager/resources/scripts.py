"""`/api/v1/scripts`, and what is active of one."""

from datetime import datetime
from typing import Annotated, Any, Literal

import falcon
import msgspec
from msgspec import Meta

from picloud.auth import Scope
from picloud.errors import PreconditionFailed, UnsupportedMediaType
from picloud.manager.scripts import SOURCE_BYTES_MAX, Scripts
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.reading import Paging, Query, ScriptName, read_body
from picloud.messages.writing import Page, send_json, send_page
from picloud.model import Condition, Script, Settings

_TAG_PATTERN = '^"[0-9]{1,9}"$'
_LUA_TYPES = ("", "text/x-lua", "text/plain", "application/octet-stream", "application/x-www-form-urlencoded")


class ScriptShape(msgspec.Struct):
    """One script as the API shows it."""

    name: str
    active_version: int
    url: str
    settings: Settings
    created_at: datetime
    updated_at: datetime


class UploadedShape(msgspec.Struct):
    """What became of an upload."""

    script: str
    version: int
    url: str


class NamedUploadQuery(Query):
    """Of an upload whose path does not say to which script."""

    name: ScriptName


_TAG: dict[str, Any] = {"ETag": Annotated[str, Meta(pattern=_TAG_PATTERN, description="the active version")]}
_UPLOAD: dict[str, Any] = {
    "media": dict.fromkeys(_LUA_TYPES[1:]),
    "headers": {
        "If-Match": Annotated[str, Meta(pattern=_TAG_PATTERN, description="upload only while this version is active")],
        "If-None-Match": Annotated[Literal["*"], Meta(description="upload only if there is no such script yet")],
    },
    "answers": {
        200: Answer(UploadedShape, headers=_TAG, meaning="The active version has this source already"),
        201: Answer(UploadedShape, headers=_TAG, meaning="Stored, and active"),
    },
    "problems": ("body-too-large", "precondition-failed", "syntax-error", "unsupported-media-type"),
}


class ScriptsResource:
    """`/api/v1/scripts`"""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @endpoint(Scope.READ, query=Paging, answers={200: Page[ScriptShape]}, by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response, query: Paging) -> None:
        """List scripts by name."""
        only = req.context.principal.scripts
        send_page(
            resp, self._scripts.page(query.limit, query.after, only), query.limit, script_shape, lambda it: it.name
        )

    @endpoint(Scope.DEPLOY, query=NamedUploadQuery, by_script=True, **_UPLOAD)
    def on_post(self, req: falcon.Request, resp: falcon.Response, query: NamedUploadQuery) -> None:
        """Upload to the script that `?name=` names; as PUT `/api/v1/scripts/NAME`."""
        req.context.principal.require(Scope.DEPLOY, query.name)
        _upload(self._scripts, query.name, req, resp)


class ScriptResource:
    """`/api/v1/scripts/NAME`"""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @endpoint(Scope.READ, answers={200: Answer(ScriptShape, headers=_TAG)}, problems=("not-found",))
    def on_get(self, _req: falcon.Request, resp: falcon.Response, script: str) -> None:
        """One script; `ETag` is its active version."""
        found = self._scripts.get(script)
        resp.set_header("etag", f'"{found.active_version}"')
        send_json(resp, script_shape(found))

    @endpoint(Scope.DEPLOY, **_UPLOAD)
    def on_put(self, req: falcon.Request, resp: falcon.Response, script: str) -> None:
        """Upload a new version and make it the active one.

        The body is Lua source of at most 1 MiB: text/x-lua, text/plain, application/octet-stream, curl's default type.
        It is compiled before anything is stored. `If-Match: "N"`: only while N is active; `If-None-Match: *`: only new.
        200: the active version has the same source.
        """
        _upload(self._scripts, script, req, resp)

    @endpoint(Scope.DEPLOY, answers={204: None}, problems=("not-found",))
    def on_delete(self, _req: falcon.Request, resp: falcon.Response, script: str) -> None:
        """Drop the script, its versions, settings and routes; its invocations stay."""
        self._scripts.delete(script)
        resp.status = 204


class ActiveResource:
    """`/api/v1/scripts/NAME/active`"""

    class Wanted(msgspec.Struct, forbid_unknown_fields=True):
        """Which version is to be the active one."""

        version: Annotated[int, Meta(ge=1, le=2_147_483_647)]

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @endpoint(Scope.DEPLOY, body=Wanted, answers={200: ScriptShape}, problems=("not-found",))
    def on_put(self, _req: falcon.Request, resp: falcon.Response, script: str, body: Wanted) -> None:
        """Make another version the active one: a rollback, or a roll forward."""
        send_json(resp, script_shape(self._scripts.activate(script, body.version)))


def script_shape(it: Script) -> ScriptShape:
    """How a script is shown."""
    return ScriptShape(it.name, it.active_version, f"/fn/{it.name}", it.settings, it.created_at, it.updated_at)


def _upload(scripts: Scripts, name: str, req: falcon.Request, resp: falcon.Response) -> None:
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    if media_type not in _LUA_TYPES:
        raise UnsupportedMediaType(
            f"'{media_type}' is not taken; send Lua source as one of {', '.join(_LUA_TYPES[1:])}"
        )
    condition = _condition(req)
    done = scripts.upload(name, read_body(req.env, SOURCE_BYTES_MAX), req.context.principal.name, condition)
    resp.set_header("etag", f'"{done.version}"')
    send_json(resp, UploadedShape(name, done.version, f"/fn/{name}"), 201 if done.created else 200)


def _condition(req: falcon.Request) -> Condition:
    """`If-Match: "N"`: N is the active version. `If-None-Match: *`: there is no such script. InvalidRequest."""
    match, none_match = req.get_header("if-match"), req.get_header("if-none-match")
    if none_match not in (None, "*"):
        raise PreconditionFailed("If-None-Match takes '*' only: upload if there is no such script yet")
    if match is None:
        return Condition(create_only=none_match == "*")
    number = match.strip().removeprefix('"').removesuffix('"')
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise PreconditionFailed(f"no version has the ETag {match!r}; an ETag is the active version's number in quotes")
    return Condition(active_version=int(number), create_only=none_match == "*")
