"""Folders as one does not like to meet them: that may not be read, that do not end."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

_NOBODY = 65534


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's rights, if we have them."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def shown_to_all(path: Path) -> None:
    """Let everybody look into this folder, and into those that lead there."""
    for folder in (path, *path.parents):
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o755)


@contextlib.contextmanager
def folders_without_end(top: Path) -> Iterator[None]:
    """So many folders in another that who walks them by recursion falls; shutil.rmtree does."""
    before = Path.cwd()
    os.chdir(top)
    try:
        for _ in range(1200):
            Path("d").mkdir()
            os.chdir("d")
        os.chdir(before)
        yield
    finally:
        os.chdir(before)
        subprocess.run(["rm", "-rf", top / "d"], check=True)
