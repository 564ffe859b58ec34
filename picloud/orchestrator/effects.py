"""What a dry run notes: what a script wrote and sent, and whom it would have asked.

Owns: these notes, and how much of them is held. Who takes them is `watching`.
"""

import enum
from dataclasses import dataclass, replace
from datetime import datetime

from picloud.model import Entry, Event, HeaderList, NewJob, Published, SentJob, Value, shared_name
from picloud.orchestrator.outbound.messages import Outgoing

_VALUES_BYTES_MAX = 4 * 1024 * 1024  # of those that are kept to be shown, and of payloads; a run may write far more


class Change(enum.StrEnum):
    """What is done to a key."""

    SET = "set"
    INCREASE = "incr"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a key."""

    script: str  # that wrote it
    space: str | None  # a shared one; None: the script's own
    key: str
    change: Change
    value: Value | None  # that it has now; None: it was deleted, or `cut`
    cut: bool  # there are too many values to show this one
    version_before: int | None  # None: it was not there
    expires_at: datetime | None  # None: never


@dataclass(frozen=True, slots=True)
class WouldBe:
    """One request to another server."""

    script: str  # that wants it
    method: str
    url: str
    headers: HeaderList  # that the script set
    body_bytes: int
    made: bool  # a dry run may be allowed to


class JobChange(enum.StrEnum):
    """What is done about a job."""

    SEND = "send"
    KEEP = "keep"  # it would have been sent, but there is one with its key
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class JobTouched:
    """One job that was sent or cancelled."""

    script: str  # that did
    change: JobChange
    id: str | None  # of one that is there
    job: NewJob | None = None  # that was sent; without its payload if that is `cut`
    payload_bytes: int = 0
    cut: bool = False  # there are too many payloads to show this one


@dataclass(frozen=True, slots=True)
class WouldHappen:
    """One event."""

    script: str  # that publishes it
    event: Event  # without its data, if that is `cut`
    cut: bool  # there is too much to show this, too
    published: Published


class Effects:
    """What one attempt did, in order. Used by one thread."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.jobs: list[JobTouched] = []
        self.requests: list[WouldBe] = []
        self.events: list[WouldHappen] = []
        self.script = ""  # whose host call is being done
        self.is_increase = False
        self._values_bytes = self._payload_bytes = 0

    def clear(self) -> None:
        """Another attempt begins: what the one before did is nothing."""
        self.writes.clear()
        self.jobs.clear()
        self.requests.clear()
        self.events.clear()
        self._values_bytes = self._payload_bytes = 0

    def asked(self, script: str, request: Outgoing, *, made: bool) -> None:
        """A request to another server is next."""
        size = len(request.body)
        self.requests.append(WouldBe(script, request.method, str(request.url), request.headers, size, made))

    def sent(self, job: NewJob, sent: SentJob) -> None:
        """A job was sent; or there is one with its key, and it was not."""
        size = len(job.request.body)
        self._payload_bytes += size
        cut = self._payload_bytes > _VALUES_BYTES_MAX
        shown = replace(job, request=replace(job.request, body=b"")) if cut else job
        change, there = (JobChange.SEND, None) if sent.created else (JobChange.KEEP, sent.id)
        self.jobs.append(JobTouched(self.script, change, there, shown, size, cut))

    def cancelled(self, job: str) -> None:
        """A job that was waiting will not run."""
        self.jobs.append(JobTouched(self.script, JobChange.CANCEL, job))

    def published(self, event: Event, published: Published) -> None:
        """An event was published."""
        self._values_bytes += len(event.data or "")
        cut = event.data is not None and self._values_bytes > _VALUES_BYTES_MAX
        shown = replace(event, data=None) if cut else event
        self.events.append(WouldHappen(self.script, shown, cut, published))

    def wrote(self, space: str, key: str, entry: Entry | None, before: Entry | None) -> None:
        """A key was written: what is there now, and was before."""
        change = Change.DELETE if entry is None else Change.INCREASE if self.is_increase else Change.SET
        self._values_bytes += entry.value.size if entry else 0
        cut = entry is not None and self._values_bytes > _VALUES_BYTES_MAX
        self.writes.append(
            Write(
                script=self.script,
                space=shared_name(space),
                key=key,
                change=change,
                value=entry.value if entry and not cut else None,
                cut=cut,
                version_before=before.version if before else None,
                expires_at=entry.expires_at if entry else None,
            )
        )
