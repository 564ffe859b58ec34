"""What is promised of an idle system, and in which words it is not kept."""

from collections.abc import Iterable
from math import ceil

from picloud.idle.usage import Fate, Usage

WAKEUPS_A_MINUTE_MAX = 12  # of PostgreSQL, all its processes together, with config/postgresql.conf
_NS_A_MS = 1_000_000


def deeds(usages: Iterable[Usage]) -> list[str]:
    """Each process that did not rest: what it did, and which of its threads."""
    return [f"{it.name} (pid {it.pid}, {it.group}) {_deed(it)}" for it in usages if not it.rested]


def wakeups(usages: Iterable[Usage]) -> int:
    """How often processes stopped to wait, so woke before."""
    return sum(it.voluntary for it in usages)


def wakeups_max(seconds: float) -> int:
    """How many PostgreSQL may have: those of a minute for each that was begun, for they come in groups."""
    return WAKEUPS_A_MINUTE_MAX * max(1, ceil(round(seconds / 60, 2)))


def times(count: int) -> str:
    """How often, in words."""
    return "once" if count == 1 else f"{count} times"


def _deed(usage: Usage) -> str:
    if usage.fate is Fate.WENT:
        return "ended meanwhile"
    threads = ", ".join(f"{name} {count}" if count else name for name, count in usage.busy.items())
    did = [
        "was started meanwhile" if usage.fate is Fate.CAME else "",
        f"was switched to {times(usage.switches)} (threads: {threads})" if threads else "",
        f"used {usage.cpu_ns / _NS_A_MS:.1f} ms of CPU" if usage.cpu_ns or usage.cpu_ticks else "",
        f"wrote {usage.written_bytes} bytes" if usage.written_bytes else "",
    ]
    return ", ".join(filter(None, did))
