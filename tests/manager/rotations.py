"""Rotations of a key that crash at every line of the code, one after the other; each in a process that really dies.

`python -m tests.manager.rotations DSN FILE` prints how many there were; it ends with the number of the line at which
something was lost, or 0.
"""

import os
import sys
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

from picloud import sealing
from picloud.manager import secrets as rules
from picloud.manager.secrets import Secrets, rotate
from picloud.sealing import KeyFile
from picloud.storage import secrets as storage
from picloud.storage.pool import Pool
from picloud.storage.secrets import SecretTable

OURS = {str(it.__file__) for it in (sealing, rules, storage)}
VALUES = {"A": "first", "B": "second"}


class CrashAt:
    """Ends the process once it has come to so many of our lines."""

    def __init__(self, line: int) -> None:
        self.left = line

    def __call__(self, frame: FrameType, event: str, _: Any) -> "CrashAt | None":
        if frame.f_code.co_filename not in OURS:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                os._exit(1)
        return self


def rotates(dsn: str, path: Path, line: int) -> bool:
    """Rotate in a process that ends at that line → whether it was done before."""
    child = os.fork()
    if child == 0:
        with closing(Pool(dsn, size=1, wait_ms=5_000)) as pool:
            sys.settrace(CrashAt(line))
            rotate(KeyFile(path), SecretTable(pool))
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def is_whole(path: Path, table: SecretTable, *readers: KeyFile) -> bool:
    """Whether every value opens, to who has just come and to who was there before."""
    return all(
        {name: reader.open(name, str(table.sealed(name))) for name in VALUES} == VALUES
        for reader in (KeyFile(path), *readers)
    )


def main(dsn: str, path: Path) -> int:
    """Crash at the first line, at the second, and so on to the end; look after each, and put it right."""
    os.fsync = lambda fd: None  # processes die here, not the power
    worker = KeyFile(path)
    worker.create()
    with closing(Pool(dsn, size=1, wait_ms=5_000)) as pool:
        table, line = SecretTable(pool), 1
        for name, value in VALUES.items():
            Secrets(table, worker, lambda: None).put(name, value)
        while not rotates(dsn, path, line):
            if not is_whole(path, table, worker):
                return line
            rotate(KeyFile(path), table)
            if not is_whole(path, table, worker) or len(path.read_text().split()) != 1:
                return line
            line += 1
    print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
