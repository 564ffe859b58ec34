"""A connection and the request on it: how long each may take, and what is held against it.

Owns: reading. The worker decides when.
"""

import re
import socket
import time
from collections.abc import Callable
from itertools import takewhile
from typing import Any

from gunicorn.http.errors import InvalidRequestLine, LimitRequestHeaders, LimitRequestLine, NoMoreData, ParseException
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader

BODY_S = 60.0  # for a whole body to arrive
SEND_S = 60.0  # for one piece of an answer to be taken
HEAD_BYTES_MAX = 64 * 1024

# Read as far as a parser needs to: a whole head, or what can never become one (a bare LF, a TLS handshake).
_DECIDED = re.compile(rb"\r\n\r\n|(?<!\r)\n|\A[^\r!-~]")


class SlowRequest(ParseException):  # type: ignore[misc] # gunicorn has no types
    """The request's body did not come to its end in time."""


class TruncatedBody(ParseException):  # type: ignore[misc] # gunicorn has no types
    """The client stopped sending before the body's announced length."""


class Source(SocketUnreader):  # type: ignore[misc] # gunicorn has no types
    """What the parser reads from: bytes that are there already, then the socket until a deadline."""

    deadline = 0.0

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Replaces a recv that may block for ever."""
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise SlowRequest
        self.sock.settimeout(left_s)  # SEND_S holds otherwise
        try:
            return bytes(super().chunk(size_hint))
        except TimeoutError:
            raise SlowRequest from None
        finally:
            self.sock.settimeout(SEND_S)


class Connection:
    """One client. `room` is where it waits, None while a thread serves it."""

    def __init__(self, cfg: Any, sock: socket.socket, peer: Any, server: Any) -> None:
        self.sock = sock
        self.client = peer if isinstance(peer, tuple) else ""  # a unix peer has no address, even if it bound itself
        self.server = server
        self.room: Room | None = None
        self.head = bytearray()  # what came of the next request
        self.refusal: Any = None  # the `door.Refusal` that is held back
        self.surplus_bytes = 0  # that came after an answer that ends the connection
        self._source = Source(sock)
        self.parser = RequestParser(cfg, sock, self.client)
        self.parser.unreader = self._source

    def receive(self, data: bytes) -> bool:
        """Add to the head → whether a parser can decide on it."""
        seen = len(self.head)
        self.head += data
        return self._decided(max(0, seen - 3))

    def rewind(self) -> bool:
        """After an answer: what was read ahead begins the next request → whether a parser can decide on it."""
        self.head = bytearray(self._source.take_buffered())
        return self._decided(0)

    def next_request(self) -> Any:
        """Parse the head that came, in a thread of its own."""
        if self.head.partition(b"\r\n")[0].count(b" ") != 2:  # the parser in C takes more
            raise InvalidRequestLine("")
        self._source.unread(bytes(self.head))
        self.head.clear()
        self.sock.settimeout(SEND_S)
        self._source.deadline = 0.0  # a parser that asks for more than a whole head has not understood it
        try:
            request = next(self.parser)
        except SlowRequest:
            raise InvalidRequestLine("") from None
        self._source.deadline = time.monotonic() + BODY_S
        return request

    def finish_body(self, seconds: float, bytes_max: int) -> bool:
        """Read what the application left of the body → whether another request can follow."""
        self._source.deadline = time.monotonic() + seconds
        try:
            return bool(self.parser.finish_body(max_bytes=bytes_max))
        except (ParseException, OSError):
            return False

    def too_long(self) -> Exception | None:
        """What is wrong with a head that does not end within HEAD_BYTES_MAX."""
        if len(self.head) < HEAD_BYTES_MAX or b"\r\n\r\n" in self.head:
            return None
        return LimitRequestHeaders("") if b"\r\n" in self.head else LimitRequestLine(len(self.head))  # type: ignore[no-any-return]

    def _decided(self, start: int) -> bool:
        while self.head.startswith(b"\r\n"):  # an empty line, which old clients send after a body (RFC 9112 2.2)
            del self.head[:2]
            start = 0
        return len(self.head) >= HEAD_BYTES_MAX or _DECIDED.search(self.head, start) is not None


class Room:
    """Connections that wait for the same thing, each as long as the others: the first to come is the first to go."""

    def __init__(self, seconds: float, grain_s: float = 0.0) -> None:
        self._seconds = seconds
        self._grain_s = grain_s  # deadlines are multiples of it, so that those of many who come one by one are few
        self._until: dict[Connection, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def add(self, connection: Connection, now: float) -> None:
        """Let it wait, from now on."""
        connection.room = self
        until = now + self._seconds
        self._until[connection] = -(-until // self._grain_s) * self._grain_s if self._grain_s else until

    def remove(self, connection: Connection) -> None:
        """Its wait is over."""
        connection.room = None
        del self._until[connection]

    def first(self) -> Connection | None:
        """Who has waited for longest."""
        return next(iter(self._until), None)

    def next_deadline(self) -> float | None:
        """When the first has waited for too long."""
        return next(iter(self._until.values()), None)

    def overdue(self, now: float) -> list[Connection]:
        """Who has waited for too long."""
        return [connection for connection, _ in takewhile(lambda item: item[1] <= now, self._until.items())]

    def hurry(self, seconds: float, now: float) -> None:
        """From now on nobody waits for longer than this."""
        self._seconds = min(self._seconds, seconds)
        self._until = {connection: min(until, now + seconds) for connection, until in self._until.items()}


class WholeBody:
    """A request's body reader that remembers what went wrong and asks the client to go on when it is first read.

    gunicorn's gives a truncated body of announced length as if it were whole, and sends `100 Continue` before the
    application could refuse.
    """

    def __init__(self, request: Any, sock: socket.socket) -> None:
        self._reader = request.body.reader
        self._sock = sock
        self.request = request
        self.awaited = request._expected_100_continue  # the client waits to be asked
        self.error: Exception | None = None
        request._expected_100_continue = False
        request.body.reader = self

    def read(self, size: int) -> bytes:
        """At most `size` bytes, none at the end."""
        try:
            return self._read(size)
        except NoMoreData:
            self.error = TruncatedBody()
        except Exception as error:
            self.error = error
            raise
        raise self.error

    def _read(self, size: int) -> bytes:
        if self.awaited:
            self.awaited = False
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        expected = min(size, getattr(self._reader, "length", 0))  # 0 for chunks, which tell their end
        data = bytes(self._reader.read(size))
        if len(data) < expected:
            raise NoMoreData(b"")
        return data


def guarded(wsgi: Callable[..., Any], is_stopping: Callable[[], bool]) -> Callable[..., Any]:
    """The application, kept from answering for a body that was not valid: that is for `refusals` to answer.

    Each answer says whether the connection goes on; gunicorn decides it before the application is asked.
    Its own OSErrors are told apart from the connection's, which need no answer.
    """

    def guarded_wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        body = environ["wsgi.input"].reader

        def guarded_start_response(*args: Any, **kwargs: Any) -> Any:
            if body.error is not None:
                raise body.error
            if body.awaited or is_stopping():  # who was not asked may or may not send its body: only the end is clear
                body.request.force_close()
            return start_response(*args, **kwargs)

        try:
            return wsgi(environ, guarded_start_response)
        except OSError as error:
            if body.error is not None:
                raise
            raise RuntimeError("the application failed") from error

    return guarded_wsgi
