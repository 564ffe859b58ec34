"""The socket on which sandboxes accept, and the right to be the one who holds it.

Owns: run_dir, its lock, binding, and systemd's way of handing a socket over. Knows nothing of zygotes.
"""

import contextlib
import fcntl
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from picloud.errors import ConfigurationError

BACKLOG = 512  # callers that may wait; more than a node admits, so that a full queue is refused before this one is full
_FIRST_SYSTEMD_DESCRIPTOR = 3


def own_folder(path: Path) -> None:
    """Make the folder, for us alone; ConfigurationError if it is somebody else's."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.geteuid():
        raise ConfigurationError(f"{path} belongs to another user; set PICLOUD_DATA to a folder of yours")


def only_one(path: Path) -> int:
    """Hold the lock that says that an executor lives here."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigurationError(f"another executor serves in {path.parent}; stop it first") from None
    return descriptor


def bound(paths: Sequence[Path], undo: contextlib.ExitStack) -> list[socket.socket]:
    """The listening sockets: systemd's if it gives some, else our own, which are removed at the end.

    ConfigurationError if systemd gives others than these.
    """
    given = int(os.environ["LISTEN_FDS"]) if os.environ.get("LISTEN_PID") == str(os.getpid()) else 0
    if not given:
        return [undo.enter_context(made(path, undo)) for path in paths]
    first = _FIRST_SYSTEMD_DESCRIPTOR
    passed = [undo.enter_context(_checked(socket.socket(fileno=number))) for number in range(first, first + given)]
    by_path = {Path(listener.getsockname()): listener for listener in passed}
    if set(by_path) != set(paths):
        raise ConfigurationError(f"systemd must pass sockets on {', '.join(map(str, paths))}, and no others")
    return [by_path[path] for path in paths]


def made(path: Path, undo: contextlib.ExitStack) -> socket.socket:
    """A listening socket of our own, for our user alone, that is removed at the end."""
    path.unlink(missing_ok=True)  # a dead executor's: the lock is ours
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    undo.callback(path.unlink, missing_ok=True)
    listener.listen(BACKLOG)
    return listener


def _checked(listener: socket.socket) -> socket.socket:
    listener.set_inheritable(False)
    if listener.family != socket.AF_UNIX or listener.type != socket.SOCK_SEQPACKET:
        raise ConfigurationError("the socket from systemd must be a ListenSequentialPacket= on a path")
    return listener
