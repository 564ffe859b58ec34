"""`/api/v1/scripts…`: the control plane as HTTP. Each docstring is the reference of its endpoint."""

from dataclasses import asdict
from typing import Any

import falcon
import msgspec

from picloud.auth import Scope
from picloud.errors import InvalidRequest, PreconditionFailed, UnsupportedMediaType
from picloud.manager.scripts import SOURCE_BYTES_MAX, Scripts, Versions
from picloud.messages import (
    flag_parameter,
    number_parameter,
    page_limit,
    path_number,
    read_body,
    read_json,
    require,
    send_json,
    send_page,
    text_parameter,
)
from picloud.model import Condition, Script

_NEWEST = 2_147_483_647
_LUA_TYPES = ("", "text/x-lua", "text/plain", "application/octet-stream", "application/x-www-form-urlencoded")


class ScriptsResource:
    """`/api/v1/scripts`"""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List scripts by name; `?limit=&after=NAME`. Scope `read`.

        200: `{"items": [script], "next": NAME or null}`.
        """
        require(req, Scope.READ)
        limit = page_limit(req)
        found = self._scripts.page(limit, text_parameter(req, "after"))
        send_page(resp, found, limit, script_shape, lambda script: script.name)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Upload to the script that `?name=` names; as PUT `/api/v1/scripts/NAME`."""
        name = text_parameter(req, "name")
        if not name:
            raise InvalidRequest(
                "?name= is missing: POST /api/v1/scripts?name=NAME", [{"field": "name", "message": "missing"}]
            )
        _upload(self._scripts, name, req, resp)


class ScriptResource:
    """`/api/v1/scripts/NAME`"""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """One script; `ETag` is its active version. Scope `read`. 200 script, 404."""
        require(req, Scope.READ)
        script = self._scripts.get(name)
        resp.set_header("etag", f'"{script.active_version}"')
        send_json(resp, script_shape(script))

    def on_put(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Upload a new version and make it the active one. Scope `deploy`.

        The body is Lua source of at most 1 MiB: text/x-lua, text/plain, application/octet-stream, curl's default type.
        It is compiled before anything is stored. `If-Match: "N"`: only while N is active; `If-None-Match: *`: only new.
        201, or 200 if the active version has the same source: `{"script", "version", "url"}`;
        412; 413; 415; 422 `syntax-error` with `file`, `line`.
        """
        _upload(self._scripts, name, req, resp)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Drop the script, its versions and settings; its invocations stay. Scope `deploy`. 204, 404."""
        require(req, Scope.DEPLOY)
        self._scripts.delete(name)
        resp.status = 204


class ActiveResource:
    """`/api/v1/scripts/NAME/active`"""

    class Wanted(msgspec.Struct, forbid_unknown_fields=True):
        """`{"version": N}`"""

        version: int

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def on_put(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Make version N the active one: a rollback, or a roll forward. Scope `deploy`. 200 script, 404."""
        require(req, Scope.DEPLOY)
        wanted = read_json(req, ActiveResource.Wanted).version
        if not 0 < wanted <= _NEWEST:
            raise InvalidRequest(
                "version must be a positive number", [{"field": "version", "message": "must be positive"}]
            )
        send_json(resp, script_shape(self._scripts.activate(name, wanted)))


class VersionsResource:
    """`/api/v1/scripts/NAME/versions`"""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """List versions, newest first; `?limit=&after=N`. Scope `read`. 200 page of versions, 404."""
        require(req, Scope.READ)
        limit = page_limit(req)
        before = number_parameter(req, "after", _NEWEST, 1, _NEWEST)
        found = self._versions.page(name, limit, before)
        send_page(resp, found, limit, asdict, lambda version: version.version)


class VersionResource:
    """`/api/v1/scripts/NAME/versions/N`"""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str, number: str) -> None:
        """One version; with `?source=true` its text as `source`. Scope `read`. 200, 404."""
        require(req, Scope.READ)
        version = self._versions.get(name, path_number(number, "version"))
        shape: dict[str, Any] = asdict(version)
        if flag_parameter(req, "source"):
            shape["source"] = self._versions.source(name, version.version).decode("utf-8", "replace")
        send_json(resp, shape)


def script_shape(script: Script) -> dict[str, object]:
    """script `{name, active_version, url, settings, created_at, updated_at}`."""
    return {
        "name": script.name,
        "active_version": script.active_version,
        "url": f"/fn/{script.name}",
        "settings": asdict(script.settings),
        "created_at": script.created_at,
        "updated_at": script.updated_at,
    }


def _upload(scripts: Scripts, name: str, req: falcon.Request, resp: falcon.Response) -> None:
    principal = require(req, Scope.DEPLOY)
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    if media_type not in _LUA_TYPES:
        raise UnsupportedMediaType(
            f"'{media_type}' is not taken; send Lua source as one of {', '.join(_LUA_TYPES[1:])}"
        )
    if "activate" in req.params:
        raise InvalidRequest(
            "?activate= is not available in this version", [{"field": "activate", "message": "unknown"}]
        )
    condition = _condition(req)
    done = scripts.upload(name, read_body(req.env, SOURCE_BYTES_MAX), principal.name, condition)
    resp.set_header("etag", f'"{done.version}"')
    send_json(resp, {"script": name, "version": done.version, "url": f"/fn/{name}"}, 201 if done.created else 200)


def _condition(req: falcon.Request) -> Condition:
    """`If-Match: "N"`: N is the active version. `If-None-Match: *`: there is no such script. InvalidRequest."""
    match, none_match = req.get_header("if-match"), req.get_header("if-none-match")
    if none_match not in (None, "*"):
        raise InvalidRequest("If-None-Match takes '*' only: upload if there is no such script yet")
    if match is None:
        return Condition(create_only=none_match == "*")
    number = match.strip().removeprefix('"').removesuffix('"')
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise PreconditionFailed(f"no version has the ETag {match!r}; an ETag is the active version's number in quotes")
    return Condition(active_version=int(number), create_only=none_match == "*")
