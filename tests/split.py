"""A PiCloud whose services are processes of their own: a manager and an orchestrator with a port each, and others."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from picloud.auth import Scope, new_secret
from picloud.sealing import KeyFile
from picloud.settings import load
from picloud.storage.embedded import EmbeddedPostgres
from picloud.storage.pool import Pool
from picloud.storage.tokens import TokenTable
from tests.processes import children, command_line
from tests.running import PATIENCE_S, Running, eventually, furnish

_LISTENING = ("/bin/sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"')  # as systemd does
_FIRST_PASSED = 3


class Service(Running):
    """One process of it, and HTTP to talk to it if it has a port."""

    def __init__(self, data: Path, module: str, environment: Mapping[str, str]) -> None:
        super().__init__(data, environment)
        self.module = module
        self.listener: socket.socket | None = None  # given: it is passed on as systemd does

    def start(self, *arguments: str) -> None:
        """Start it, and wait until it says that it is ready."""
        notify = load(self.environment).run_dir / self.module
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(notify))
            ready.settimeout(PATIENCE_S)
            self.process = subprocess.Popen(
                [*(_LISTENING if self.listener else ()), sys.executable, "-P", "-m", self.module, *arguments],
                env={**self.environment, "NOTIFY_SOCKET": str(notify)}, stderr=self.stderr, text=True,
                pass_fds=(_FIRST_PASSED,) if self.listener else (), preexec_fn=self._before_exec,
                start_new_session=True,
            )  # fmt: skip
            assert ready.recv(4096).startswith(b"READY=1")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal → its exit status, once its children are gone, too: one that was killed leaves them."""
        assert self.process
        left = self.workers()
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE_S)
        eventually(lambda: [pid for pid in left if command_line(pid)], lambda pids: not pids)
        self.process = None
        return status

    def end(self) -> None:
        """Stop it, if it runs."""
        if self.process:
            self.stop()

    @property
    def database_url(self) -> str:
        return self.environment["PICLOUD_DATABASE_URL"]

    def workers(self) -> list[int]:
        assert self.process
        return sorted(pid for pid, command in children(self.process.pid).items() if command)

    def _before_exec(self) -> None:
        if self.listener:
            os.dup2(self.listener.fileno(), _FIRST_PASSED)


class Split:
    """All of them, on one machine and one database."""

    def __init__(self, data: Path, database_url: str) -> None:
        database = {"PICLOUD_DATABASE_URL": database_url}
        self.executor = Service(data, "picloud.executor.supervisor", {})
        self.manager = Service(data, "picloud.server.manager", database)
        self.orchestrator = Service(data, "picloud.server.orchestrator", database)
        self.dispatcher = Service(data, "picloud.dispatcher", database)
        self.all = (self.executor, self.manager, self.orchestrator, self.dispatcher)


def _furnished(data: Path) -> EmbeddedPostgres:
    """The database of a data folder, with a token and a key as `up` would make them; it is started."""
    furnish(data)
    settings = load({"PICLOUD_DATA": str(data)})
    settings.run_dir.mkdir(mode=0o700, parents=True)
    postgres = EmbeddedPostgres(settings.data, settings.run_dir / "pg", fsync=False)
    with closing(Pool(postgres.start(), size=1, wait_ms=5_000)) as pool:
        settings.admin_token_file.write_text(secret := new_secret())
        TokenTable(pool).put("admin", secret, [Scope.ADMIN])
    KeyFile(settings.secret_key).create()
    return postgres


@contextmanager
def split(data: Path) -> Iterator[Split]:
    """One for the length of a block. The manager's socket is passed on to it, the orchestrator binds its own."""
    postgres = _furnished(data)
    with ExitStack() as stack:
        stack.callback(postgres.stop)
        ours = Split(data, postgres.dsn)
        ours.manager.listener = stack.enter_context(socket.create_server(("127.0.0.1", ours.manager.port)))
        for it in ours.all:
            stack.callback(it.end)
            it.start()
        yield ours
