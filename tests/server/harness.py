"""Our server as a process of its own, and the means to look at it from outside."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

from tests.processes import children
from tests.running import ROOT, free_port

PATIENCE_S = 60.0


class Server:
    """One `tests.server.app`, listening on TCP unless `bind` says otherwise."""

    def __init__(self, folder: Path, bind: str = "", **environment: str) -> None:
        self.port = free_port()
        self.bind = bind or f"127.0.0.1:{self.port}"
        self.log = folder / "stderr"
        self._journal = folder / "journal"
        self._notify = folder / "notify"
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PICLOUD_")},
            "PYTHONPATH": str(ROOT), "PICLOUD_BIND": self.bind, "PICLOUD_THREADS": "8",
            "PICLOUD_PARKED_MAX": "0",  # nobody waits for the network here: no threads beside those
            "TEST_JOURNAL": str(self._journal), "NOTIFY_SOCKET": str(self._notify), **environment,
        }  # fmt: skip
        self.notifications: list[str] = []

    def start(self, *argv: str, descriptors: tuple[int, ...] = (), await_workers: bool = True) -> None:
        """Start it, and wait until it says that it is ready."""
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready.bind(str(self._notify))
        self._ready.settimeout(PATIENCE_S)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                argv or (sys.executable, "-m", "tests.server.app"),
                env=self._environment, stderr=log, cwd=ROOT, pass_fds=descriptors, start_new_session=True,
            )  # fmt: skip
        self.notifications.append(self._ready.recv(4096).decode())
        if await_workers:
            until(lambda: len(self.journal("start")) >= int(self._environment.get("PICLOUD_WORKERS", "2")))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop → its exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """→ its exit status, once it has ended by itself."""
        status = self.process.wait(PATIENCE_S)
        self._ready.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.notifications.append(self._ready.recv(4096).decode())
        self._ready.close()
        return status

    def workers(self) -> set[int]:
        """The pids of the arbiter's children."""
        return set(children(self.process.pid))

    def journal(self, word: str) -> list[int]:
        """The pids of workers whose service was started or stopped."""
        text = self._journal.read_text() if self._journal.exists() else ""
        return [int(line.split()[1]) for line in text.splitlines() if line.startswith(word)]

    def connect(self) -> socket.socket:
        """A connection of our own."""
        if self.bind.startswith("unix:"):
            client = socket.socket(socket.AF_UNIX)
            client.connect(self.bind.removeprefix("unix:"))
        else:
            client = socket.create_connection(("127.0.0.1", self.port))
        client.settimeout(PATIENCE_S)
        return client

    def raw(self, request: bytes) -> bytes:
        """Bytes in, bytes out until the server closes."""
        with self.connect() as client:
            client.sendall(request)
            return read_to_end(client)

    def get(self, path: str = "/hello") -> bytes:
        """The body of one answer, on a connection of its own."""
        with contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)) as client:
            client.request("GET", path)
            return client.getresponse().read()

    def switches(self) -> dict[str, int]:
        """How often each thread of each process was switched, by process/thread."""
        counts = {}
        for pid in {self.process.pid, *self.workers()}:
            for task in Path(f"/proc/{pid}/task").iterdir():
                found = re.findall(r"^\w*voluntary_ctxt_switches:\s*(\d+)", (task / "status").read_text(), re.MULTILINE)
                counts[f"{pid}/{task.name}"] = sum(map(int, found))
        return counts


class Gate:
    """Holds requests to /block in the middle, for as long as a test wants."""

    def __init__(self, path: Path) -> None:
        self.path = f"/block?{path}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._listener.settimeout(PATIENCE_S)
        self._held: list[socket.socket] = []

    def wait_for_one(self) -> int:
        """Until one more request has begun → the pid of its worker."""
        held, _ = self._listener.accept()
        self._held.append(held)
        return int(held.recv(16))

    def open(self) -> None:
        """Let go of who has begun."""
        while self._held:
            self._held.pop().close()

    def close(self) -> None:
        self.open()
        self._listener.close()


@contextlib.contextmanager
def serving(folder: Path, bind: str = "", **environment: str) -> Iterator[Server]:
    """A server for the length of a block."""
    server = Server(folder, bind, **environment)
    server.start()
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGQUIT)


def until(condition: Callable[[], object], seconds: float = PATIENCE_S) -> float:
    """Wait until it is so → how long it took; fails if it never is."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it never came to be"
        time.sleep(0.01)
    return time.monotonic() - started


def within(limit_s: float, attempt: Callable[[], float]) -> bool:
    """Whether it takes less than that once in three times: on a busy machine it may take longer, but not each time."""
    return any(attempt() < limit_s for _ in range(3))


def read_to_end(client: socket.socket) -> bytes:
    """Everything until the server closes; a reset fails."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def read_answer(client: socket.socket, method: str = "GET") -> tuple[HTTPResponse, bytes]:
    """One answer on a connection that stays open."""
    response = HTTPResponse(client, method=method)
    response.begin()
    return response, response.read()


def children_gone(pids: set[int]) -> bool:
    """Whether none of these processes is there."""
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)
