"""What a dry run notes: what a script wrote, and whom it would have asked.

Owns: how a transaction is watched. It does for the script what a real one does, so that the script sees what it would
see; it is never committed. What a savepoint takes back would not have been done, and is not noted.
"""

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from picloud.model import (
    WHATEVER,
    Entry,
    Event,
    Guard,
    HeaderList,
    Invocation,
    NewJob,
    Published,
    SentJob,
    Value,
    shared_name,
)
from picloud.orchestrator.attempt import Events, Jobs, KeptAnswers, KeyValues, Savepoint, Work, WorkSource
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


class WatchedSource:
    """Begins transactions that are watched, and never committed."""

    def __init__(self, source: WorkSource, effects: Effects) -> None:
        self._source = source
        self._effects = effects

    def begin(self, deadline: float) -> Work:
        """Overloaded: all are in use; DatabaseUnavailable."""
        return _WatchedWork(self._source.begin(deadline), self._effects)


class _WatchedWork:
    """A transaction; see `attempt.Work`."""

    def __init__(self, work: Work, effects: Effects) -> None:
        self._work = work
        self._effects = effects
        self._kv = _WatchedKeyValues(work.kv, effects)
        self._jobs = _WatchedJobs(work.jobs, effects)
        self._events = _WatchedEvents(work.events, effects)

    @property
    def deadline(self) -> float:
        """Monotonic, s."""
        return self._work.deadline

    @deadline.setter
    def deadline(self, moment: float) -> None:
        self._work.deadline = moment

    @property
    def kv(self) -> KeyValues:
        """Keys and values."""
        return self._kv

    @property
    def answers(self) -> KeptAnswers:
        """Those to requests that are run once: a dry run is none."""
        return self._work.answers

    @property
    def jobs(self) -> Jobs:
        """Those that it sends."""
        return self._jobs

    @property
    def events(self) -> Events:
        """Those that it publishes."""
        return self._events

    @property
    def writes(self) -> bool:
        """Whether there would be something to commit."""
        return self._work.writes

    @contextmanager
    def savepoint(self) -> Iterator[Savepoint]:
        """What is done in the block can be undone, and is then not noted."""
        lists: tuple[list[Any], ...] = (self._effects.writes, self._effects.jobs, self._effects.events)
        noted, savepoint = [*map(len, lists)], None
        try:
            with self._work.savepoint() as savepoint:
                yield savepoint
        finally:
            if savepoint and savepoint.restored:
                for what, count in zip(lists, noted, strict=True):
                    del what[count:]

    def commit(self, invocation: Invocation) -> None:
        """Nothing: `close` rolls it back."""

    def close(self) -> None:
        """Roll back."""
        self._work.close()


class _WatchedJobs:
    """What it does with jobs; see `attempt.Jobs`."""

    def __init__(self, jobs: Jobs, effects: Effects) -> None:
        self._jobs = jobs
        self._effects = effects

    def send(self, job: NewJob) -> SentJob:
        sent = self._jobs.send(job)
        self._effects.sent(job, sent)
        return sent

    def cancel(self, script: str, job: str) -> bool:
        was_waiting = self._jobs.cancel(script, job)
        if was_waiting:
            self._effects.cancelled(job)
        return was_waiting


class _WatchedEvents:
    """What it does with events; see `attempt.Events`."""

    def __init__(self, events: Events, effects: Effects) -> None:
        self._events = events
        self._effects = effects

    def publish(self, event: Event, depth: int) -> Published:
        published = self._events.publish(event, depth)
        self._effects.published(event, published)
        return published


class _WatchedKeyValues:
    """What it does to keys; see `attempt.KeyValues`. Before a write it looks at what is there."""

    def __init__(self, kv: KeyValues, effects: Effects) -> None:
        self._kv = kv
        self._effects = effects
        self.get, self.page, self.expired = kv.get, kv.page, kv.expired

    def put(
        self, space: str, key: str, value: Value, expiry: datetime | int | None, guard: Guard = WHATEVER
    ) -> Entry | None:
        before = self._before(space, key)
        entry = self._kv.put(space, key, value, expiry, guard)
        if entry:
            self._effects.wrote(space, key, entry, before)
        return entry

    def increase(self, space: str, key: str, by: int, ttl_ms: int | None) -> Entry | None:
        before = self._before(space, key)
        entry = self._kv.increase(space, key, by, ttl_ms)
        if entry:
            self._effects.wrote(space, key, entry, before)
        return entry

    def delete(self, space: str, key: str, guard: Guard = WHATEVER) -> bool:
        before = self._before(space, key)
        was_there = self._kv.delete(space, key, guard)
        if was_there:
            self._effects.wrote(space, key, None, before)
        return was_there

    def _before(self, space: str, key: str) -> Entry | None:
        return self._kv.get(space, [key]).get(key)
