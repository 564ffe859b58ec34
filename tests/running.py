"""A whole PiCloud for a test: `picloud up` on a folder of its own, and HTTP to talk to it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Any, TypeVar

from picloud.auth import Scope, new_secret
from picloud.settings import load
from picloud.storage.embedded import EmbeddedPostgres
from picloud.storage.pool import Pool
from picloud.storage.scripts import ScriptTable
from picloud.storage.tokens import TokenTable

ROOT = Path(__file__).parent.parent
Got = TypeVar("Got")

READY = "Ctrl-C stops it.\n"


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
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        self.process: subprocess.Popen[str] | None = None
        self.greeting = ""
        self.stderr: int | None = None  # where to send it; None: where ours goes

    def start(self, *arguments: str) -> None:
        """Start and wait for the greeting."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "picloud", "up", *arguments],
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
        status = self.process.wait(30)
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
            [sys.executable, "-m", "picloud", *arguments],
            env={**self.environment, **environment}, input=stdin, capture_output=True, check=False,
        )  # fmt: skip

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One exchange on a connection of its own."""
        with contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            names = [(name.lower(), value) for name, value in response.getheaders()]
            return Answer(response.status, names, response.read())

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
        blank = dict.fromkeys(("access", "limits", "env", "cors", "expose_errors"))
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
        """Pids of the processes that the kernel knows by a name, such as `picloud-zygote`."""
        return sorted(pid for pid in self.processes() if process_name(pid) == name)

    def _output(self) -> IO[str]:
        assert self.process
        assert self.process.stdout
        return self.process.stdout


@contextlib.contextmanager
def running(data: Path, *arguments: str, **environment: str) -> Iterator[Running]:
    """A PiCloud for the length of a block."""
    ours = Running(data, environment)
    ours.start(*arguments)
    try:
        yield ours
    finally:
        if ours.process:
            ours.stop()


def eventually(ask: Callable[[], Got], accept: Callable[[Got], bool], within_s: float = 10.0) -> Got:
    """Ask again until the answer is acceptable: for what is known to come, and announces itself to nobody."""
    until = time.monotonic() + within_s
    while not accept(got := ask()):
        assert time.monotonic() < until, f"not within {within_s} s: {got}"
        time.sleep(0.02)
    return got


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(pid: int) -> dict[int, str]:
    """A process and everything below it: pid → command line."""
    found = {pid: command_line(pid)}
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found |= descendants(int(child))
    return found


def process_name(pid: int) -> str:
    """What the kernel calls a process; empty if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def command_line(pid: int) -> str:
    """What a process was started as; empty if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""
