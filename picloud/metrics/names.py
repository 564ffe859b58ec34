"""Which scripts have series of their own: at most 200 of a node, those that ran first. The others are `other`.

Owns: the file that says so to every process: names in the order of their coming, some of them twice. Who comes appends
without a lock, and looks at which place: nobody waits here for a process that was stopped in the middle.

A script that is gone gives its place back when somebody looks (`forget`). The generation then tells whoever has a place
in memory to look again: what was appended meanwhile may be lost, and comes again with the next run.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

MOST = 200
OTHER = "other"  # a script of this name is one of them


class Generation(Protocol):
    """A number that all processes of the node see."""

    def bump(self) -> None:
        """Change it."""

    def read(self) -> int:
        """The present one."""


class Names:
    """The file at `path`, one name a line."""

    def __init__(self, path: Path, generation: Generation) -> None:
        self._path = path
        self.generation = generation

    def claim(self, script: str) -> str:
        """The label of a script's series: its name, or OTHER. OSError: the file cannot be had."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            names = _read(file)
            if script not in names and len(names) < MOST:
                os.write(file, f"{script}\n".encode())
                names = _read(file)
            return script if script in names else OTHER
        finally:
            os.close(file)

    def all(self) -> frozenset[str]:
        """Those that have a place."""
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return frozenset()
        try:
            return frozenset(_read(file))
        finally:
            os.close(file)

    def forget(self, gone: Collection[str]) -> None:
        """Take the place from scripts that are not there any more. By one process at a time."""
        making = self._path.with_suffix(".new")
        making.write_text("".join(f"{name}\n" for name in self.all() - {*gone}), encoding="ascii")
        making.replace(self._path)
        self.generation.bump()


def _read(file: int) -> list[str]:
    data = os.pread(file, os.fstat(file).st_size, 0).decode("ascii", "replace")
    return [*dict.fromkeys(data.split())][:MOST]
