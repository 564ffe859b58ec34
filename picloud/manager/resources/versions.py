"""`/api/v1/scripts/NAME/versions`: what was uploaded."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import falcon
import msgspec

from picloud.auth import Scope
from picloud.manager.scripts import Versions
from picloud.messages.endpoint import endpoint
from picloud.messages.reading import CURSOR, Paging, Query, path_number
from picloud.messages.writing import Page, send_json, send_page
from picloud.model import Version

_NEWEST = 2_147_483_647


class VersionShape(msgspec.Struct, omit_defaults=True):
    """One version as the API shows it."""

    script: str
    version: int
    sha256: str
    bytes: int
    created_at: datetime
    created_by: str
    source: Annotated[str, msgspec.Meta(description="its text, if asked for")] | msgspec.UnsetType = msgspec.UNSET


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

    @endpoint(Scope.READ, query=VersionQuery, answers={200: VersionShape}, problems=("not-found",))
    def on_get(
        self, _req: falcon.Request, resp: falcon.Response, script: str, number: str, query: VersionQuery
    ) -> None:
        """One version; with `?source=true` its text as `source`."""
        shape = _shape(self._versions.get(script, path_number(number, "version")))
        if query.source:
            shape.source = self._versions.source(script, shape.version).decode("utf-8", "replace")
        send_json(resp, shape)


def _shape(version: Version) -> VersionShape:
    return VersionShape(**asdict(version))
