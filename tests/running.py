"""A whole PiCloud for a test: `picloud up` on a folder of its own, and HTTP to talk to it."""

import atexit
import contextlib
import functools
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, IncompleteRead
from pathlib import Path
from typing import IO, Any, TypeVar

from picloud.auth import Scope, new_secret
from picloud.settings import load
from picloud.storage.embedded import EmbeddedPostgres
from picloud.storage.migrate import migrate
from picloud.storage.pool import Pool
from picloud.storage.scripts import ScriptTable
from picloud.storage.tokens import TokenTable
from tests.processes import children, command_line, descendants, leads_a_session, process_name, stopped, user_ticks

ROOT = Path(__file__).parent.parent
Got = TypeVar("Got")

READY = "Ctrl-C stops it.\n"
PATIENCE_S = 60.0  # for what is known to come: a machine may be busy with something else
_PORTS = range(15_000, 30_000)  # below those that the kernel gives to who connects, and to who asks for any


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; header names in lower case, repeats in a list."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The name of the problem that this is; fails if it is none, or not a whole one."""
        assert self.header("content-type") == "application/problem+json", self
        document = self.json
        assert document["status"] == self.status
        assert document["title"]
        assert "Traceback" not in self.body.decode()
        name = str(document["type"])
        assert name.startswith("/problems/")
        return name.removeprefix("/problems/")


class CutOff(HTTPException):
    """An answer ended before it was whole."""

    @property
    def answer(self) -> Answer:
        """What came of it."""
        answer: Answer = self.args[0]
        return answer


