"""The transaction of a dry run: it does for the script what a real one does, and is never committed.

Owns: how it is watched, so that what the script does is noted (`effects`). What a savepoint takes back would not have
been done, and is not noted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from picloud.model import WHATEVER, Entry, Event, Guard, Invocation, NewJob, Published, SentJob, Value
from picloud.orchestrator.effects import Effects
from picloud.orchestrator.work import Events, Jobs, KeptAnswers, KeyValues, Savepoint, Schedules, Work, WorkSource


class WatchedSource:
    """Begins transactions that are watched, and never committed."""

    def __init__(self, source: WorkSource, effects: Effects) -> None:
        self._source = source
        self._effects = effects

    def begin(self, deadline: float) -> Work:
        """Overloaded: all are in use; DatabaseUnavailable."""
        return _WatchedWork(self._source.begin(deadline), self._effects)


class _WatchedWork:
    """A transaction; see `work.Work`."""

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
    def schedules(self) -> Schedules:
        """Those that it sets."""
        return self._work.schedules

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
    """What it does with jobs; see `work.Jobs`."""

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
    """What it does with events; see `work.Events`."""

    def __init__(self, events: Events, effects: Effects) -> None:
        self._events = events
        self._effects = effects

    def publish(self, event: Event, depth: int) -> Published:
        published = self._events.publish(event, depth)
        self._effects.published(event, published)
        return published


class _WatchedKeyValues:
    """What it does to keys; see `work.KeyValues`. Before a write it looks at what is there."""

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
