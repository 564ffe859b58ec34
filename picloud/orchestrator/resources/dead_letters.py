"""`/api/v1/dead-letters`: jobs that failed as often as they may: looked at, tried again, thrown away."""

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol

import falcon
import msgspec
from msgspec import UNSET, Meta, UnsetType

from picloud.auth import Scope
from picloud.errors import NotFound
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.reading import CURSOR, MEDIA_JSON, Paging, Query, ScriptName, has_body, read_json
from picloud.messages.writing import Page, send_json
from picloud.model import HeaderList, Job, JobFilter, JobHistory, JobRun, JobState, LineFilter, Request
from picloud.orchestrator.enqueue import job_url
from picloud.orchestrator.ingress import ScriptResolver
from picloud.orchestrator.recording import Values, shown_request
from picloud.orchestrator.resources.jobs import JobStore, job_id, known, send_jobs
from picloud.orchestrator.resources.logs import LineReader, LineShape, line_shape
from picloud.orchestrator.resources.records import RequestShape, request_shape

_LINES_MAX = 100  # of its last run, the newest
_PAYLOAD_BYTES_MAX = 1024 * 1024
_OF_THE_BODY = frozenset(("content-type", "content-length", "content-encoding", "transfer-encoding"))


class Letters(Protocol):
    """What may be done to those that are dead. ``only``: of these scripts; None: of all."""

    def retry(self, identifier: str, edit: Callable[[Request], Request], only: Collection[str] | None) -> Job:
        """Queue one again; NotFound, Conflict."""

    def delete(self, identifier: str, only: Collection[str] | None) -> None:
        """Throw one away; NotFound, Conflict."""

    def purge(self, script: str, only: Collection[str] | None) -> int:
        """Throw all away, or one script's ("": of any) → how many."""


class Requests(JobStore, Protocol):
    """Jobs, and what they are sent with."""

    def request(self, identifier: str, only: Collection[str] | None) -> Request:
        """Of one; NotFound."""


class DeadLettersQuery(Paging):
    """Which of them."""

    script: ScriptName | None = None
    after: Annotated[uuid.UUID, Meta(description=CURSOR)] | None = None  # type: ignore[assignment]


class PurgeQuery(Query):
    """Which of them."""

    script: Annotated[ScriptName, Meta(description="one script's; without it, all")] | None = None


class PurgedShape(msgspec.Struct):
    """What is gone."""

    purged: int


class RetryWith(msgspec.Struct, forbid_unknown_fields=True):
    """How to try again."""

    payload: Annotated[Any, Meta(description="JSON in place of the body that it had")] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class DeadLetter(Job):
    """A job that failed as often as it may, with what it was asked and what it wrote at last."""

    request: RequestShape | None  # null: a secret of its script cannot be told from the rest, as the script is gone
    runs: list[JobRun]
    logs: list[LineShape]  # of its last run, oldest first


class DeadLettersResource:
    """`/api/v1/dead-letters`"""

    def __init__(self, jobs: JobStore, letters: Letters) -> None:
        self._jobs = jobs
        self._letters = letters

    @endpoint(Scope.READ, query=DeadLettersQuery, answers={200: Page[Job]}, by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response, query: DeadLettersQuery) -> None:
        """List jobs that failed as often as they may, newest first."""
        req.context.principal.require(Scope.READ, query.script)
        wanted = JobFilter(query.script or "", req.context.principal.scripts, JobState.DEAD)
        send_jobs(self._jobs, wanted, query, resp)

    @endpoint(
        Scope.INVOKE,
        query=PurgeQuery,
        answers={200: PurgedShape},
        problems=("conflict", "outcome-unknown"),
        by_script=True,
    )
    def on_delete(self, req: falcon.Request, resp: falcon.Response, query: PurgeQuery) -> None:
        """Throw all dead letters away, or those of one script."""
        req.context.principal.require(Scope.INVOKE, query.script)
        send_json(resp, PurgedShape(self._letters.purge(query.script or "", req.context.principal.scripts)))


class DeadLetterResource:
    """`/api/v1/dead-letters/ID`"""

    def __init__(
        self, jobs: Requests, letters: Letters, lines: LineReader, resolver: ScriptResolver, secrets: Values
    ) -> None:
        self._jobs = jobs
        self._letters = letters
        self._lines = lines
        self._resolver = resolver
        self._secrets = secrets

    @endpoint(Scope.READ, answers={200: DeadLetter}, by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response, letter: str) -> None:
        """One dead letter, with its request and the log of its last run.

        Secrets that its script is granted are masked. A script that is gone is granted none: then there is no request.
        """
        only = req.context.principal.scripts
        it = self._jobs.history(job_id(letter), only)
        if it.job.state is not JobState.DEAD:
            raise NotFound(f"there is no dead letter {it.job.id}: that job is {it.job.state}")
        request = self._request(it.job, only)
        send_json(resp, DeadLetter(**known(it.job), request=request, runs=list(it.runs), logs=self._log(it)))

    @endpoint(Scope.INVOKE, answers={204: None}, problems=("conflict", "outcome-unknown"), by_script=True)
    def on_delete(self, req: falcon.Request, resp: falcon.Response, letter: str) -> None:
        """Throw a dead letter away."""
        self._letters.delete(job_id(letter), req.context.principal.scripts)
        resp.status = 204

    def _request(self, job: Job, only: Collection[str] | None) -> RequestShape | None:
        try:
            granted = self._resolver.resolve(job.script).settings.secrets
        except NotFound:
            return None
        shown = shown_request(self._jobs.request(job.id, only), granted, self._secrets)
        return request_shape(shown) if shown else None

    def _log(self, it: JobHistory) -> list[LineShape]:
        invocation = it.runs[-1].invocation if it.runs else it.job.invocation
        if invocation is None:
            return []
        return [line_shape(one) for one in self._lines.page(LineFilter(invocation=invocation), _LINES_MAX, 0)[::-1]]


class RetryResource:
    """`/api/v1/dead-letters/ID/retry`"""

    def __init__(self, letters: Letters) -> None:
        self._letters = letters

    @endpoint(
        Scope.INVOKE,
        media={MEDIA_JSON: RetryWith},
        body_required=False,
        answers={202: Answer(Job, headers={"Location": Annotated[str, Meta(description="of the job")]})},
        problems=("conflict", "unsupported-media-type", "outcome-unknown"),
        by_script=True,
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, letter: str) -> None:
        """Queue a dead letter again, with all of its attempts: the same request, or another payload.

        Of those with its ordering key it comes last.
        """
        asked = read_json(req, RetryWith, _PAYLOAD_BYTES_MAX) if has_body(req.env) else RetryWith()
        edit = _same if asked.payload is UNSET else _with_payload(msgspec.json.encode(asked.payload))
        job = self._letters.retry(job_id(letter), edit, req.context.principal.scripts)
        send_json(resp, job, 202)
        resp.set_header("location", job_url(job.id))


def _same(request: Request) -> Request:
    return request


def _with_payload(body: bytes) -> Callable[[Request], Request]:
    def edit(request: Request) -> Request:
        kept = [(name, value) for name, value in request.headers if name not in _OF_THE_BODY]
        headers: HeaderList = (*kept, ("content-type", MEDIA_JSON))
        return replace(request, headers=headers, body=body)

    return edit
