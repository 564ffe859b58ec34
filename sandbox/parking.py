"""Which callers' scripts wait for the world outside: each is a connection, over which nothing need ever be sent.

Owns: these connections, in the zygote. What they mean for the pool is the pool's to decide.
A caller that parks its script connects, and hangs up when the script goes on; one that dies hangs up, too, so that no
count can be left behind. Who says anything asks how many sandboxes there are: it is told, in one packet, and let go.
It has an address of its own, if it is not to be taken for one that parks until it says so.
Nothing here waits for anybody: it is told before it can have been told anything else, so there is room for that.
Only trusted processes reach the socket: no child holds a descriptor of it.
"""

from __future__ import annotations

import _socket
import os
import select

TYPE_CHECKING = False  # importing typing would cost each fork
if TYPE_CHECKING:
    from typing import Any

_UNCOUNTED_MAX = 8  # connections beside those: who will ask, and who comes beyond ``most``; the oldest makes room


class Parking:
    """Connections that were accepted on the descriptor ``listener``; ``epoll`` tells of the rest."""

    def __init__(self, listener: int, epoll: Any, most: int) -> None:
        self._listener: Any = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, listener)
        self._listener.settimeout(0)
        self._epoll = epoll
        self._most = most
        self._parked: set[int] = set()
        self._uncounted: list[int] = []
        self.number = listener
        epoll.register(listener, select.EPOLLIN)

    def __len__(self) -> int:
        return len(self._parked)

    def admit(self) -> None:
        """Accept until there is none. Beyond ``most`` none is parked: they wait as if they computed."""
        while True:
            try:
                connection, address = self._listener._accept()
            except OSError:  # nobody is there, or has left already
                return
            self._epoll.register(connection, select.EPOLLIN | select.EPOLLRDHUP)
            if not address and len(self._parked) < self._most:
                self._parked.add(connection)
                continue
            self._uncounted.append(connection)
            if len(self._uncounted) > _UNCOUNTED_MAX:
                self._let_go(self._uncounted[0])

    def close(self) -> None:
        """Let nobody in any more; those that are here go on to count."""
        self._epoll.modify(self.number, 0)

    def asking(self, events: list[tuple[int, int]]) -> list[int]:
        """Those who have said something; they count no more. Whoever hung up is to be forgotten before: `left`."""
        asking = [number for number, _ in events if number in self._parked or number in self._uncounted]
        self._parked.difference_update(asking)
        return asking

    def tell(self, asking: list[int], counts: tuple[int, ...]) -> None:
        """Answer those, before anything is opened, and let them go."""
        for connection in asking:
            _answer(connection, b" ".join([b"%d" % count for count in counts]))
            self._let_go(connection)

    def left(self, connection: int) -> None:
        """A connection ended, if it is one of these; its descriptor is the caller's to close."""
        self._parked.discard(connection)
        if connection in self._uncounted:
            self._uncounted.remove(connection)

    def _let_go(self, connection: int) -> None:
        self.left(connection)
        self._epoll.unregister(connection)
        os.close(connection)


def _answer(connection: int, packet: bytes) -> None:
    """What was said is taken first: left unread, it would reach whoever asks as an error, before the answer."""
    speaker = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, connection)
    try:
        speaker.recv(1, _socket.MSG_DONTWAIT)
        speaker.send(packet, _socket.MSG_DONTWAIT)
    except OSError:  # it has left
        pass
    finally:
        speaker.detach()
