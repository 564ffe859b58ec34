"""One connection to a sandbox, every call of which ends by an absolute deadline.

Owns: the socket and its timers. Knows nothing of messages. The kernel keeps the time: there is no thread beside it.

A line may watch the caller for whom it is held. One who only ends its sending (half-close) still waits for the answer;
one that is gone shows as POLLHUP or POLLERR: on a unix socket always, over TCP if it resets the connection. A plain
close of TCP says no more than that nothing will be sent: it looks like a half-close until something is sent to it.
"""

import contextlib
import math
import select
import socket
import struct
import time
from types import TracebackType

from picloud.errors import CallerGone, DeadlinePassed
from sandbox import protocol

_READ_BYTES = protocol.FRAME_BYTES_MAX + 1  # one more, so that a longer packet shows


class Line:
    """A SEQPACKET connection; ``deadline`` (monotonic, s) may be moved. OSError as sockets raise it."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._watch: select.poll | None = None  # over it and the caller

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hang up: the zygote kills the sandbox if it still runs."""
        self._socket.close()

    def abort(self) -> None:
        """From another thread: whoever waits here finds the end of the stream, and the zygote kills the sandbox."""
        with contextlib.suppress(OSError):  # it has ended by itself
            self._socket.shutdown(socket.SHUT_RDWR)

    def connect(self, address: str) -> None:
        """Join the queue of callers; waits while that is full. DeadlinePassed."""
        self._set_timer(socket.SO_SNDTIMEO)
        try:
            self._socket.connect(address)
        except BlockingIOError:
            raise DeadlinePassed from None

    def send(self, packet: bytes) -> bool:
        """Send one packet; False if the other side has gone. DeadlinePassed if it does not read."""
        self._set_timer(socket.SO_SNDTIMEO)
        try:
            self._socket.send(packet)
        except BlockingIOError:
            raise DeadlinePassed from None
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def watch(self, caller: socket.socket) -> None:
        """From here on `receive` ends when the caller hangs up."""
        self._watch = select.poll()
        self._watch.register(self._socket, select.POLLIN)
        self._watch.register(caller, 0)

    def receive(self) -> bytes:
        """One packet; b"" when there will be none. DeadlinePassed, CallerGone."""
        if self._watch:
            self._wait(self._watch)
        self._set_timer(socket.SO_RCVTIMEO)
        try:
            return self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            raise DeadlinePassed from None
        except ConnectionResetError:
            # It died with bytes of ours unread. The error is given out once, before what is still in our queue,
            # and the last words are in there.
            return self._socket.recv(_READ_BYTES)

    def _wait(self, watch: select.poll) -> None:
        left_ms = math.ceil(max(0.0, self.deadline - time.monotonic()) * 1000)
        ready = {descriptor for descriptor, _ in watch.poll(left_ms)}
        if not ready:
            raise DeadlinePassed
        if ready != {self._socket.fileno()}:
            raise CallerGone

    def _set_timer(self, which: int) -> None:
        left_us = int((self.deadline - time.monotonic()) * 1_000_000)
        if left_us <= 0:
            raise DeadlinePassed
        self._socket.setsockopt(socket.SOL_SOCKET, which, struct.pack("@ll", *divmod(left_us, 1_000_000)))
