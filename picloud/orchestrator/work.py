"""A transaction as invocations see it: what they do in it, noun by noun. `picloud.storage` has the real one.

Owns: the words between an invocation and its transaction. Knows nothing of SQL, or of when one begins and ends.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from picloud.model import (
    Entry,
    Event,
    Guard,
    Invocation,
    KeptAnswer,
    NewJob,
    NewSchedule,
    Published,
    Schedule,
    SentJob,
    Value,
)


class KeyValues(Protocol):
    """What a transaction does to keys; SpaceFull, and what a transaction raises."""

    def get(self, space: str, keys: Sequence[str]) -> dict[str, Entry]:
        """Those that are there, in one snapshot."""

    def page(self, space: str, prefix: str, after: str, limit: int) -> list[Entry]:
        """Those with a prefix, in order."""

    def expired(self, space: str, key: str, version: int) -> bool:
        """Whether this version is absent because its time is over."""

    def put(self, space: str, key: str, value: Value, expiry: datetime | int | None, guard: Guard) -> Entry | None:
        """Store → what is there now; None: it is not what the guard says that would be replaced."""

    def increase(self, space: str, key: str, by: int, ttl_ms: int | None) -> Entry | None:
        """Add → the new value; None: there is no number, or none that this could be added to."""

    def delete(self, space: str, key: str, guard: Guard) -> bool:
        """Remove → whether it was there, as the guard says."""


class KeptAnswers(Protocol):
    """What a transaction does with answers that are kept; what a transaction raises."""

    def claim(self, script_id: int, key: str, wait_ms: int) -> KeptAnswer | None:
        """What is kept; None: nothing, and nobody else runs for it until this transaction has ended. StillRunning."""

    def put(self, script_id: int, key: str, answer: KeptAnswer) -> None:
        """Keep one."""


class Jobs(Protocol):
    """What a transaction does with jobs; what a transaction raises."""

    def send(self, job: NewJob) -> SentJob:
        """Store one, unless there is one of its script with its key."""

    def cancel(self, script: str, job: str) -> bool:
        """Whether a job of that id waited, is the script's or was sent by it, and never runs now."""


class Events(Protocol):
    """What a transaction does with events; what a transaction raises."""

    def publish(self, event: Event, depth: int) -> Published:
        """Store one with its jobs, unless there is one with its source and id; InvalidRequest."""


class Schedules(Protocol):
    """What a transaction does with the schedules that a script made itself; Conflict, and what a transaction raises."""

    def put(self, wanted: NewSchedule, script_id: int) -> Schedule:
        """Make or change one; InvalidRequest."""

    def remove(self, name: str, script_id: int) -> bool:
        """Remove one → whether it was there."""

    def own(self, script_id: int) -> list[Schedule]:
        """All of them, by name."""


class Savepoint(Protocol):
    """A state to come back to."""

    restored: bool

    def restore(self) -> None:
        """Undo what was done since."""


class Work(Protocol):
    """A transaction that has begun. DeadlinePassed, TransactionConflict, DatabaseUnavailable."""

    deadline: float  # monotonic, s

    @property
    def kv(self) -> KeyValues:
        """Keys and values."""

    @property
    def answers(self) -> KeptAnswers:
        """Those to requests that are to run once."""

    @property
    def jobs(self) -> Jobs:
        """Those that it sends."""

    @property
    def events(self) -> Events:
        """Those that it publishes."""

    @property
    def schedules(self) -> Schedules:
        """Those that it sets."""

    @property
    def writes(self) -> bool:
        """Whether there is something to commit."""

    def savepoint(self) -> AbstractContextManager[Savepoint]:
        """What is done in the block can be undone, and is if it raises."""

    def commit(self, invocation: Invocation) -> None:
        """Commit everything, with the invocation's own row; OutcomeUnknown."""

    def close(self) -> None:
        """Roll back what is not committed."""


class WorkSource(Protocol):
    """Where transactions come from."""

    def begin(self, deadline: float) -> Work:
        """Overloaded: all are in use; DatabaseUnavailable."""
