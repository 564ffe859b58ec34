"""What a PiCloud of this machine stands on: its data folder, its folder of sockets, its database.

Owns: that one process at a time uses them. `up` holds them for as long as it runs, other commands for a moment.
"""

import contextlib
import dataclasses
import fcntl
import os
import shutil
from collections.abc import Iterator
from typing import Any

from picloud.cli.parts import stop_undisturbed
from picloud.errors import PlatformError
from picloud.settings import ServerSettings
from picloud.storage.embedded import EmbeddedPostgres

_MARKER = "made-by-picloud"


class AlreadyRuns(PlatformError):
    """A PiCloud runs on this data folder."""


@contextlib.contextmanager
def data_lock(settings: ServerSettings) -> Iterator[None]:
    """One PiCloud a data folder; AlreadyRuns, PlatformError."""
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(settings.data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PlatformError(
            f"{settings.data} cannot be used: {error.strerror}; set PICLOUD_DATA to a folder of yours"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(lock, 32).decode(errors="replace").strip()
        raise AlreadyRuns(f"PiCloud already runs on {settings.data} (pid {pid})") from None
    try:
        os.truncate(lock, 0)
        os.write(lock, b"%d\n" % os.getpid())
        yield
    finally:
        os.close(lock)


def lock_holder(settings: ServerSettings) -> int:
    """The pid of the PiCloud that runs on a data folder; 0 if none does, or that is not to be seen."""
    try:
        lock = os.open(settings.data / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, and for a moment: who asks as well gets it, too
    except BlockingIOError:
        return int(os.read(lock, 32).strip() or b"0")
    else:
        return 0
    finally:
        os.close(lock)


@contextlib.contextmanager
def run_dir(settings: ServerSettings) -> Iterator[None]:
    """A fresh folder for sockets and locks; what a killed start left is cleared away."""
    folder = settings.run_dir
    if folder.exists() and (folder.is_symlink() or folder.stat().st_uid != os.geteuid()):
        raise PlatformError(f"{folder} belongs to somebody else; set PICLOUD_DATA to a folder of yours")
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARKER).exists():
        raise PlatformError(f"{folder} holds what is not PiCloud's; move it away or set PICLOUD_DATA")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    (folder / _MARKER).touch()
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def with_database(stack: contextlib.ExitStack, settings: ServerSettings) -> tuple[ServerSettings, list[Any]]:
    """The same settings with a database that answers, until the stack ends → them, and what was started for it."""
    if settings.database_url:
        return settings, []
    postgres = embedded(settings)
    stack.callback(stop_undisturbed, postgres)
    return dataclasses.replace(settings, database_url=postgres.start()), [postgres]


@contextlib.contextmanager
def database(settings: ServerSettings) -> Iterator[str]:
    """The DSN of the database, whether a server runs here or not."""
    with contextlib.ExitStack() as stack:
        if not settings.database_url and not _runs(stack, settings):
            stack.enter_context(run_dir(settings))
            settings, _ = with_database(stack, settings)
        yield settings.database_url or embedded(settings).dsn


def embedded(settings: ServerSettings) -> EmbeddedPostgres:
    """The PostgreSQL of a data folder."""
    return EmbeddedPostgres(settings.data, settings.run_dir / "pg")


def _runs(stack: contextlib.ExitStack, settings: ServerSettings) -> bool:
    """Whether a server holds the data folder; if none does, nobody else will until the stack ends."""
    try:
        stack.enter_context(data_lock(settings))
    except AlreadyRuns:
        return True
    return False
