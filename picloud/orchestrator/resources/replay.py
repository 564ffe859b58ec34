"""`/api/v1/invocations/ID/replay`: run a request again that was kept.

It is a new invocation with an id, a record and a log of its own: with the settings of now, and the version that is
active now unless who asks names another. The script sees the request as it was kept, its trigger too; what was masked
is `***`.
"""

import socket
from dataclasses import replace
from typing import Annotated, Protocol

import falcon
from msgspec import Meta

from picloud.auth import Scope
from picloud.errors import BodyTooLarge, Conflict, NotFound
from picloud.messages.endpoint import endpoint
from picloud.model import Invocation, KeptRequest, Program, Request
from picloud.orchestrator.ingress import ScriptResolver
from picloud.orchestrator.request import connection_of
from picloud.orchestrator.resources.invoke import ANSWERS, PROBLEMS, InvokeQuery, Runs
from picloud.orchestrator.resources.records import RecordReader, find


class VersionSource(Protocol):
    """What knows every version of a script."""

    def program_of(self, name: str, version: int) -> Program:
        """One, with the settings of now; NotFound."""


class ReplayQuery(InvokeQuery):
    """How to run it."""

    version: (
        Annotated[int, Meta(ge=1, le=999_999_999, description="which version; without it, the active one")] | None
    ) = None


class ReplayResource:
    """`/api/v1/invocations/ID/replay`"""

    def __init__(self, records: RecordReader, resolver: ScriptResolver, versions: VersionSource, runs: Runs) -> None:
        self._records = records
        self._resolver = resolver
        self._versions = versions
        self._runs = runs

    @endpoint(
        Scope.INVOKE,
        query=ReplayQuery,
        answers=ANSWERS,
        problems=(
            "not-found",
            "conflict",
            "body-too-large",
            *PROBLEMS,
        ),
        by_script=True,
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, identifier: str, query: ReplayQuery) -> None:
        """Run the request of an invocation again, as a new one, with the active version or another.

        Answers as `invoke` does. 409: the request was not kept, as the setting `record` says, or was too large.
        """
        invocation = find(self._records, req, identifier)
        kept = _whole(self._records.request(invocation.id), invocation)
        self._runs.answer(self._program(invocation, query.version), _Replayed(kept.request, req), query, req, resp)

    def _program(self, invocation: Invocation, version: int | None) -> Program:
        try:
            if version is None:
                return self._resolver.resolve(invocation.script)
            return self._versions.program_of(invocation.script, version)
        except NotFound as error:
            raise NotFound(f"invocation {invocation.id} cannot be run again: {error}") from None


def _whole(kept: KeptRequest | None, invocation: Invocation) -> KeptRequest:
    if kept is None:
        raise Conflict(
            f"the request of invocation {invocation.id} was not kept: set '{invocation.script}' to "
            "record=failures or record=all, for those that come"
        )
    if kept.cut:
        raise Conflict(
            f"the request of invocation {invocation.id} was too large to be kept whole: its body had {kept.body_bytes} "
            "bytes"
        )
    return kept


class _Replayed:
    """A request that was kept, for another invocation."""

    def __init__(self, request: Request, req: falcon.Request) -> None:
        self._request = request
        self._req = req

    @property
    def caller(self) -> socket.socket:
        """Who waits for the answer."""
        return connection_of(self._req.env)

    def read(self, invocation_id: str, body_bytes_max: int) -> Request:
        """BodyTooLarge: the limit is lower now."""
        size = len(self._request.body)
        if size > body_bytes_max:
            raise BodyTooLarge(f"the body has {size} bytes, at most {body_bytes_max} are taken")
        return replace(self._request, id=invocation_id, idempotency_key=None)  # that stood for the first invocation
