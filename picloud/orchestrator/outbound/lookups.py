"""Names to addresses, by a deadline.

Owns: the system's resolver, which cannot be told when to stop: each look-up has a thread of its own, and who asked
leaves it behind when the time is up. So many may be under way, and no more; of one script's a few, so that names which
are never found keep nobody else from theirs.
"""

import contextlib
import ipaddress
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from picloud.orchestrator.outbound.addresses import Address

Lookup = Callable[[str], Sequence[Address]]
"""A name → its addresses, none if there is no such name."""

_AT_ONCE = 64  # of this process; those that were left behind count until the resolver gives up
_AT_ONCE_OF_ONE = 8  # the same of one script


class Resolver:
    """Looks names up; threads share it."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._changed = threading.Condition()  # of what follows
        self._under_way = Counter[str]()  # by whose they are

    def addresses(self, host: str, deadline: float, whose: str = "") -> Sequence[Address]:
        """Of a host, as `model.normal_host` spells it, for a script, by a moment (monotonic, s); TimeoutError."""
        with contextlib.suppress(ValueError):
            return [ipaddress.ip_address(host.strip("[]"))]
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(whose), max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            self._under_way[whose] += 1
        found: SimpleQueue[Sequence[Address]] = SimpleQueue()
        threading.Thread(target=self._look_up, args=(host, whose, found), name="lookup", daemon=True).start()
        try:
            return found.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            raise TimeoutError from None

    def _has_room(self, whose: str) -> bool:
        return self._under_way[whose] < _AT_ONCE_OF_ONE and self._under_way.total() < _AT_ONCE

    def _look_up(self, host: str, whose: str, found: "SimpleQueue[Sequence[Address]]") -> None:
        addresses: Sequence[Address] = ()
        try:
            addresses = self._lookup(host)
        finally:
            with self._changed:
                self._under_way -= Counter((whose,))  # and forget who has none
                self._changed.notify_all()
            found.put(addresses)


def system_lookup(name: str) -> Sequence[Address]:
    """As this machine would: /etc/hosts, then the DNS."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    texts = dict.fromkeys(str(where[0]) for *_, where in found)
    return [ipaddress.ip_address(text) for text in texts]
