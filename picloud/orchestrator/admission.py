"""How many invocations run or wait on this node, over all its processes, without SQL.

Owns: claiming and giving back slots. Knows nothing of scripts but their names, and nothing of how they run.

An invocation that waits for the world outside is *parked*: it holds one of `parked_max` other slots meanwhile, so that
who computes finds room. When it goes on it takes a slot of the node again; if there is none, it goes on all the same,
and keeps the other one, which bounds how many may do so.

A slot is one byte of a file, held by an open-file-description lock: the kernel keeps the count, and when a process
dies its slots are free at once. Within a process, where such locks do not exclude each other, a set does.
"""

import fcntl
import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from picloud.errors import ConcurrencyLimit, Overloaded, PicloudError
from picloud.orchestrator.flood import Flood
from picloud.orchestrator.metrics import NOBODY, Metrics

_THREADS_KEPT_FREE = 8  # one eighth: to refuse with, and for the API, however many invocations wait
_PARKED_REGION = 1 << 19  # above any number of the node's slots, below the scripts'
_SCRIPT_REGION_BYTES = 1 << 20
_SCRIPT_REGIONS = 1 << 40
_FLOCK = "@hhqqi4x"
_NODE = ""  # a place beside those of scripts


class Admission:
    """The node's slots. `path` is the same file for every process of the node."""

    def __init__(
        self, path: Path, *, node_slots: int, threads: int, parked_max: int = 0, metrics: Metrics = NOBODY
    ) -> None:
        self._path = path
        self._node_slots = node_slots
        self._parked_max = parked_max  # of the node; as many threads must be there beside `threads`
        self._own_slots = max(1, threads - threads // _THREADS_KEPT_FREE)  # of this process
        self._descriptor = -1
        self._mutex = threading.Lock()
        self._held: set[int] = set()
        self._running = 0
        self._flood = Flood()
        self._metrics = metrics

    def open(self) -> None:
        """Open the file in this process, after fork: a descriptor shared with the parent would share its locks."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Give everything back."""
        os.close(self._descriptor)

    @contextmanager
    def node(self) -> Iterator["Place"]:
        """Hold one of the node's slots; Overloaded at once if none is free here."""
        with self._mutex:
            full = self._running >= self._own_slots
            slot = None if full else self._claim(0, self._node_slots)
            if slot is None:
                raise self._refused(_NODE, Overloaded())
            self._running += 1
        place = Place(self, slot)
        try:
            yield place
        finally:
            with self._mutex:
                self._running -= 1
                self._release(place.slot)
            self._flood.freed(_NODE)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for another invocation in the block, before any of this one: in a parked place, or not; Overloaded.

        They count against no script's limit: in the node's own places anybody's would crowd out all others.
        """
        with self.node() as place, place.parked() as parked:
            if not parked:
                raise Overloaded("too many requests wait for others with the same key; try again in a moment")
            yield

    @contextmanager
    def script(self, name: str, limit: int) -> Iterator[None]:
        """Hold one of a script's own slots; ConcurrencyLimit at once if all `limit` of them are taken."""
        with self._mutex:
            slot = self._claim_of_script(_region(name), limit)
        if slot is None:
            problem = f"'{name}' already runs {limit} times at once; try again in a moment"
            raise self._refused(name, ConcurrencyLimit(problem))
        try:
            yield
        finally:
            with self._mutex:
                self._release(slot)
            self._flood.freed(name)

    def refusal(self, script: str) -> PicloudError | None:
        """What a script's run would be refused with, as so many were a moment ago; None: try. Never waits."""
        refusal = self._flood.standing(script) or self._flood.standing(
            _NODE
        )  # a place in the node is not for its crowd
        if refusal is not None:
            self._metrics.refused(refusal)
        return refusal

    def _refused(self, place: str, refusal: PicloudError) -> PicloudError:
        self._flood.refused(place, refusal)
        self._metrics.refused(refusal)
        return refusal

    def _claim_of_script(self, first: int, limit: int) -> int | None:
        """One of a script's slots, if fewer than `limit` are held, also of those that a higher limit let in before."""
        end = first + _SCRIPT_REGION_BYTES - 1  # the last byte is the guard's
        if not self._count(first + limit, end):
            return self._claim(first, limit)
        _control(self._descriptor, fcntl.F_OFD_SETLKW, fcntl.F_WRLCK, end)  # nobody else counts meanwhile
        try:
            return self._claim(first, limit) if self._count(first, end) < limit else None
        finally:
            _control(self._descriptor, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, end)

    def _count(self, start: int, end: int) -> int:
        """How many slots from `start` to before `end` are held, by any process."""
        return sum(start <= slot < end for slot in self._held) + self._count_of_others(start, end)

    def _count_of_others(self, start: int, end: int) -> int:
        """The kernel shows one lock of a range, whichever: look on both sides of it."""
        count, ranges = 0, [(start, end)]
        while ranges:
            start, end = ranges.pop()
            if start >= end:
                continue
            kind, _, at, length, _ = _control(self._descriptor, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, start, end - start)
            if kind != fcntl.F_UNLCK:
                first, last = max(start, at), min(end, at + length)
                count += last - first
                ranges += [(start, first), (last, end)]
        return count

    def park(self, slot: int) -> int | None:
        """Of a place: change its slot for one of those that wait → that one; None if they are all taken."""
        with self._mutex:
            other = slot if slot >= _PARKED_REGION else self._claim(_PARKED_REGION, self._parked_max)
            if other is None:
                return None
            if other != slot:
                self._release(slot)
            self._running -= 1
        self._flood.freed(_NODE)
        return other

    def unpark(self, slot: int) -> int:
        """The way back → the slot that it holds now."""
        with self._mutex:
            self._running += 1
            other = self._claim(0, self._node_slots)
            if other is None:
                return slot
            self._release(slot)
            return other

    def _claim(self, first: int, count: int) -> int | None:
        for slot in range(first, first + count):
            if slot not in self._held and self._lock(slot):
                self._held.add(slot)
                return slot
        return None

    def _lock(self, slot: int) -> bool:
        try:
            _control(self._descriptor, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, slot)
        except BlockingIOError:
            return False
        return True

    def _release(self, slot: int) -> None:
        _control(self._descriptor, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, slot)
        self._held.discard(slot)


class Place:
    """What one invocation holds of the node. Used by one thread."""

    def __init__(self, admission: Admission, slot: int) -> None:
        self._admission = admission
        self._is_parked = False
        self.slot = slot

    @contextmanager
    def parked(self) -> Iterator[bool]:
        """Wait for the world outside in the block → whether it does not count meanwhile: too many may wait already."""
        other = self.slot if self._is_parked else self._admission.park(self.slot)
        if other is None or self._is_parked:
            yield self._is_parked
            return
        self.slot, self._is_parked = other, True
        try:
            yield True
        finally:
            self.slot, self._is_parked = self._admission.unpark(self.slot), False


def _region(name: str) -> int:
    number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    return (1 + number % _SCRIPT_REGIONS) * _SCRIPT_REGION_BYTES


def _control(descriptor: int, command: int, kind: int, byte: int, length: int = 1) -> tuple[int, ...]:
    """fcntl with a struct flock of 64-bit offsets, whose pid must be 0 → its fields as the kernel leaves them."""
    answer: bytes = fcntl.fcntl(descriptor, command, struct.pack(_FLOCK, kind, os.SEEK_SET, byte, length, 0))
    return struct.unpack(_FLOCK, answer)
