"""A process that does what it is told and sleeps meanwhile: started by the tests of what rests.

A line on its standard input is a command; it answers each with a line.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

import prctl

_told = threading.Semaphore(0)
_done = threading.Semaphore(0)


def _helper() -> None:
    prctl.set_name("the-helper")
    while True:
        _told.acquire()
        _done.release()


def _write(count: int, path: Path) -> None:
    with path.open("wb") as file:
        file.write(os.urandom(count))
        os.fsync(file.fileno())


def _child() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    sys.stdout.write(f"{child.pid}\n")


def main() -> None:
    """Serve until the end of the input."""
    threading.Thread(target=_helper, daemon=True).start()
    for line in sys.stdin:
        match line.split():
            case ["help"]:
                _told.release()
                _done.acquire()
            case ["write", count, path]:
                _write(int(count), Path(path))
            case ["child"]:
                _child()
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
