"""Many clients at once, in a process of their own: `python -m tests.acceptance.flooding PORT PATH PHASE…`

A phase is `CLIENTS:SECONDS:TIMES`. Each client has one connection. With TIMES 0 it asks again as soon as it is
answered; else requests are begun at so many times the rate that was served in the phase before, whatever becomes of
them, each by a client that waits for nothing. Each phase ends when whoever asked has been answered. On stdout as JSON,
for each phase: the fields of `Load`.
"""

import contextlib
import json
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import NamedTuple

from tests.running import PATIENCE_S, ROOT

OK = 200
REFUSED = (429, 503)

_HEAD = re.compile(rb"HTTP/1\.1 (\d+) .*?\r\ncontent-length: (\d+)\r\n(?:.*?\r\n)??\r\n", re.IGNORECASE | re.DOTALL)
_CLOSES = re.compile(rb"\r\nconnection: close\r\n", re.IGNORECASE)
_AGAIN = re.compile(rb"\r\nretry-after: \d+\r\n", re.IGNORECASE)
_TICK_S = 0.005


class Seen(NamedTuple):
    """One answer."""

    status: int
    ms: float  # from the request to its end
    again: bool  # whether it has Retry-After
    at_s: float  # when it was asked for, from the beginning of the phase


@dataclass(frozen=True)
class Load:
    """What the clients saw in a phase."""

    seconds: float  # in which was asked
    asked: int
    answers: list[Seen]

    def after(self, seconds: float) -> "Load":
        """What was asked for from then on, and answered."""
        later = [seen for seen in self.answers if seen.at_s >= seconds]
        return Load(self.seconds - seconds, len(later), later)

    def served_ms(self) -> list[float]:
        """How long each had to wait who got what it asked for."""
        return sorted(seen.ms for seen in self.answers if seen.status == OK)

    def refused_ms(self) -> list[float]:
        """How long each had to wait who was refused."""
        return sorted(seen.ms for seen in self.answers if seen.status in REFUSED)


@dataclass(frozen=True)
class Phase:
    """What the clients are to do."""

    clients: int
    seconds: float
    times: float = 0  # as many as were served before; 0: each client asks again at once


def percentile(sorted_values: list[float], percent: int) -> float:
    """At least so many of a hundred are as small as this; infinite if there is none."""
    rank = len(sorted_values) * percent // 100
    return sorted_values[min(len(sorted_values) - 1, rank)] if sorted_values else float("inf")


class Flood:
    """The clients' process: begun at once."""

    def __init__(self, port: int, path: str, *phases: Phase) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`; a pipe would fill up
        told = [f"{phase.clients}:{phase.seconds}:{phase.times}" for phase in phases]
        argv = [sys.executable, "-m", "tests.acceptance.flooding", str(port), path, *told]
        self._process = subprocess.Popen(argv, cwd=ROOT, stdout=self._output)

    def goes_on(self) -> bool:
        """Whether there are clients still."""
        return self._process.poll() is None

    def end(self) -> list[Load]:
        """Wait for it → what the clients saw, phase by phase."""
        assert self._process.wait() == 0
        with self._output as output:
            output.seek(0)
            said = json.load(output)
        return [Load(it["seconds"], it["asked"], [Seen(*seen) for seen in it["answers"]]) for it in said]


class _Client:
    """One connection and its one request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.began = 0.0  # 0: it rests
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(self.address, PATIENCE_S)
        self.received = b""


class _Crowd:
    def __init__(self, port: int, path: str, clients: int) -> None:
        self.request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        self.poller = select.epoll()
        self.clients: dict[int, _Client] = {}
        self.answers: list[Seen] = []
        # taken in turn: a server closes connections on which nothing was ever asked
        self.resting = deque(self._enter(_Client(("127.0.0.1", port))) for _ in range(clients))
        self.asked = self.under_way = 0
        self.began = time.monotonic()

    def run(self, seconds: float, per_s: float) -> Load:
        begun = 0
        while (passed := time.monotonic() - self.began) < seconds:
            due = int(passed * per_s) - begun if per_s else len(self.resting)
            for _ in range(min(due, len(self.resting))):
                self._ask(self.resting.popleft())
            begun += max(0, due)  # those for whom nobody rests are given up
            self._wait(_TICK_S)
        while self.under_way and time.monotonic() < self.began + seconds + PATIENCE_S:
            self._wait(_TICK_S)
        for client in self.clients.values():
            client.socket.close()
        self.poller.close()
        return Load(seconds, self.asked, self.answers)

    def _ask(self, client: _Client) -> None:
        client.began = time.monotonic()
        self.asked += 1
        self.under_way += 1
        with contextlib.suppress(OSError):  # it is read that it is gone
            client.socket.sendall(self.request)

    def _wait(self, seconds: float) -> None:
        for number, _ in self.poller.poll(seconds):
            self._read(self.clients[number])

    def _read(self, client: _Client) -> None:
        data = _received(client.socket)
        client.received += data
        head = _HEAD.match(client.received)
        if not data:
            self._rest(client, closed=True)
        elif head and len(client.received) >= head.end() + int(head[2]):
            waited_ms = (time.monotonic() - client.began) * 1000
            again = _AGAIN.search(head[0]) is not None
            self.answers.append(Seen(int(head[1]), waited_ms, again, client.began - self.began))
            self._rest(client, closed=_CLOSES.search(head[0]) is not None)

    def _rest(self, client: _Client, *, closed: bool) -> None:
        asked, client.began, client.received = client.began > 0, 0.0, b""
        if closed:
            del self.clients[client.socket.fileno()]
            client.socket.close()
            client.connect()
            self._enter(client)
        if asked:
            self.under_way -= 1
            self.resting.append(client)

    def _enter(self, client: _Client) -> _Client:
        self.clients[client.socket.fileno()] = client
        self.poller.register(client.socket, select.EPOLLIN)
        return client


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def main(port: str, path: str, *phases: str) -> None:
    """Be the clients."""
    loads: list[Load] = []
    served_per_s = 0.0
    for phase in phases:
        clients, seconds, times = phase.split(":")
        load = _Crowd(int(port), path, int(clients)).run(float(seconds), float(times) * served_per_s)
        served_per_s = served_per_s if float(times) else len(load.served_ms()) / float(seconds)
        loads.append(load)
    sys.stdout.write(json.dumps([asdict(load) for load in loads]))


if __name__ == "__main__":
    main(*sys.argv[1:])
