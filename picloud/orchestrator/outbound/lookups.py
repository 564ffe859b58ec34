"""Names to addresses, by a deadline.

Owns: the system's resolver, which cannot be told when to stop: each look-up has a thread of its own, and who asked
leaves it behind when the time is up. So many may be under way, and no more.
"""

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from picloud.orchestrator.outbound.addresses import Address

Lookup = Callable[[str], Sequence[Address]]
"""A name → its addresses, none if there is no such name."""

_AT_ONCE = 64  # of this process; those that were left behind count until the resolver gives up


class Resolver:
    """Looks names up; threads share it."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._free = threading.BoundedSemaphore(_AT_ONCE)

    def addresses(self, host: str, deadline: float) -> Sequence[Address]:
        """Of a host, as `model.normal_host` spells it, by a moment (monotonic, s); TimeoutError."""
        with contextlib.suppress(ValueError):
            return [ipaddress.ip_address(host.strip("[]"))]
        if not self._free.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        found: SimpleQueue[Sequence[Address]] = SimpleQueue()
        threading.Thread(target=self._look_up, args=(host, found), name="lookup", daemon=True).start()
        try:
            return found.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            raise TimeoutError from None

    def _look_up(self, host: str, found: "SimpleQueue[Sequence[Address]]") -> None:
        addresses: Sequence[Address] = ()
        try:
            addresses = self._lookup(host)
        finally:
            self._free.release()
            found.put(addresses)


def system_lookup(name: str) -> Sequence[Address]:
    """As this machine would: /etc/hosts, then the DNS."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    texts = dict.fromkeys(str(where[0]) for *_, where in found)
    return [ipaddress.ip_address(text) for text in texts]
