"""A client that follows the logs of a running PiCloud."""

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any

from tests.running import Answer, Running

PATIENCE_S = 60


@dataclass(frozen=True)
class Event:
    """One server-sent event: its fields."""

    id: str
    event: str
    data: str

    @property
    def message(self) -> str:
        return str(json.loads(self.data)["message"])


class Follower:
    """One open answer; fails if it is none."""

    def __init__(
        self, ours: Running, query: str = "", last_id: str = "", token: str = "", receive_bytes: int = 0
    ) -> None:
        self._connection = HTTPConnection("127.0.0.1", ours.port, timeout=PATIENCE_S)
        if receive_bytes:
            self._connection.sock = _small_socket(ours.port, receive_bytes)
        headers = {"authorization": f"Bearer {token or ours.token}"} | ({"last-event-id": last_id} if last_id else {})
        self._connection.request("GET", f"/api/v1/logs?follow=true{query}", headers=headers)
        self.response: HTTPResponse = self._connection.getresponse()
        if self.response.status != 200:
            names = [(name.lower(), value) for name, value in self.response.getheaders()]
            answer = Answer(self.response.status, names, self.response.read())
            self.close()
            raise Refused(answer)
        self.beginning = self.block()
        self.last_id = self.beginning[-1].removeprefix("id: ")

    def block(self) -> list[str]:
        """The lines up to an empty one; none at the end of the answer."""
        lines: list[str] = []
        while line := self.response.readline().decode().removesuffix("\n"):
            lines.append(line)
        return lines

    def event(self) -> Event:
        """The next one."""
        fields = dict(line.split(": ", 1) for line in self.block())
        self.last_id = fields["id"]
        return Event(**fields)

    def messages(self, count: int) -> list[str]:
        """Of the next lines."""
        return [self.event().message for _ in range(count)]

    def rest(self) -> bytes:
        """Everything to the end of the answer, which must come to one."""
        return self.response.read()

    def close(self) -> None:
        """Hang up."""
        self.response.close()
        self._connection.close()


class Refused(Exception):
    """There is no stream but this answer."""

    @property
    def answer(self) -> Answer:
        answer: Answer = self.args[0]
        return answer


@contextlib.contextmanager
def following(ours: Running, query: str = "", **more: Any) -> Iterator[Follower]:
    """A follower for the length of a block."""
    follower = Follower(ours, query, **more)
    try:
        yield follower
    finally:
        follower.close()


def _small_socket(port: int, receive_bytes: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(PATIENCE_S)
    client.connect(("127.0.0.1", port))
    return client
