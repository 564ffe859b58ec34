"""Which callers' scripts wait for the world outside: each is a connection, and nothing is ever sent over one.

Owns: these connections, in the zygote. What they mean for the pool is the pool's to decide.
A caller that parks its script connects, and hangs up when the script goes on; one that dies hangs up, too, so that no
count can be left behind. Only trusted processes reach the socket: no child holds a descriptor of it.
"""

from __future__ import annotations

import _socket
import os
import select

TYPE_CHECKING = False  # importing typing would cost each fork
if TYPE_CHECKING:
    from typing import Any


class Parking:
    """Connections that were accepted on the descriptor ``listener``; ``epoll`` tells of the rest."""

    def __init__(self, listener: int, epoll: Any, most: int) -> None:
        self._listener: Any = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, listener)
        self._listener.settimeout(0)
        self._epoll = epoll
        self._most = most
        self._parked: set[int] = set()
        self.number = listener
        epoll.register(listener, select.EPOLLIN)

    def __len__(self) -> int:
        return len(self._parked)

    def admit(self) -> None:
        """Accept until there is none. More than ``most`` are turned away: they wait as if they computed."""
        while True:
            try:
                connection, _ = self._listener._accept()
            except OSError:  # nobody is there, or has left already
                return
            if len(self._parked) < self._most:
                self._parked.add(connection)
                self._epoll.register(connection, select.EPOLLRDHUP)
            else:
                os.close(connection)

    def left(self, connection: int) -> None:
        """A connection ended, if it is one of these; its descriptor is the caller's to close."""
        self._parked.discard(connection)
