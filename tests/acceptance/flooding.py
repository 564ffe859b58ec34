"""Many clients at once, in a process of their own: `python -m tests.acceptance.flooding PORT PATH CLIENTS SECONDS RATE`

Each client has one connection. With RATE 0 it asks again as soon as it is answered; else so many requests a second are
begun, whatever becomes of them, each by a client that waits for nothing. On stdout as JSON: a list of [status, ms until
the answer, whether it says when to come again], and how many connections were lost.
"""

import json
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from tests.running import ROOT

OK = 200
REFUSED = (429, 503)

_HEAD = re.compile(rb"HTTP/1\.1 (\d+) .*?\r\ncontent-length: (\d+)\r\n(?:.*?\r\n)??\r\n", re.IGNORECASE | re.DOTALL)
_CLOSES = re.compile(rb"\r\nconnection: close\r\n", re.IGNORECASE)
_AGAIN = re.compile(rb"\r\nretry-after: \d+\r\n", re.IGNORECASE)
_TICK_S = 0.005


@dataclass(frozen=True)
class Load:
    """What the clients saw."""

    answers: list[tuple[int, float, bool]]  # status, ms, whether it has Retry-After
    lost: int  # connections that ended without an answer

    def served_ms(self) -> list[float]:
        """How long each had to wait who got what it asked for."""
        return sorted(ms for status, ms, _ in self.answers if status == OK)

    def refused_ms(self) -> list[float]:
        """How long each had to wait who was refused."""
        return sorted(ms for status, ms, _ in self.answers if status in REFUSED)


def percentile(sorted_values: list[float], percent: int) -> float:
    """At least so many of a hundred are as small as this."""
    return sorted_values[min(len(sorted_values) - 1, len(sorted_values) * percent // 100)]


class Flood:
    """The clients' process: begun at once."""

    def __init__(self, port: int, path: str, *, clients: int, seconds: float, rate: float = 0) -> None:
        self._seconds = seconds
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`; a pipe would fill up
        argv = [sys.executable, "-m", "tests.acceptance.flooding", *map(str, (port, path, clients, seconds, rate))]
        self._process = subprocess.Popen(argv, cwd=ROOT, stdout=self._output)

    def goes_on(self) -> bool:
        """Whether there are clients still."""
        return self._process.poll() is None

    def end(self) -> Load:
        """Wait for it → what the clients saw."""
        assert self._process.wait() == 0
        with self._output as output:
            output.seek(0)
            said = json.load(output)
        return Load([(status, ms, again) for status, ms, again in said["answers"]], said["lost"])


class _Client:
    """One connection and its one request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.began = 0.0
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(self.address)
        self.received = b""


class _Crowd:
    def __init__(self, port: int, path: str, clients: int) -> None:
        self.request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        self.poller = select.epoll()
        self.clients: dict[int, _Client] = {}
        self.answers: list[tuple[int, float, bool]] = []
        self.lost = 0
        self.resting = [self._enter(_Client(("127.0.0.1", port))) for _ in range(clients)]

    def ask(self, client: _Client) -> None:
        client.began = time.monotonic()
        client.socket.sendall(self.request)

    def wait(self, seconds: float) -> list[_Client]:
        """→ who has been answered, and may ask again."""
        return [client for number, _ in self.poller.poll(seconds) if (client := self._read(self.clients[number]))]

    def _read(self, client: _Client) -> _Client | None:
        data = client.socket.recv(65536)
        if not data:
            self.lost += client.began > 0
            return self._again(client)
        client.received += data
        head = _HEAD.match(client.received)
        if head is None or len(client.received) < head.end() + int(head[2]):
            return None
        waited_ms = (time.monotonic() - client.began) * 1000
        self.answers.append((int(head[1]), waited_ms, _AGAIN.search(head[0]) is not None))
        client.received, client.began = b"", 0.0
        return self._again(client) if _CLOSES.search(head[0]) else client

    def _again(self, client: _Client) -> _Client:
        del self.clients[client.socket.fileno()]
        client.socket.close()
        client.connect()
        return self._enter(client)

    def _enter(self, client: _Client) -> _Client:
        self.clients[client.socket.fileno()] = client
        self.poller.register(client.socket, select.EPOLLIN)
        return client


def main(port: str, path: str, clients: str, seconds: str, rate: str) -> None:
    """Be the clients."""
    crowd = _Crowd(int(port), path, int(clients))
    per_s, resting = float(rate), crowd.resting
    began = time.monotonic()
    begun = 0
    while (passed := time.monotonic() - began) < float(seconds):
        due = int(passed * per_s) - begun if per_s else len(resting)
        for _ in range(min(due, len(resting))):
            crowd.ask(resting.pop())
        begun += max(0, due)  # those for whom nobody rests are given up
        resting += crowd.wait(_TICK_S)
    sys.stdout.write(json.dumps({"answers": crowd.answers, "lost": crowd.lost}))


if __name__ == "__main__":
    main(*sys.argv[1:])
