"""A release from a checkout: `python3 -m picloud.installation.build [OPTION…]` makes it, and has it install itself.

Owns: how a release is named and made. The name is the version and a digest of all that it is made of: what is there
already is not made again. It wants nothing but Python's own library: nothing else is there yet.

The sources are copied first, without modes and owners: setuptools leaves nothing of root's in the checkout, and what an
earlier build left there is not installed. pip reads its own variables, PIP_INDEX_URL or PIP_FIND_LINKS, as ever.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from picloud import __version__
from picloud.installation.places import HOME, MARK, RELEASES

PYTHON = "/usr/bin/python3"  # Debian's: who runs the services has to reach it, and Debian mends it
_CHECKOUT = Path(__file__).parents[2]
_PARTS = ("README.md", "config", "docs", "picloud", "pyproject.toml", "sandbox", "setup.cfg", "systemd")
_OTHERS_WRITE = 0o022


def main() -> int:
    """Make the release of this checkout, unless it is there, and become its `picloud install`."""
    if os.geteuid() != 0:
        sys.stderr.write("error: only root can install: sudo make install\n")
        return 1
    os.umask(_OTHERS_WRITE)
    try:
        release = _made()
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"error: the release could not be made; what failed stands above: {' '.join(error.cmd)}\n")
        return 1
    return _become(release / "bin/picloud", "install", *sys.argv[1:])


def _made() -> Path:
    RELEASES.mkdir(parents=True, exist_ok=True)
    lock = os.open(HOME, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # what we become takes it again
    fcntl.flock(lock, fcntl.LOCK_EX)
    with tempfile.TemporaryDirectory(prefix="picloud-source-") as folder:
        source = Path(folder)
        _copy(_CHECKOUT, source)
        release = RELEASES / f"{__version__}-{_digest(source)}"
        if not (release / MARK).exists():
            print(f"making release {release.name}", flush=True)  # noqa: T201 - there is no click yet
            _make(source, release)
    return release


def _copy(checkout: Path, source: Path) -> None:
    """What a release is made of."""
    for path in _files(checkout):
        copy = source / path.relative_to(checkout)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _files(folder: Path) -> Iterator[Path]:
    for part in _PARTS:
        whole = folder / part
        inside = [whole] if whole.is_file() else whole.rglob("*")
        yield from sorted(path for path in inside if path.is_file() and path.suffix != ".pyc")


def _digest(source: Path) -> str:
    """Of all that a release is made of; another Python makes another one."""
    found = hashlib.sha256(f"{platform.python_version()} {platform.machine()}\n".encode())
    for path in _files(source):
        found.update(f"{path.relative_to(source)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()[:10]


def _make(source: Path, release: Path) -> None:
    """A virtual environment with all that is needed, compiled; the mark comes last, once the rest is on the disk."""
    shutil.rmtree(release, ignore_errors=True)  # it was broken off
    _run(PYTHON, "-m", "venv", str(release))
    constraints = source / "config/constraints.txt"
    _run(str(release / "bin/pip"), "install", "-q", "--use-pep517", "-c", str(constraints), str(source))
    os.sync()
    mark = release / f".{MARK}"
    mark.write_text(json.dumps({"version": __version__, "python": platform.python_version()}) + "\n", encoding="ascii")
    mark.rename(release / MARK)


def _run(*command: str) -> None:
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    subprocess.run(command, env={**os.environ, **quiet}, check=True, stdin=subprocess.DEVNULL)


def _become(program: Path, *arguments: str) -> NoReturn:
    sys.stdout.flush()
    os.chdir("/")
    os.execv(program, [str(program), *arguments])  # noqa: S606 - there is no shell to start it without


if __name__ == "__main__":
    sys.exit(main())
