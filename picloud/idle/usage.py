"""What processes did between two looks."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from picloud.idle.looks import Look, Thread, look

Groups = Mapping[str, Iterable[int]]  # name → pids


class Fate(StrEnum):
    """What became of a process meanwhile."""

    STAYED = "stayed"
    CAME = "came"
    WENT = "went"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process did meanwhile. Of one that went, nothing is known but that."""

    group: str
    pid: int
    name: str
    fate: Fate
    voluntary: int  # context switches: wake-ups
    involuntary: int
    cpu_ns: int
    cpu_ticks: int
    written_bytes: int | None  # None: may not be read
    pss_bytes: int | None  # at the end; None: may not be read, or it went
    busy: Mapping[str, int]  # name of a thread → its switches, of those with any

    @property
    def switches(self) -> int:
        """Of both kinds."""
        return self.voluntary + self.involuntary

    @property
    def rested(self) -> bool:
        """Whether it did nothing at all, as far as that may be read."""
        did = self.switches or self.busy or self.cpu_ns or self.cpu_ticks or self.written_bytes
        return self.fate is Fate.STAYED and not did


@dataclass(frozen=True, slots=True)
class Measured:
    """All of them."""

    seconds: float
    usages: tuple[Usage, ...]


def measure(find: Callable[[], Groups], seconds: float, sleep: Callable[[float], None] = time.sleep) -> Measured:
    """Look at all processes that there are, sleep, and look again at those and the ones that came."""
    before = _looks(find())
    began = time.monotonic()
    sleep(seconds)
    lasted = time.monotonic() - began
    after = _looks(find())
    usages = [
        usage_between(group, before.get((group, who, started)), after.get((group, who, started)))
        for group, who, started in [*before, *(key for key in after if key not in before)]
    ]
    return Measured(lasted, tuple(sorted(usages, key=lambda it: (it.group, it.pid))))


def _looks(groups: Groups) -> dict[tuple[str, int, int], Look]:
    seen = ((group, look(pid)) for group, pids in groups.items() for pid in pids)
    return {(group, it.pid, it.started): it for group, it in seen if it}


def usage_between(group: str, before: Look | None, after: Look | None) -> Usage:
    """What one process did; at least one of the looks is there. One that came did all that it ever did."""
    if after is None:
        assert before
        return Usage(group, before.pid, before.name, Fate.WENT, 0, 0, 0, 0, 0, None, {})
    voluntary, involuntary, cpu_ns, busy = 0, 0, 0, Counter[str]()
    threads = before.threads if before else {}
    for number, thread in after.threads.items():
        earlier = threads.get(number, Thread(thread.name, 0, 0, 0))
        more = thread.voluntary - earlier.voluntary, thread.involuntary - earlier.involuntary
        voluntary, involuntary = voluntary + more[0], involuntary + more[1]
        cpu_ns += thread.cpu_ns - earlier.cpu_ns
        busy.update({thread.name: sum(more)} if sum(more) or number not in threads else {})
    ended = Counter(f"{thread.name} (ended)" for number, thread in threads.items() if number not in after.threads)
    return Usage(
        group,
        after.pid,
        after.name,
        Fate.STAYED if before else Fate.CAME,
        voluntary,
        involuntary,
        cpu_ns,
        after.cpu_ticks - (before.cpu_ticks if before else 0),
        _more(before.written_bytes if before else 0, after.written_bytes),
        after.pss_bytes,
        dict(busy + ended if ended else busy),
    )


def _more(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
