"""Who comes to the reserve: scripts that invoke others, whose callers hold sandboxes themselves while they wait.

Owns: one listening descriptor, and when the zygote hears of it. How many may be lent is the pool's to decide.
A sandbox is forked for each caller who comes, and accepts there instead of where the others do: behind those who wait
for a sandbox of the pool, and for what this caller holds, it might never be its turn.
"""

from __future__ import annotations

import select

TYPE_CHECKING = False  # importing typing would cost each fork
if TYPE_CHECKING:
    from typing import Any


class Reserve:
    """Callers on the descriptor ``number``; ``epoll`` tells of the next one, once, after each `watch`."""

    def __init__(self, number: int, epoll: Any) -> None:
        self.number = number
        self._epoll = epoll
        self._watched = False
        epoll.register(number, 0)

    def is_called(self, events: list[tuple[int, int]]) -> bool:
        """Whether somebody has come."""
        if all(number != self.number for number, _ in events):
            return False
        self._watched = False
        return True

    def watch(self) -> None:
        """From now on, or still, tell when somebody comes."""
        if not self._watched:
            self._watched = True
            self._epoll.modify(self.number, select.EPOLLIN | select.EPOLLONESHOT)
