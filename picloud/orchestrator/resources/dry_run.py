"""What a dry run showed, as the API shows it.

Owns: these shapes, and what of it who asks may see: of other scripts, which it invoked, only those that the token is
good for. Secrets that the scripts got are masked in all of it but the answer, which is the script's own.
"""

from base64 import b64encode
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from picloud.events import is_json_text
from picloud.model import Outcome, Response, StoredLine, Value, ValueKind
from picloud.orchestrator.dry_run import Rehearsed
from picloud.orchestrator.effects import Change, JobChange, JobTouched, WouldBe, WouldHappen, Write
from picloud.orchestrator.masking import MASK, Mask
from picloud.orchestrator.resources.logs import LineShape, line_shape
from picloud.orchestrator.resources.shapes import Headers, body_shape, headers_shape
from picloud.orchestrator.response import InvocationFailed

_PRIVATE = frozenset(("authorization", "cookie", "proxy-authorization"))
_NOT_RUN = frozenset(
    (Outcome.OVERLOADED, Outcome.CONCURRENCY_LIMIT, Outcome.EXECUTOR_LOST, Outcome.DATABASE_UNAVAILABLE)
)
"""How it ends for reasons that are not the script's: that is no dry run, and to be tried again."""


class ScriptResponse(msgspec.Struct):
    """A script's answer."""

    status: int
    headers: Headers
    body: str
    base64: Annotated[bool, Meta(description="whether `body` is in base64: it is no UTF-8")]


class WouldBeWrite(msgspec.Struct):
    """A key that would be written."""

    script: Annotated[str, Meta(description="that writes it: this one, or one that it invokes")]
    space: Annotated[str | None, Meta(description="a shared one; null: the script's own")]
    key: str
    change: Change
    value: Annotated[Any, Meta(description="what it would be; null if it would be deleted, or is `cut`")]
    base64: Annotated[bool, Meta(description="whether `value` is in base64: it is bytes")]
    cut: Annotated[bool, Meta(description="whether `value` is left out: at most 4 MiB of all are shown")]
    version_before: Annotated[int | None, Meta(description="null: it was not there")]
    expires_at: Annotated[datetime | None, Meta(description="null: never")]


class WouldBeRequest(msgspec.Struct):
    """A request to another server that would be made."""

    script: str
    method: str
    url: str
    headers: Headers
    body_bytes: int
    made: Annotated[bool, Meta(description="whether it was, by `allow_http`")]


class WouldBeEvent(msgspec.Struct):
    """An event that would be published."""

    script: Annotated[str, Meta(description="that publishes it")]
    id: str
    source: str
    type: str
    subject: str | None
    time: str | None
    data: Annotated[Any, Meta(description="null: there is none, or it is `cut`")]
    cut: Annotated[bool, Meta(description="whether `data` is left out: at most 4 MiB of all are shown")]
    jobs: Annotated[int, Meta(description="one for each script that would hear of it")]
    duplicate: Annotated[bool, Meta(description="whether it is there already: then nothing would be done")]


class WouldBeJob(msgspec.Struct):
    """A job that would be queued, or cancelled."""

    script: Annotated[str, Meta(description="that sends or cancels it: this one, or one that it invokes")]
    change: Annotated[JobChange, Meta(description="`keep`: there is one with its key, so that none is queued")]
    id: Annotated[str | None, Meta(description="of the one that is there; null: it would be a new one")]
    to: Annotated[str | None, Meta(description="the script that would run; null: it would be cancelled")] = None
    function: Annotated[str | None, Meta(description="of that script, which `after` would have called")] = None
    payload: Annotated[Any, Meta(description="JSON; null if it is `cut`")] = None
    payload_bytes: int = 0
    cut: Annotated[bool, Meta(description="whether `payload` is left out: at most 4 MiB of all are shown")] = False
    delay_ms: Annotated[int, Meta(description="from the commit on")] = 0
    due_at: Annotated[datetime | None, Meta(description="null: when `delay_ms` have passed")] = None
    key: str | None = None
    ordering_key: str | None = None
    priority: int = 0
    max_attempts: Annotated[int | None, Meta(description="null: as the settings of that script say")] = None


class DryRunShape(msgspec.Struct):
    """What a dry run showed."""

    script: str
    version: int
    outcome: Outcome
    error: Annotated[str, Meta(description="why there is no answer")]
    would_commit: Annotated[bool, Meta(description="whether a real run would keep what is in `writes` and `jobs`")]
    response: ScriptResponse | None
    logs: list[LineShape]
    writes: list[WouldBeWrite]
    events: list[WouldBeEvent]
    jobs: list[WouldBeJob]
    requests: list[WouldBeRequest]


