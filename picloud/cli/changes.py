"""What changes below a folder, as the kernel tells it. Owns inotify: nothing is polled."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from inotify_simple import Event, INotify, flags

from picloud.cli.terminal import say_error
from picloud.errors import PicloudError
from picloud.manager.files import DEPTH_MAX

_SELF = flags.DELETE_SELF | flags.MOVE_SELF
_CHANGES = flags.CLOSE_WRITE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE | flags.CREATE | _SELF | flags.ONLYDIR
_QUIET_MS = 40  # one save is several events: so long without another, and it is over
_READS_MAX = 50  # then it is no save but a stream
_DEPTH_MAX = 1 + DEPTH_MAX  # of a folder: nothing below may be in a bundle


class _NoMoreWatches(PicloudError):
    """The kernel's limit is reached."""


class Changes:
    """What changes below a folder, one burst after the other."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._inotify = INotify()
        self._folders: dict[int, Path] = {}  # by watch
        self._above = set(self._watch_above())
        self._follow_all(self._add(root))

    def __enter__(self) -> "Changes":
        return self

    def __exit__(self, *_: object) -> None:
        self._inotify.close()

    def wait(self) -> set[Path] | None:
        """Block until something changes, then until that is over → entries of the root; None: the root is gone."""
        events = list(self._inotify.read())
        for _ in range(_READS_MAX):
            if not (more := self._inotify.read(timeout=_QUIET_MS)):
                break
            events += more
        touched = set().union(*map(self._of, events))
        return touched if self._root in self._folders.values() else None

    def _of(self, event: Event) -> set[Path]:
        """The entries of the root that one event is about; a new folder is watched from here on."""
        if event.wd in self._above:
            return self._begin_again()  # our path leads elsewhere now, or nowhere
        folder = self._folders.get(event.wd)
        if event.mask & flags.IGNORED:
            self._folders.pop(event.wd, None)
        if event.mask & flags.Q_OVERFLOW or (folder == self._root and event.mask & _SELF):
            return self._begin_again()  # some were lost, or another folder took the root's place
        if folder is None or not event.name or event.name.startswith("."):
            return set()
        if event.mask & flags.ISDIR and event.mask & (flags.CREATE | flags.MOVED_TO):
            self._follow_all([folder / event.name])
        elif event.mask & flags.CREATE and not _is_link(folder / event.name):
            return set()  # it is being written; CLOSE_WRITE follows
        return {self._root / (folder / event.name).relative_to(self._root).parts[0]}

    def _watch_above(self) -> Iterator[int]:
        """Who renames a folder above takes the root away, too."""
        for above in self._root.parents:
            with contextlib.suppress(OSError):  # that may not be read
                yield self._inotify.add_watch(above, flags.MOVE_SELF)

    def _begin_again(self) -> set[Path]:
        for watch in [watch for watch, folder in self._folders.items() if folder == self._root]:
            del self._folders[watch]
        self._follow_all([self._root])
        return {Path(entry.path) for entry in os.scandir(self._root)} if self._root.is_dir() else set()

    def _follow_all(self, folders: list[Path]) -> None:
        """Watch folders and those below them; of one that cannot be, this is said, and the rest is watched."""
        while folders:
            try:
                folders += self._add(folders.pop())
            except _NoMoreWatches as error:
                say_error(error)
                return
            except PicloudError as error:
                say_error(error)

    def _add(self, folder: Path) -> list[Path]:
        """Watch a folder → those in it; what appears meanwhile is either seen here or is an event."""
        if len(folder.relative_to(self._root).parts) > _DEPTH_MAX:
            return []
        try:
            self._folders[self._inotify.add_watch(folder, _CHANGES)] = folder
            with os.scandir(folder) as entries:
                return [
                    Path(it.path) for it in entries if it.is_dir(follow_symlinks=False) and not it.name.startswith(".")
                ]
        except (FileNotFoundError, NotADirectoryError):
            return []  # gone again
        except OSError as error:
            raise _unwatched(folder, error) from error


def wait_until_there(folder: Path) -> None:
    """Block until a folder is there again."""
    while True:
        with INotify() as inotify:
            for above in folder.parents:
                with contextlib.suppress(OSError):  # what is not there, or may not be watched
                    inotify.add_watch(above, flags.CREATE | flags.MOVED_TO | _SELF | flags.ONLYDIR)
            if folder.is_dir():
                return
            inotify.read()


def _is_link(path: Path) -> bool:
    """Whether it came whole, by link(2) or symlink(2)."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISLNK(status.st_mode) or status.st_nlink > 1


def _unwatched(folder: Path, error: OSError) -> PicloudError:
    if error.errno == errno.ENOSPC:
        advice = "'sysctl fs.inotify.max_user_watches' says how many folders may be"
        return _NoMoreWatches(f"{folder} cannot be watched, nor what follows: {error.strerror}; {advice}")
    return PicloudError(f"{folder} cannot be watched: {error.strerror}")
