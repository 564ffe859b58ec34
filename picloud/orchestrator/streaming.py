"""An answer that is made while it is sent: its pieces' way from a sandbox to the client, and what is held meanwhile.

Owns: the body that a WSGI server iterates, its end, and how many there may be. Knows nothing of how it is decided that
an answer begins: `dispatch` commits first.

One thread serves one stream. It holds one piece at a time, and while the client does not take that the sandbox waits;
`wall_ms` ends both. A client that is behind is waited for as the world outside is: parked, so that slow readers take no
place from scripts that compute. What goes wrong after the head was sent cannot be answered any more: the connection is
cut, so that nobody takes half an answer for a whole one, and the record says why.
"""

import contextlib
import fcntl
import socket
import sys
import termios
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from weakref import WeakSet

from picloud.errors import Overloaded
from picloud.model import Outcome, Request, Run, Stream
from picloud.orchestrator.endings import ENDING, ended

_WITHOUT_BODY = (204, 304)
_SURELY_FITS_BYTES = 8 * 1024  # of a piece: into the buffer of a connection that has nothing else to send


def has_no_body(request: Request, run: Run) -> bool:
    """Whether HTTP leaves out the body of this answer, so that it need not be made (RFC 9110, 6.4.1)."""
    return request.method == "HEAD" or (run.response is not None and run.response.status in _WITHOUT_BODY)


def unmade(run: Run) -> Run:
    """The same without a body: the sandbox is let go before it makes any."""
    if run.stream:
        run.stream.close()
    return replace(run, stream=None)


def whole(request: Request, run: Run) -> Run:
    """A run whose stream is made to its end, for who cannot take pieces; in all they are within `response_bytes`."""
    if run.stream is None or run.response is None:
        return run
    if has_no_body(request, run):
        return unmade(run)
    try:
        body = b"".join(run.stream.pieces())
    finally:
        end = run.stream.close()
    return (
        replace(end, response=replace(run.response, body=body, is_streamed=False)) if end.outcome is Outcome.OK else end
    )


def is_behind(client: socket.socket, piece: bytes) -> bool:
    """Whether a client may have to be waited for, that is to take a piece."""
    if len(piece) > _SURELY_FITS_BYTES:
        return True
    return int.from_bytes(fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)), sys.byteorder) > 0


class ToldStream:
    """A stream whose end is told as `tell` does, also if what its host calls raised is the end.

    Each piece is out of hand for the length of a block of ``sending``.
    """

    def __init__(
        self,
        stream: Stream,
        tell: Callable[[Run], Run],
        sending: Callable[[bytes], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        self.deadline = stream.deadline
        self._stream = stream
        self._tell = tell
        self._sending = sending
        self._failure: Run | None = None

    def pieces(self) -> Generator[bytes, None, None]:
        """As they come."""
        try:
            for piece in self._stream.pieces():
                with self._sending(piece):
                    yield piece
        except ENDING as error:
            self._failure = ended(error)

    def close(self) -> Run:
        """End it → what became of it."""
        end = self._stream.close()
        if self._failure:
            end = replace(self._failure, queue_ms=end.queue_ms, run_ms=end.run_ms)
        return self._tell(end)


class Body:
    """What a WSGI server iterates and closes. All that the invocation holds is held until then."""

    def __init__(
        self, run: Run, stream: Stream, client: socket.socket | None, keep: Callable[[Run], None], held: ExitStack
    ) -> None:
        self._run = run
        self._stream = stream
        self._pieces = stream.pieces()
        self._keep = keep  # its record
        self._held = held
        self._end: Run | None = None
        self._client = client
        self._patience_s = client.gettimeout() if client else None  # the server's, for one piece to be taken
        self._sending = self._stopped = False
        self._afterwards: Callable[[], None] = lambda: None

    def then(self, afterwards: Callable[[], None]) -> None:
        """Do this before the client is told of the end."""
        self._afterwards = afterwards

    def __iter__(self) -> Iterator[bytes]:
        yield b""  # the head leaves now
        for piece in self._pieces:
            if not self._may_send():
                break
            yield piece
            self._sending = False
        end = self._conclude()
        self._afterwards()
        if end.outcome is not Outcome.OK:
            raise ConnectionAbortedError(f"an answer was cut off: {end.outcome}")
        if self._client:
            self._client.settimeout(self._patience_s)

    def close(self) -> None:
        """Called when the answer is over, however it ended."""
        self._conclude()

    def __del__(self) -> None:
        """Who got it may have failed before it could close it."""
        self._conclude()

    def stop(self) -> None:
        """From another thread: have it end, even if its client takes nothing."""
        self._stopped = True
        if self._sending and self._client:  # in this order: the thread looks at them the other way around
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)

    def _may_send(self) -> bool:
        """From here the thread may be blocked by its client."""
        self._sending = True
        left_s = self._stream.deadline - time.monotonic()
        if self._stopped or left_s <= 0:
            return False
        if self._client:
            self._client.settimeout(left_s if self._patience_s is None else min(left_s, self._patience_s))
        return True

    def _conclude(self) -> Run:
        if self._end is None:
            with self._held:
                self._pieces.close()  # it may hold its place otherwise than before
                self._end = replace(self._stream.close(), response=self._run.response)
                self._keep(self._end)
        return self._end


class Streams:
    """The streams of one worker: each holds a thread, so there is a bound."""

    def __init__(self, streams_max: int) -> None:
        self._streams_max = streams_max
        self._mutex = threading.Lock()  # over what follows
        self._count = 0
        self._bodies = WeakSet[Body]()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places; Overloaded at once if all are taken."""
        with self._mutex:
            if self._count >= self._streams_max:
                raise Overloaded("as many answers are being streamed as this server has room for; try again later")
            self._count += 1
        try:
            yield
        finally:
            with self._mutex:
                self._count -= 1

    def body(
        self, run: Run, stream: Stream, client: socket.socket | None, keep: Callable[[Run], None], held: ExitStack
    ) -> Body:
        """The body of one that has begun: nobody waits for the client beyond its deadline, or the server's end."""
        body = Body(run, stream, client, keep, held)
        with self._mutex:
            self._bodies.add(body)
        return body

    def stop(self) -> None:
        """End those that wait for their clients. The executor ends the others."""
        with self._mutex:
            for body in self._bodies:
                body.stop()
