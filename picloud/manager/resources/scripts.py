"""`/api/v1/scripts`, and what is active of one."""

from datetime import datetime
from typing import Annotated

import falcon
import msgspec
from msgspec import Meta

from picloud.auth import Scope
from picloud.manager.resources.uploads import DECLARED, DECLARED_NAMED, NamedUploadQuery, UploadQuery, receive
from picloud.manager.scripts import Scripts
from picloud.manager.uploads import Uploads
from picloud.messages import conditions
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.reading import Paging
from picloud.messages.writing import Page, send_json, send_page
from picloud.model import Script, Settings


class ScriptShape(msgspec.Struct):
    """One script as the API shows it."""

    name: str
    active_version: int
    url: str
    settings: Settings
    created_at: datetime
    updated_at: datetime


_WITH_TAG = Answer(ScriptShape, headers=conditions.ETAG)


class ScriptsResource:
    """`/api/v1/scripts`"""

    def __init__(self, scripts: Scripts, uploads: Uploads) -> None:
        self._scripts = scripts
        self._uploads = uploads

    @endpoint(Scope.READ, query=Paging, answers={200: Page[ScriptShape]}, by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response, query: Paging) -> None:
        """List scripts by name."""
        only = req.context.principal.scripts
        send_page(
            resp, self._scripts.page(query.limit, query.after, only), query.limit, script_shape, lambda it: it.name
        )

    @endpoint(Scope.DEPLOY, query=NamedUploadQuery, by_script=True, **DECLARED_NAMED)
    def on_post(self, req: falcon.Request, resp: falcon.Response, query: NamedUploadQuery) -> None:
        """Upload to the script that `?name=` names; as PUT `/api/v1/scripts/NAME`."""
        req.context.principal.require(Scope.DEPLOY, query.name)
        if receive(self._uploads, query.name, query, req, resp).created:
            resp.location = f"/api/v1/scripts/{query.name}"


class ScriptResource:
    """`/api/v1/scripts/NAME`"""

    def __init__(self, scripts: Scripts, uploads: Uploads) -> None:
        self._scripts = scripts
        self._uploads = uploads

    @endpoint(Scope.READ, answers={200: _WITH_TAG}, problems=("not-found",))
    def on_get(self, _req: falcon.Request, resp: falcon.Response, script: str) -> None:
        """One script; `ETag` is its active version."""
        _send(resp, self._scripts.get(script))

    @endpoint(Scope.DEPLOY, query=UploadQuery, **DECLARED)
    def on_put(self, req: falcon.Request, resp: falcon.Response, script: str, query: UploadQuery) -> None:
        """Upload a new version, and make it the active one unless `?activate=false`.

        The body is Lua source, or a bundle with main.lua: a tar, gzipped or not, or JSON. At most 100 files and 1 MiB.
        A bundle's picloud.toml is applied when its version is first active. All is checked and every Lua file compiled
        before anything is stored. `ETag` is the active version.
        200: the active version has the same files.
        """
        receive(self._uploads, script, query, req, resp)

    @endpoint(
        Scope.DEPLOY, headers=conditions.IF_MATCH, answers={204: None}, problems=("not-found", "precondition-failed")
    )
    def on_delete(self, req: falcon.Request, resp: falcon.Response, script: str) -> None:
        """Drop the script, its versions, settings, routes and values; its invocations stay."""
        self._scripts.delete(script, conditions.only_if(req))
        resp.status = 204


class ActiveResource:
    """`/api/v1/scripts/NAME/active`"""

    class Wanted(msgspec.Struct, forbid_unknown_fields=True):
        """Which version is to be the active one."""

        version: Annotated[int, Meta(ge=1, le=2_147_483_647)]

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @endpoint(
        Scope.DEPLOY,
        body=Wanted,
        headers=conditions.IF_MATCH,
        answers={200: _WITH_TAG},
        problems=("not-found", "conflict", "precondition-failed"),
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response, script: str, body: Wanted) -> None:
        """Make another version the active one: a rollback, or a roll forward.

        The first time also what its picloud.toml declares is applied, in the same transaction: `conflict` names a route
        that clashes. Later times leave settings and routes alone.
        """
        only = req.context.principal.scripts
        _send(resp, self._scripts.activate(script, body.version, conditions.only_if(req), only))


def _send(resp: falcon.Response, script: Script) -> None:
    resp.set_header("etag", conditions.version_tag(script.active_version))
    send_json(resp, script_shape(script))


def script_shape(it: Script) -> ScriptShape:
    """How a script is shown."""
    return ScriptShape(it.name, it.active_version, f"/fn/{it.name}", it.settings, it.created_at, it.updated_at)
