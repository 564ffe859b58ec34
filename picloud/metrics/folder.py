"""The files of all processes of a node: of those that live, and what the dead have left.

Owns: which file is whose, and that no count is lost or counted twice, whoever is killed when.

A process holds a lock on its counter file for as long as it lives: the kernel knows who is dead, whatever became of
its pid. Whoever comes next, or looks, folds the files of the dead into one: their counts stay, their gauges go, and
a year of restarts takes no more room than a day. All this is done under the folder's own lock.

    lock                  the folder's
    counter_ID.db …       of the process ID: see `cells`; ID is its pid and when it began
    folded-N/             of the dead: their counters and histograms, and in `gone` the IDs that are in them

A fold is made aside and takes its name in one rename. Files of IDs that are in `gone`, and the folds before it, are
nothing from that moment on; if whoever made it is killed before they are deleted, the next one does it.
"""

import errno
import fcntl
import logging
import os
import shutil
import struct
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from picloud.metrics.cells import NOWHERE, Cells, labels_of, read
from picloud.metrics.names import OTHER, Names
from picloud.metrics.series import Kind

_ADDED = (Kind.COUNTER, Kind.HISTOGRAM)  # what outlives its process
_PREFIXES = {Kind.COUNTER: "counter", Kind.HISTOGRAM: "histogram", Kind.GAUGE: "gauge_livesum"}
_FOLDED, _MAKING, _GONE = "folded-", "making", "gone"

_WRONG = (ValueError, LookupError, TypeError, struct.error)

_log = logging.getLogger(__name__)


class Folder:
    """One of a node; nothing is opened before `own` or `reading`."""

    def __init__(self, path: Path, names: Names) -> None:
        self.path = path
        self._names = names

    def own(self) -> tuple[int, dict[Kind, Cells]]:
        """Files of our own, for as long as we live or the lock, a descriptor, is open; OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        identifier = f"{os.getpid()}-{time.time_ns():x}"
        with self._locked():
            self._tidy()
            cells = {kind: Cells(self._of(kind, identifier)) for kind in Kind}
            lock = os.open(self._of(Kind.COUNTER, identifier), os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX)
        return lock, cells

    @contextmanager
    def reading(self) -> Iterator[list[Path]]:
        """Every file that counts, for the length of the block."""
        with self._locked():
            self._tidy()
            folds = self._folds()[-1:]
            yield [it for folder in (*folds, self.path) for it in sorted(folder.glob("*.db")) if _is_made(it)]

    def _tidy(self) -> None:
        self._clear()
        dead = [identifier for identifier in self._identifiers() if self._is_dead(identifier)]
        if not dead:
            return
        try:
            self._bury(dead)
        except OSError as error:  # no room: their files count as they are
            _log.warning("what ended processes have counted is not added up: %s", error)
        else:
            self._clear()

    def _clear(self) -> None:
        """Delete what the last fold has taken, and what never became one."""
        shutil.rmtree(self.path / _MAKING, ignore_errors=True)
        folds = self._folds()
        for folder in folds[-1:]:
            for identifier in (folder / _GONE).read_text(encoding="ascii").split():
                for kind in Kind:
                    self._of(kind, identifier).unlink(missing_ok=True)
        for folder in folds[:-1]:
            shutil.rmtree(folder, ignore_errors=True)

    def _bury(self, dead: list[str]) -> None:
        folds, making = self._folds(), self.path / _MAKING
        making.mkdir(mode=0o700)
        for kind in _ADDED:
            name = f"{_PREFIXES[kind]}_folded.db"
            before = [folder / name for folder in folds[-1:]]
            self._add_up([*before, *(self._of(kind, identifier) for identifier in dead)], making / name)
        (making / _GONE).write_text("\n".join(dead), encoding="ascii")
        number = int(folds[-1].name.removeprefix(_FOLDED)) + 1 if folds else 0
        making.rename(self.path / f"{_FOLDED}{number:08d}")

    def _add_up(self, files: list[Path], into: Path) -> None:
        """Without what is of scripts that have no series any more."""
        names, sums = {*self._names.all(), OTHER}, defaultdict[bytes, float](float)
        for file in filter(_is_made, files):
            try:
                found = [(key, number) for key, number in read(file) if labels_of(key) is not None]
            except _WRONG as error:  # the power failed, say: what was counted there is lost, and nothing else
                _log.warning("%s is no file of counts, and is left out: %s", file, error)
                continue
            for key, number in found:
                sums[key] += number
        with closing(Cells(into)) as cells:
            for key, number in sums.items():
                if labels_of(key).get("script", OTHER) in names and cells.put(key, number) == NOWHERE:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _folds(self) -> list[Path]:
        """The last one is the one that counts."""
        return sorted(self.path.glob(f"{_FOLDED}*"))

    def _identifiers(self) -> Iterable[str]:
        return [it.name.removesuffix(".db").rpartition("_")[2] for it in self.path.glob("counter_*.db")]

    def _is_dead(self, identifier: str) -> bool:
        file = os.open(self._of(Kind.COUNTER, identifier), os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(file)
        return True

    def _of(self, kind: Kind, identifier: str) -> Path:
        return self.path / f"{_PREFIXES[kind]}_{identifier}.db"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _is_made(path: Path) -> bool:
    """Who was killed while it made its files has left one that is empty, or none."""
    return path.exists() and path.stat().st_size > 0
