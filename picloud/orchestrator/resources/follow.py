"""Log lines as they come: server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    : PiCloud log          a comment, so that the head of the answer leaves at once
    retry: 1000            ms after which a browser connects again
    id: 41                 the cursor to resume from if nothing else arrives

    id: 42                 the cursor of this line: `Last-Event-ID`
    event: log
    data: {"invocation": …, "script": …, "at": …, "level": …, "message": …, "fields": …}

One thread serves one follower. It reads bounded pages from the database itself, so a slow reader holds up nobody, and
sleeps without a timeout otherwise: no comment is sent to keep the connection alive, because that would take a timer
here. The kernel asks instead whether the client's machine is still there.
"""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

from picloud.auth import Principal, TokenFinder
from picloud.errors import DatabaseUnavailable
from picloud.model import LineFilter, LinePage, StoredLine
from picloud.orchestrator.feed import Subscription

MEDIA_TYPE = "text/event-stream"
HEADERS = {
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # a proxy that collects answers (nginx) must not collect this one
}

_BEGINNING = b": PiCloud log\nretry: 1000\nid: %d\n\n"
_EVENT = b"id: %d\nevent: log\ndata: %b\n\n"
_PAGE_LINES = 100
_PIECE_BYTES = 32 * 1024  # sent at once, about: each has the server's time for a send
_RETRY_S = (0.1, 5.0)  # first and longest wait for a database that is away
_KEEPALIVE = {
    socket.TCP_KEEPIDLE: 60,  # s
    socket.TCP_KEEPINTVL: 20,  # s
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 120_000,  # ms: the same for what was sent and is not acknowledged
}


class LineFollower(Protocol):
    """Where lines are read in the order of their coming."""

    def following(self, wanted: LineFilter, after: int, limit: int) -> LinePage:
        """At most limit lines behind the cursor; DatabaseUnavailable."""


class Pass:
    """What a follower was let in with, and whether it still holds."""

    def __init__(self, tokens: TokenFinder, secret: str, principal: Principal) -> None:
        self._tokens = tokens
        self._secret = secret
        self._principal = principal

    def holds(self) -> bool:
        """Not if the token was revoked, expired or changed in any way: who comes again is asked again.

        While the database is away it does: what was live goes on.
        """
        try:
            return not self._principal.expired() and self._tokens.find(self._secret) == self._principal
        except DatabaseUnavailable:
            return True

    def seconds_left(self) -> float | None:
        """Until it expires; None: it never does."""
        expires_at = self._principal.expires_at
        return None if expires_at is None else max(0.0, (expires_at - datetime.now(UTC)).total_seconds())


class Follow:
    """The body of one answer: what a WSGI server iterates and closes."""

    def __init__(
        self,
        lines: LineFollower,
        wanted: LineFilter,
        cursor: int,
        subscription: Subscription,
        admitted: Pass,
        encode: Callable[[StoredLine], bytes],  # as JSON, which has no line break
    ) -> None:
        self._lines = lines
        self._wanted = wanted
        self._cursor = cursor
        self._subscription = subscription
        self._admitted = admitted
        self._encode = encode
        self._retry_s = 0.0  # while the database is away

    def __iter__(self) -> Iterator[bytes]:
        yield _BEGINNING % self._cursor
        while self._admitted.holds():
            page = self._next_page()
            for piece in self._pieces(page.lines):
                if not self._subscription.begin_sending():
                    return
                yield piece
                self._subscription.end_sending()
            if not self._subscription.wait(0 if page.more else self._rest_s()):
                return

    def close(self) -> None:
        """Called when the answer is over, however it ended."""
        self._subscription.close()

    def _next_page(self) -> LinePage:
        """What there is; nothing while the database is away: it goes on from the same cursor later."""
        try:
            page = self._lines.following(self._wanted, self._cursor, _PAGE_LINES)
        except DatabaseUnavailable:
            self._retry_s = min(max(2 * self._retry_s, _RETRY_S[0]), _RETRY_S[1])
            return LinePage((), self._cursor, more=False)
        self._retry_s, self._cursor = 0.0, page.cursor
        return page

    def _rest_s(self) -> float | None:
        """How long to sleep at most. The listener wakes, too, but a single read may fail without its knowing."""
        waits = [wait for wait in (self._retry_s or None, self._admitted.seconds_left()) if wait is not None]
        return min(waits, default=None)

    def _pieces(self, page: Sequence[StoredLine]) -> Iterator[bytes]:
        piece = bytearray()
        for line in page:
            piece += _EVENT % (line.id, self._encode(line))
            if len(piece) >= _PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
        if piece:
            yield bytes(piece)


def keep_alive(client: socket.socket) -> None:
    """Have the kernel find out within two minutes when the client's machine is gone."""
    if client.family == socket.AF_UNIX:
        return
    with suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            client.setsockopt(socket.IPPROTO_TCP, option, value)