class Running:
    """A PiCloud that runs in a process of ours."""

    def __init__(self, data: Path, environment: Mapping[str, str]) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PICLOUD_")},
            "PICLOUD_DATA": str(data),
            "PICLOUD_BIND": f"127.0.0.1:{self.port}",
            "PICLOUD_QUEUE_MS": "30000",  # who is to be refused earlier says so: this machine may be busy with others
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        self.process: subprocess.Popen[str] | None = None
        self.greeting = ""
        self.stderr: int | None = None  # where to send it; None: where ours goes
        self.module = "picloud"  # what is started: its `up`
        self.server = "picloud.server"  # what the command lines of those who serve HTTP have in them
        self.before: list[str] = []  # what its commands begin with, such as `command_without(…)`

    def start(self, *arguments: str) -> None:
        """Start and wait for the greeting."""
        self.process = subprocess.Popen(
            [*self.before, sys.executable, "-m", self.module, "up", *arguments],
            env=self.environment, stdout=subprocess.PIPE, stderr=self.stderr, text=True, start_new_session=True,
        )  # fmt: skip
        output = self._output()
        lines: list[str] = []
        while not lines or lines[-1] != READY:
            line = output.readline()
            assert line, f"picloud up ended with {self.process.wait()}: {''.join(lines)}"
            lines.append(line)
        self.greeting = "".join(lines)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop → its exit status."""
        assert self.process
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE_S)
        self._output().close()
        self.process = None
        return status

    @property
    def database_url(self) -> str:
        """Of its embedded PostgreSQL."""
        settings = load(self.environment)
        return EmbeddedPostgres(settings.data, settings.run_dir / "pg").dsn

    @property
    def token(self) -> str:
        return (self.data / "admin.token").read_text().strip()

    def cli(self, *arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        """Run `picloud …` against this PiCloud."""
        return subprocess.run(
            [*self.before, sys.executable, "-m", "picloud", *arguments],
            env={**self.environment, **environment}, input=stdin, capture_output=True, check=False,
        )  # fmt: skip

    def connection(self) -> HTTPConnection:
        """A new one, not open yet."""
        return HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One exchange on a connection of its own."""
        with contextlib.closing(self.connection()) as connection:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            names = [(name.lower(), value) for name, value in response.getheaders()]
            try:
                return Answer(response.status, names, response.read())
            except IncompleteRead as error:
                raise CutOff(Answer(response.status, names, error.partial)) from error

    def new_token(self, *scopes: Scope) -> str:
        """A token of its own with these scopes."""
        secret = new_secret()
        with contextlib.closing(Pool(self.database_url, size=1, wait_ms=5_000)) as pool:
            TokenTable(pool).put("test " + " ".join(scopes), secret, scopes)
        return secret

    def api(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Answer:
        """One exchange with the control plane; a body that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.token}"} | (
            {"content-type": content_type} if data is not None else {}
        )
        return self.call(method, f"/api/v1/{path}", data, headers)

    def deploy(self, name: str, source: str | bytes) -> Answer:
        """Upload a script; fails if it is refused."""
        text = source.encode() if isinstance(source, str) else source
        answer = self.api("PUT", f"scripts/{name}", text, "text/x-lua")
        assert answer.status in (200, 201), answer
        return answer

    def set(self, name: str, settings: Mapping[str, object]) -> None:
        """Make these a script's settings, whatever they were."""
        keys = (
            *("access", "limits", "env", "cors", "expose_errors", "allow_hosts", "kv", "secrets", "invoke"),
            *("idempotency", "record", "retry", "webhook"),
        )
        blank = dict.fromkeys(keys)
        assert self.api("PATCH", f"scripts/{name}/settings", blank).status == 200
        answer = self.api("PATCH", f"scripts/{name}/settings", settings)
        assert answer.status == 200, answer

    def set_elsewhere(self, name: str, settings: Mapping[str, object]) -> None:
        """The same as another node would: this one hears of it by NOTIFY alone."""
        with contextlib.closing(Pool(self.database_url, size=1, wait_ms=5_000)) as pool:
            ScriptTable(pool).change_settings(name, lambda _: settings)

    def record_of(self, answer: Answer) -> dict[str, Any]:
        """The invocation behind an answer, once its batch is written."""
        path = f"invocations/{answer.header('picloud-invocation')}"
        found = eventually(lambda: self.api("GET", path), lambda got: got.status == 200)
        record: dict[str, Any] = found.json
        return record

    def at_once(self, count: int, method: str, path: str) -> list[Answer]:
        """The same request from so many threads."""
        with ThreadPoolExecutor(count) as threads:
            return list(threads.map(lambda _: self.call(method, path), range(count)))

    def raw(self, request: bytes) -> bytes:
        """Bytes in, bytes out, until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def processes(self) -> dict[int, str]:
        """Every process of this PiCloud: pid → command line."""
        assert self.process
        return descendants(self.process.pid)

    def named(self, name: str) -> list[int]:
        """Pids of the processes that the kernel knows by a name, such as `picloud-sandbox`."""
        return sorted(pid for pid in self.processes() if process_name(pid) == name)

    def parts(self, words: str) -> list[int]:
        """The pids of parts with these words in their command lines, such as `picloud.server`.

        A part is a child of `picloud up`. Pids say nothing of who is older: there may be 32,768 of them, then they
        begin again, for which a few minutes of tests are enough.
        """
        assert self.process
        return [pid for pid, command in children(self.process.pid).items() if words in command]

    def part(self, words: str) -> int:
        """The one that there is."""
        (pid,) = self.parts(words)
        return pid

    def workers(self) -> list[int]:
        """Pids of the processes that serve HTTP."""
        return sorted(pid for pid, command in children(self.part(self.server)).items() if command)

    def by_each_worker(self) -> Iterator[int]:
        """Each worker in turn, while the others are stopped: what is asked meanwhile, it answers."""
        workers = eventually(self.workers, lambda pids: len(pids) == load(self.environment).workers)
        for one in workers:
            with stopped(pid for pid in workers if pid != one):
                yield one

    def zygote(self) -> int:
        """Its pid, once there is one: a child just forked is called the same, but leads no session."""

        def zygotes() -> list[int]:
            return [pid for pid in self.named("picloud-zygote") if leads_a_session(pid)]

        return eventually(zygotes, lambda pids: len(pids) == 1)[0]

    def kill_server(self) -> None:
        """End the arbiter of the workers by force → once they are gone and others serve."""
        arbiter = self.part(self.server)
        before = [arbiter, *self.workers()]
        os.kill(arbiter, signal.SIGKILL)
        eventually(lambda: [pid for pid in before if self.server in command_line(pid)], lambda left: not left)
        eventually(self.has_workers, bool)
        assert self.call("GET", "/healthz").status == 200

    def has_workers(self) -> bool:
        """Whether there are as many workers as there should be."""
        with contextlib.suppress(ValueError):  # while there is no arbiter
            return len(self.workers()) == load(self.environment).workers
        return False

    @contextlib.contextmanager
    def spinning(self, path: str, count: int) -> Iterator[None]:
        """So many requests to a script that never ends, each of which computes; at the end they are killed."""
        request = f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
        callers: list[socket.socket] = []

        def computing() -> list[int]:
            answered = select.select(callers, [], [], 0)[0]  # refused: the pool was not full yet
            for caller in answered:
                callers.remove(caller)
                caller.close()
            while len(callers) < count:
                callers.append(socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S))
                callers[-1].sendall(request)
            return self.computing()

        sandboxes = eventually(computing, lambda pids: len(pids) >= count)
        try:
            yield
        finally:
            for pid in sandboxes:
                os.kill(pid, signal.SIGKILL)
            for caller in callers:
                assert caller.recv(4096), "it was not answered when its sandbox was killed"
                caller.close()

    def computing(self) -> list[int]:
        """The sandboxes that have used a tenth of a second of CPU: those that wait have used a hundredth."""
        ticks = os.sysconf("SC_CLK_TCK") // 10
        return [pid for pid in self.named("picloud-sandbox") if user_ticks(pid) >= ticks]

    def _output(self) -> IO[str]:
        assert self.process
        assert self.process.stdout
        return self.process.stdout


@functools.cache
def made_database() -> Path:
    """A PostgreSQL as `picloud up` leaves it in a data folder, with all tables: to make one takes most of a start."""
    folder = Path(tempfile.mkdtemp(prefix="picloud-made-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = EmbeddedPostgres(folder, folder / "run", fsync=False)
    migrate(server.start())
    server.stop()
    return folder / "postgres"


def furnish(data: Path) -> None:
    """Put a copy of that into a data folder that is empty or does not exist yet."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not any(data.iterdir()):
        subprocess.run(["cp", "-a", made_database(), data / "postgres"], check=True)


@contextlib.contextmanager
def running_from_nothing(data: Path, *arguments: str, **environment: str) -> Iterator[Running]:
    """A PiCloud for the length of a block, which makes its own database."""
    ours = Running(data, environment)
    ours.start(*arguments)
    try:
        yield ours
    finally:
        if ours.process:
            ours.stop()


@contextlib.contextmanager
def running(data: Path, *arguments: str, **environment: str) -> Iterator[Running]:
    """The same with a database that is there already."""
    if "PICLOUD_DATABASE_URL" not in environment:
        furnish(data)
    with running_from_nothing(data, *arguments, **environment) as ours:
        yield ours


def eventually(ask: Callable[[], Got], accept: Callable[[Got], bool], within_s: float = PATIENCE_S) -> Got:
    """Ask again until the answer is acceptable: for what is known to come, and announces itself to nobody."""
    until = time.monotonic() + within_s
    while not accept(got := ask()):
        assert time.monotonic() < until, f"not within {within_s} s: {got}"
        time.sleep(0.02)
    return got


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on, and that nobody gets who does not ask for it."""
    while True:
        port = random.choice(_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
