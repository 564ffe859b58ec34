"""What one process counts: the only one who writes its files, by any of its threads.

Owns: which cells an event changes. When one happens is for those to say whose Protocols this fulfils:
`orchestrator.metrics.Metrics`, and `storage.pool.Meter`.

A process counts nothing before `start`, nor where its files cannot be made: nobody fails for want of a count.
"""

import logging
import os
import threading
from bisect import bisect_left
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from picloud.cache import Generation
from picloud.errors import ConcurrencyLimit, PicloudError
from picloud.metrics import series
from picloud.metrics.cells import Cells
from picloud.metrics.folder import Folder
from picloud.metrics.names import OTHER, Names
from picloud.metrics.series import Kind, Series
from picloud.model import Invocation, Outcome, Trigger

_OWN_MAX = 1_000  # scripts that ever had series of their own in this process: those that are gone have cells, too
_KNOWN_MAX = 10_000  # scripts whose cells are looked up by name

_log = logging.getLogger(__name__)


class Measurements:
    """One process's part of what is counted in the folder at `path`. Made before fork, started after it."""

    def __init__(self, path: Path, role: str) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.names = Names(path / "scripts", Generation(path / "generation"))
        self.folder = Folder(path, self.names)
        self._role = role
        self._pools: list[tuple[str, int]] = []
        self._mutex = threading.Lock()  # over what follows
        self._numbers: _Numbers | None = None
        self._lock = -1  # a descriptor: while it is open, the files are a living process's

    def start(self) -> None:
        """Make the files of this process, after fork."""
        try:
            self._lock, cells = self.folder.own()
        except OSError as error:
            _log.warning("nothing is counted here for /metrics: %s", error)
            return
        numbers = _Numbers(cells, self.names)
        numbers.set(series.PROCESSES, self._role, number=1)
        for name, size in self._pools:
            numbers.add(series.CONNECTIONS_MAX, name, amount=size)
            numbers.add(series.CONNECTION_WAITS, name, amount=0)
            numbers.set(series.CONNECTIONS, name, number=0)
        self._numbers = numbers

    def stop(self) -> None:
        """Count no more; what was counted is folded by whoever comes next."""
        with self._mutex:
            if self._numbers:
                self._numbers.close()
                os.close(self._lock)
                self._numbers = None

    def forget(self, scripts: Collection[str]) -> None:
        """These scripts are gone, and so are their series; one that comes back may go on where it was."""
        if scripts:
            with self.folder.reading():
                self.names.forget(scripts)

    def ended(self, invocation: Invocation) -> None:
        """An invocation has its record; see `orchestrator.metrics.Metrics`."""
        with self._mutex:
            if self._numbers:
                self._numbers.ended(invocation)

    def called(self, name: str) -> None:
        """A script makes a host call."""
        self._add(series.CALLS, name)

    def refused(self, refusal: PicloudError) -> None:
        """Somebody found no place."""
        with self._mutex:
            if self._numbers:
                self._numbers.refused(isinstance(refusal, ConcurrencyLimit))

    def late(self, seconds: Sequence[float]) -> None:
        """Jobs of schedules were made, each so long after its due time."""
        with self._mutex:
            if self._numbers:
                for each in seconds:
                    self._numbers.lateness.observe(each)

    def meter(self, pool: str, size: int) -> "PoolMeter":
        """For a pool of connections; before `start`."""
        self._pools.append((pool, size))
        return PoolMeter(self, pool)

    def waited(self, pool: str) -> None:
        """Somebody waits for a connection."""
        self._add(series.CONNECTION_WAITS, pool)

    def used(self, pool: str, change: int) -> None:
        """A connection was taken or given back."""
        with self._mutex:
            if self._numbers:
                self._numbers.add(series.CONNECTIONS, pool, amount=change)

    def _add(self, it: Series, *labels: str) -> None:
        with self._mutex:
            if self._numbers:
                self._numbers.add(it, *labels, amount=1)


@dataclass(frozen=True, slots=True)
class PoolMeter:
    """See `storage.pool.Meter`."""

    measurements: Measurements
    pool: str

    def used(self, change: int) -> None:
        """A connection was taken or given back."""
        self.measurements.used(self.pool, change)

    def waited(self) -> None:
        """Somebody waits for one."""
        self.measurements.waited(self.pool)


