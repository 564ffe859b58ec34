"""Which program answers: a cached look-up, with no SQL on a hit.

Owns: the cache of programs and when it is wrong. Knows nothing of HTTP.

An entry is dropped when the database's notification names it (other nodes' uploads), and the whole cache when the
node's Generation has moved (this node's uploads: its next request must see them, whichever worker takes it).
While the database is away entries are kept: what was live goes on answering.
"""

import mmap
import os
import struct
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

from picloud.errors import NotFound
from picloud.model import Program, is_script_name

_PROGRAMS_MAX = 512  # a version has at most 1 MiB


class ProgramSource(Protocol):
    """Where programs come from when the cache has none."""

    def program(self, name: str) -> Program | None:
        """The active version; None if there is no such script; DatabaseUnavailable."""


class Generation:
    """A number in shared memory that changes whenever this node changes a script; reading it is no system call."""

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


class Router:
    """Programs by script name, least recently used out first. Safe for threads."""

    def __init__(self, source: ProgramSource, generation: Generation) -> None:
        self._source = source
        self._generation = generation
        self._seen = generation.read()
        self._programs: OrderedDict[str, Program] = OrderedDict()
        self._invalidations = 0
        self._mutex = threading.Lock()

    def resolve(self, name: str) -> Program:
        """The program that answers for a script; NotFound, DatabaseUnavailable."""
        if not is_script_name(name):  # whoever scans for holes costs no SQL
            raise NotFound("there is no script of this name, and there cannot be one")
        with self._mutex:
            self._follow_generation()
            cached = self._programs.get(name)
            if cached:
                self._programs.move_to_end(name)
                return cached
            before = self._invalidations
        return self._fill(name, before)

    def invalidate(self, name: str) -> None:
        """Forget one script: it changed."""
        with self._mutex:
            self._invalidations += 1
            self._programs.pop(name, None)

    def clear(self) -> None:
        """Forget everything: what changed while nobody listened is unknown."""
        with self._mutex:
            self._invalidations += 1
            self._programs.clear()

    def _follow_generation(self) -> None:
        now = self._generation.read()
        if now != self._seen:
            self._seen = now
            self._invalidations += 1
            self._programs.clear()

    def _fill(self, name: str, before: int) -> Program:
        program = self._source.program(name)
        if program is None:  # not cached: names that nobody owns are endless
            raise NotFound(f"there is no script '{name}'")
        with self._mutex:
            self._follow_generation()
            if self._invalidations == before:  # else the SELECT may have read what has been replaced since
                self._programs[name] = program
                if len(self._programs) > _PROGRAMS_MAX:
                    self._programs.popitem(last=False)
        return program