def dry_run_shape(it: Rehearsed, scripts: frozenset[str] | None) -> DryRunShape:
    """For who may see these scripts (None: all); InvocationFailed if it did not run for a reason that passes."""
    run, own = it.finished.run, it.records[-1].invocation
    if run.outcome in _NOT_RUN:
        raise InvocationFailed(it.finished)
    return DryRunShape(
        script=own.script,
        version=own.version,
        outcome=run.outcome,
        error=run.detail,
        would_commit=it.would_commit,
        response=_response(run.response) if run.response else None,
        logs=list(_lines(it, scripts)),
        writes=[_write(one, it.mask) for one in it.effects.writes if _may_see(one.script, scripts)],
        events=[_event(one, it.mask) for one in it.effects.events if _may_see(one.script, scripts)],
        jobs=[_job(one, it.mask) for one in it.effects.jobs if _may_see(one.script, scripts)],
        requests=[_request(one, it.mask) for one in it.effects.requests if _may_see(one.script, scripts)],
    )


def _may_see(script: str, scripts: Collection[str] | None) -> bool:
    return scripts is None or script in scripts


def _lines(it: Rehearsed, scripts: Collection[str] | None) -> Iterator[LineShape]:
    """Those of all that ran, as they were written."""
    ran = [record for record in it.records if _may_see(record.invocation.script, scripts)]
    lines = [(record.invocation, line) for record in ran for line in record.lines]
    for of, line in sorted(lines, key=lambda pair: pair[1].at):
        yield line_shape(StoredLine(0, of.id, of.script, line.at, line.level, line.message, line.fields or None))


def _response(response: Response) -> ScriptResponse:
    body, is_base64 = body_shape(response.body)
    return ScriptResponse(response.status, headers_shape(response.headers), body, is_base64)


def _write(it: Write, mask: Mask) -> WouldBeWrite:
    value, is_base64 = _value(it.value, mask) if it.value else (None, False)
    return WouldBeWrite(
        script=it.script,
        space=it.space,
        key=mask.text(it.key),
        change=it.change,
        value=value,
        base64=is_base64,
        cut=it.cut,
        version_before=it.version_before,
        expires_at=it.expires_at,
    )


def _value(value: Value, mask: Mask) -> tuple[Any, bool]:
    if value.kind is ValueKind.BYTES:
        return b64encode(mask.raw(value.raw)).decode(), True
    return _json(value.document, mask), False


def _json(text: str, mask: Mask) -> Any:
    """What a JSON text says."""
    shown = mask.text(text)
    return msgspec.Raw(shown.encode()) if is_json_text(shown) else shown  # a number was masked, or part of one


def _job(it: JobTouched, mask: Mask) -> WouldBeJob:
    if it.job is None:
        return WouldBeJob(it.script, it.change, it.id)
    job = it.job
    event = msgspec.json.decode(job.request.event) if job.request.event else {}
    return WouldBeJob(
        it.script,
        it.change,
        it.id,
        to=job.script,
        function=event.get("after"),
        payload=None if it.cut else _json(job.request.body.decode(), mask),
        payload_bytes=it.payload_bytes,
        cut=it.cut,
        delay_ms=job.delay_ms,
        due_at=job.due_at,
        key=job.key and mask.text(job.key),
        ordering_key=job.ordering_key and mask.text(job.ordering_key),
        priority=job.priority,
        max_attempts=job.max_attempts,
    )


def _event(it: WouldHappen, mask: Mask) -> WouldBeEvent:
    event = it.event
    return WouldBeEvent(
        script=it.script,
        id=mask.text(event.id),
        source=mask.text(event.source),
        type=mask.text(event.type),
        subject=event.subject and mask.text(event.subject),
        time=event.time,
        data=_json(event.data, mask) if isinstance(event.data, str) else None,  # a script's is JSON
        cut=it.cut,
        jobs=it.published.jobs,
        duplicate=it.published.duplicate,
    )


def _request(it: WouldBe, mask: Mask) -> WouldBeRequest:
    headers = [(name, MASK if name in _PRIVATE else mask.text(value)) for name, value in it.headers]
    return WouldBeRequest(
        script=it.script,
        method=it.method,
        url=mask.text(it.url),
        headers=headers_shape(tuple(headers)),
        body_bytes=it.body_bytes,
        made=it.made,
    )