class _Histogram:
    """A cell for each bucket, those above the last bound too, and one for the sum."""

    def __init__(self, cells: Cells, it: Series, labels: dict[str, str]) -> None:
        self._cells, self._bounds = cells, it.buckets
        bounds = [*map(_text, it.buckets), "+Inf"]
        self._buckets = [cells.new(it.name, f"{it.name}_bucket", {**labels, "le": bound}) for bound in bounds]
        self._sum = cells.new(it.name, f"{it.name}_sum", labels)

    def observe(self, number: float) -> None:
        """Count one in its own bucket: who reads adds those below."""
        self._cells.add(self._buckets[bisect_left(self._bounds, number)], 1)
        self._cells.add(self._sum, number)


@dataclass(slots=True)
class _OfScript:
    """Where the numbers of one script are."""

    label: str
    duration: _Histogram
    memory: _Histogram
    cpu: int
    requests: dict[tuple[Outcome, Trigger], int] = field(default_factory=dict)


class _Numbers:
    """The cells of this process. For one thread at a time."""

    def __init__(self, cells: dict[Kind, Cells], names: Names) -> None:
        self._cells, self._names = cells, names
        self._seen = names.generation.read()
        self._at: dict[tuple[str, ...], int] = {}
        self._own: dict[str, _OfScript] = {}  # by label
        self._known: dict[str, _OfScript] = {}  # by script
        self._queue = _Histogram(cells[Kind.HISTOGRAM], series.QUEUE, {})
        self.lateness = _Histogram(cells[Kind.HISTOGRAM], series.LATENESS, {})
        of_node, of_script = str(Outcome.OVERLOADED), str(Outcome.CONCURRENCY_LIMIT)
        self._refusals = self._cell(series.REFUSALS, of_node), self._cell(series.REFUSALS, of_script)

    def close(self) -> None:
        """Let go of the files."""
        for cells in self._cells.values():
            cells.close()

    def ended(self, it: Invocation) -> None:
        """What never asked for a sandbox has no times, and what never began no memory."""
        of, counters = self._of(it.script), self._cells[Kind.COUNTER]
        at = of.requests.get((it.outcome, it.trigger))
        if at is None:
            at = self._cell(series.REQUESTS, of.label, str(it.outcome), str(it.trigger))
            of.requests[it.outcome, it.trigger] = at
        counters.add(at, 1)
        if it.cpu_ms:
            counters.add(of.cpu, it.cpu_ms / 1000)
        if it.queue_ms or it.run_ms:
            self._queue.observe(it.queue_ms / 1000)
            of.duration.observe((it.queue_ms + it.run_ms) / 1000)
        if it.memory_bytes:
            of.memory.observe(it.memory_bytes)

    def refused(self, by_script: bool) -> None:
        """In a flood there are thousands a second."""
        self._cells[Kind.COUNTER].add(self._refusals[by_script], 1)

    def add(self, it: Series, *labels: str, amount: float) -> None:
        """To a number that has not been looked up."""
        self._cells[it.kind].add(self._cell(it, *labels), amount)

    def set(self, it: Series, *labels: str, number: float) -> None:
        """The same for one that is put there."""
        self._cells[it.kind].set(self._cell(it, *labels), number)

    def _cell(self, it: Series, *labels: str) -> int:
        at = self._at.get((it.name, *labels))
        if at is None:
            metric = it.name.removesuffix("_total")  # which is how prometheus_client calls a counter
            at = self._cells[it.kind].new(metric, it.name, dict(zip(it.labels, labels, strict=True)))
            self._at[it.name, *labels] = at
        return at

    def _of(self, script: str) -> _OfScript:
        generation = self._names.generation.read()
        if generation != self._seen or len(self._known) >= _KNOWN_MAX:
            self._seen = generation
            self._known.clear()
        of = self._known.get(script)
        if of is None:
            of = self._known[script] = self._labelled(self._label(script))
        return of

    def _label(self, script: str) -> str:
        if script in self._own or len(self._own) < _OWN_MAX:
            with suppress(OSError):
                return self._names.claim(script)
        return OTHER

    def _labelled(self, label: str) -> _OfScript:
        of = self._own.get(label)
        if of is None:
            histograms, labels = self._cells[Kind.HISTOGRAM], {"script": label}
            of = self._own[label] = _OfScript(
                label,
                _Histogram(histograms, series.DURATION, labels),
                _Histogram(histograms, series.MEMORY, labels),
                self._cell(series.CPU, label),
            )
        return of


def _text(bound: float) -> str:
    return str(float(bound))
