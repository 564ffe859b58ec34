"""How much there is to do, and who does it, at one moment."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SandboxCounts:
    """Of one node; each sandbox that is alive is one of these."""

    idle: int  # that wait for work
    busy: int  # that compute
    parked: int  # whose scripts wait for the network
    lent: int  # that scripts invoke


@dataclass(frozen=True, slots=True)
class Backlog:
    """Of all nodes. A count goes as far as COUNTED_MAX."""

    queued: int  # jobs that wait, due or not
    running: int
    dead: int
    oldest_due_s: float  # for how long the first of those that wait has been due; 0: none is
    scripts: Collection[str]  # of the names that were asked for, those that there are


COUNTED_MAX = 100_000
