"""What a worker keeps of the database, and when it is wrong.

Owns: the rules of every such cache. Knows nothing of what is cached, or of how a change is announced.

An entry is dropped when the database's notification names it (other nodes' changes), and the whole cache when the
node's Generation has moved (this node's changes: its next request must see them, whichever worker takes it).
While the database is away entries are kept: what was live goes on answering.
"""

import mmap
import os
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Generation:
    """A number in shared memory that changes whenever this node changes anything; reading it is no system call."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, mmap.PAGESIZE)
            self._memory = mmap.mmap(descriptor, mmap.PAGESIZE)
        finally:
            os.close(descriptor)

    def bump(self) -> None:
        """Tell every process of the node. Two at once both change it, and that is all a reader asks."""
        struct.pack_into("@Q", self._memory, 0, time.monotonic_ns())

    def read(self) -> int:
        """The present number; means nothing but 'as before' or 'changed'."""
        return int(struct.unpack_from("@Q", self._memory)[0])


class Cache(Generic[Key, Value]):
    """At most `entries_max` values, least recently used out first. Safe for threads. A miss is not kept."""

    def __init__(self, generation: Generation, entries_max: int) -> None:
        self._generation = generation
        self._entries_max = entries_max
        self._seen = generation.read()
        self._entries: OrderedDict[Key, Value] = OrderedDict()
        self._invalidations = 0
        self._mutex = threading.Lock()

    def get(self, key: Key, load: Callable[[], Value | None]) -> Value | None:
        """The value; if there is none here, what `load` gives, kept only if no invalidation came since it was asked."""
        with self._mutex:
            self._follow_generation()
            cached = self._entries.get(key)
            if cached is not None:
                self._entries.move_to_end(key)
                return cached
            before = self._invalidations
        value = load()
        if value is not None:
            self._keep(key, value, before)
        return value

    def forget(self, key: Key) -> None:
        """Drop one: it changed."""
        with self._mutex:
            self._invalidations += 1
            self._entries.pop(key, None)

    def clear(self) -> None:
        """Drop everything: what changed while nobody listened is unknown."""
        with self._mutex:
            self._clear()

    def _clear(self) -> None:
        self._invalidations += 1
        self._entries.clear()

    def _follow_generation(self) -> None:
        now = self._generation.read()
        if now != self._seen:
            self._seen = now
            self._clear()

    def _keep(self, key: Key, value: Value, before: int) -> None:
        with self._mutex:
            self._follow_generation()
            if self._invalidations == before:  # else the SELECT may have read what has been replaced since
                self._entries[key] = value
                if len(self._entries) > self._entries_max:
                    self._entries.popitem(last=False)
