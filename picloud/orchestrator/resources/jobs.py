"""`/api/v1/jobs` and `/api/v1/queue`: what is to run later, and what became of it."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Annotated, Any, Protocol

import falcon
from msgspec import Meta

from picloud.auth import Scope
from picloud.errors import NotFound
from picloud.messages.endpoint import endpoint
from picloud.messages.forms import form
from picloud.messages.reading import CURSOR, Paging, ScriptName
from picloud.messages.writing import Page, send_json, send_page
from picloud.model import JOB_KEY_BYTES_MAX, Job, JobFilter, JobHistory, JobRun, JobState, QueueState
from picloud.orchestrator.resources.dry_run import ScriptResponse
from picloud.orchestrator.resources.shapes import body_shape, headers_shape


class JobStore(Protocol):
    """Where jobs are kept. ``only``: of these scripts; None: of all."""

    def page(self, wanted: JobFilter, limit: int, after: str) -> list[Job]:
        """Newest first, those older than `after`."""

    def history(self, identifier: str, only: Collection[str] | None) -> JobHistory:
        """One; NotFound."""

    def cancel(self, identifier: str, only: Collection[str] | None) -> None:
        """Keep one from running; NotFound, Conflict."""

    def queues(self, only: Collection[str] | None) -> tuple[QueueState, dict[str, QueueState]]:
        """How much waits in all, and of each script."""


class JobsQuery(Paging):
    """Which jobs."""

    script: ScriptName | None = None
    state: Annotated[JobState, Meta(description="those that are so")] | None = None
    key: Annotated[str, Meta(max_length=JOB_KEY_BYTES_MAX), form("printable", "those that were sent with this key")] = (
        ""
    )
    after: Annotated[uuid.UUID, Meta(description=CURSOR)] | None = None  # type: ignore[assignment]


class JobResult(ScriptResponse):
    """The answer of a job's last run, if it gave one."""

    cut: Annotated[bool, Meta(description="whether `body` is left out, as it had more than 64 KiB")]


@dataclass(frozen=True, slots=True)
class JobDetail(Job):
    """A job, with what came of it."""

    result: JobResult | None  # of its last run
    runs: list[JobRun]


@dataclass(frozen=True, slots=True)
class ScriptQueue(QueueState):
    """How much waits of one script."""

    script: str


@dataclass(frozen=True, slots=True)
class Queue(QueueState):
    """How much waits, and since when; in all, and of each script that has jobs."""

    scripts: list[ScriptQueue]


class JobsResource:
    """`/api/v1/jobs`"""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    @endpoint(Scope.READ, query=JobsQuery, answers={200: Page[Job]}, by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response, query: JobsQuery) -> None:
        """List jobs, newest first: those that wait, and those that ended a while ago."""
        req.context.principal.require(Scope.READ, query.script)
        wanted = JobFilter(query.script or "", req.context.principal.scripts, query.state, query.key)
        send_jobs(self._jobs, wanted, query, resp)


class JobResource:
    """`/api/v1/jobs/ID`"""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    @endpoint(Scope.READ, answers={200: JobDetail}, by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response, job: str) -> None:
        """One job, with its runs and the answer of its last one."""
        it = self._jobs.history(job_id(job), req.context.principal.scripts)
        send_json(resp, JobDetail(**known(it.job), result=_result(it), runs=list(it.runs)))

    @endpoint(
        Scope.INVOKE, answers={204: None}, problems=("conflict", "outcome-unknown"),
        by_script=True,
    )  # fmt: skip
    def on_delete(self, req: falcon.Request, resp: falcon.Response, job: str) -> None:
        """Cancel a job that waits; one that runs or has ended stays as it is: 409."""
        self._jobs.cancel(job_id(job), req.context.principal.scripts)
        resp.status = 204


class QueueResource:
    """`/api/v1/queue`"""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    @endpoint(Scope.READ, answers={200: Queue}, by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """How many jobs are in which state, and for how long the oldest has been due."""
        total, of_scripts = self._jobs.queues(req.context.principal.scripts)
        scripts = [ScriptQueue(**known(it), script=name) for name, it in of_scripts.items()]
        send_json(resp, Queue(**known(total), scripts=scripts))


def send_jobs(jobs: JobStore, wanted: JobFilter, query: Any, resp: falcon.Response) -> None:
    """Answer with the page that the query asks for."""
    found = jobs.page(wanted, query.limit, str(query.after or ""))
    send_page(resp, found, query.limit, lambda it: it, lambda it: it.id)


def _result(it: JobHistory) -> JobResult | None:
    if it.response is None:
        return None
    body, is_base64 = body_shape(it.response.body)
    return JobResult(it.response.status, headers_shape(it.response.headers), body, is_base64, it.cut)


def job_id(text: str) -> str:
    """In the one spelling; NotFound for what is none."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise NotFound(f"there is no job '{text}'") from None


def known(it: Job | QueueState) -> dict[str, Any]:
    """Field → value, for a shape with more of them."""
    return {field.name: getattr(it, field.name) for field in fields(it)}
