"""Who follows the logs at this worker, and what wakes them.

Owns: the followers' places, their sleep, and when to listen to the database. Knows nothing of lines or of HTTP.

The database is listened to, on one connection, from the first follower to the last; without one nothing is paid for.
A wake-up says no more than "look again": there may be lines, a token may be revoked, the connection to the database
may be back. A follower who subscribes first and looks then can miss nothing.
"""

import contextlib
import math
import os
import select
import socket
import threading
from collections.abc import Callable
from typing import Protocol

from picloud.errors import Overloaded

_POLL_MS_MAX = 2**31 - 1  # the longest sleep that poll takes: 24 days


class Listening(Protocol):
    """Hears of new lines, once, from `start` to `stop`."""

    def start(self) -> None:
        """Begin, in the background."""

    def stop(self) -> None:
        """End at once."""


class Subscription:
    """One follower's place, used by the thread that serves it."""

    def __init__(self, client: socket.socket, leave: Callable[["Subscription"], None]) -> None:
        self._client = client
        self._leave = leave
        self._wakeups = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poller = select.poll()
        self._poller.register(self._wakeups, select.POLLIN)
        self._poller.register(client, select.POLLRDHUP)  # what it may send is for after the answer
        self._stopped = False
        self._sending = False

    def wait(self, seconds: float | None) -> bool:
        """Sleep until woken, or for so long (None: for ever) → whether to go on: not if the client left, or we stop."""
        limit_ms = None if seconds is None else min(math.ceil(seconds * 1000), _POLL_MS_MAX)
        ready = {descriptor for descriptor, _ in self._poller.poll(limit_ms)}
        if self._wakeups in ready:
            ready.remove(self._wakeups)
            os.eventfd_read(self._wakeups)
        return not (ready or self._stopped)

    def begin_sending(self) -> bool:
        """From here the thread may be blocked by a client that takes nothing → whether it still should."""
        self._sending = True  # before the look at the other: `stop` does it the other way around
        return not self._stopped

    def end_sending(self) -> None:
        """It was taken."""
        self._sending = False

    def wake(self) -> None:
        """Have the thread look again."""
        os.eventfd_write(self._wakeups, 1)

    def stop(self) -> None:
        """Have the thread end, even if its client takes nothing."""
        self._stopped = True
        self.wake()
        if self._sending:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the place back; once more is nothing."""
        if self._wakeups >= 0:
            self._leave(self)
            os.close(self._wakeups)  # nobody wakes it any more
            self._wakeups = -1


class Feed:
    """One worker's followers. `listen` makes what hears of new lines, and calls back when there may be some."""

    def __init__(self, listen: Callable[[Callable[[], None]], Listening], *, followers_max: int) -> None:
        self._listen = listen
        self._followers_max = followers_max
        self._mutex = threading.Lock()  # over all that follows; held for no I/O
        self._followers: set[Subscription] = set()
        self._listening: Listening | None = None
        self._stopped = False

    def subscribe(self, client: socket.socket) -> Subscription:
        """A place for the one behind this socket; Overloaded if all are taken."""
        with self._mutex:
            if self._stopped or len(self._followers) >= self._followers_max:
                raise Overloaded("as many follow the logs as this server has room for; try again later")
            follower = Subscription(client, self._leave)
            self._followers.add(follower)
            if self._listening is None:
                self._listening = self._listen(self.wake)
                self._listening.start()
        return follower

    def wake(self) -> None:
        """Have every follower look again."""
        with self._mutex:
            for follower in self._followers:
                follower.wake()

    def stop(self) -> None:
        """End every follower at once, and take none any more."""
        with self._mutex:
            self._stopped = True
            for follower in self._followers:
                follower.stop()

    def _leave(self, follower: Subscription) -> None:
        with self._mutex:
            self._followers.remove(follower)
            over, self._listening = (None, self._listening) if self._followers else (self._listening, None)
        if over is not None:
            over.stop()
