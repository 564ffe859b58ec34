"""`/api/v1/scripts/NAME/versions`: what was uploaded."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

import falcon
import msgspec
from msgspec import UNSET, Meta, UnsetType

from picloud.auth import Scope
from picloud.manager import archive
from picloud.manager.files import ENTRY
from picloud.manager.scripts import Versions
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.reading import CURSOR, Paging, Query, path_number
from picloud.messages.writing import Page, send_json, send_page
from picloud.model import Version

TAR = "application/x-tar"

_NEWEST = 2_147_483_647


class VersionShape(msgspec.Struct, omit_defaults=True):
    """One version as the API shows it."""

    script: str
    version: int
    sha256: str
    bytes: int
    created_at: datetime
    created_by: str
    source: Annotated[str, Meta(description="the text of main.lua, if asked for")] | UnsetType = UNSET
    files: Annotated[dict[str, str], Meta(description="path → text, if asked for")] | UnsetType = UNSET
    files_base64: Annotated[dict[str, str], Meta(description="those that are not UTF-8")] | UnsetType = UNSET


class VersionsQuery(Paging):
    """Which page of the versions, newest first."""

    after: Annotated[int, msgspec.Meta(ge=1, le=_NEWEST, description=CURSOR)] = _NEWEST  # type: ignore[assignment]


class VersionQuery(Query):
    """How much of a version."""

    source: Annotated[bool, msgspec.Meta(description="with its text as `source`")] = False


class VersionsResource:
    """`/api/v1/scripts/NAME/versions`"""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    @endpoint(Scope.READ, query=VersionsQuery, answers={200: Page[VersionShape]}, problems=("not-found",))
    def on_get(self, _req: falcon.Request, resp: falcon.Response, script: str, query: VersionsQuery) -> None:
        """List versions, newest first."""
        found = self._versions.page(script, query.limit, query.after)
        send_page(resp, found, query.limit, _shape, lambda version: version.version)


class VersionResource:
    """`/api/v1/scripts/NAME/versions/N`"""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    @endpoint(
        Scope.READ,
        query=VersionQuery,
        answers={200: Answer(VersionShape, media=(TAR,), headers={"Vary": Literal["Accept"]})},
        problems=("not-found",),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, script: str, number: str, query: VersionQuery) -> None:
        """One version, with its files if asked for.

        With `?source=true` also the text of main.lua as `source` and all files as `files`, path → text; those that are
        not UTF-8 stand in `files_base64` instead. With `Accept: application/x-tar` its files as a tar, byte for byte.
        """
        version = path_number(number, "version")
        resp.set_header("vary", "Accept")
        if _wants_tar(req):
            resp.content_type = TAR
            resp.data = archive.pack(self._versions.files(script, version))
            return
        shape = _shape(self._versions.get(script, version))
        if query.source:
            _add_files(shape, self._versions.files(script, version))
        send_json(resp, shape)


def _wants_tar(req: falcon.Request) -> bool:
    """Whether it is asked for by name: what takes anything gets JSON."""
    return TAR in req.accept.lower() and req.client_prefers((falcon.MEDIA_JSON, TAR)) == TAR


def _add_files(shape: VersionShape, files: Mapping[str, bytes]) -> None:
    shape.source = files[ENTRY].decode("utf-8", "replace")
    shape.files = {path: text for path, content in files.items() if (text := _text(content)) is not None}
    binary = files.keys() - shape.files.keys()
    if binary:
        shape.files_base64 = {path: b64encode(files[path]).decode() for path in sorted(binary)}


def _text(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _shape(version: Version) -> VersionShape:
    return VersionShape(**asdict(version))
