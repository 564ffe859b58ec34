"""A thread that sleeps until there is something to do, from `start` to `stop`.

Owns: its life. What it does, and how long it sleeps, is its owner's.
"""

import threading
from collections.abc import Callable


class Background:
    """One thread that runs ``work`` once, which returns soon after `stopping` is set."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._name = name
        self._work = work
        self.changed = threading.Condition()  # over what the owner and the thread share
        self.stopping = False
        self._thread: threading.Thread | None = None  # made when it starts: one made before a fork counts as ended

    def start(self) -> None:
        """Start the thread, after fork."""
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wake the thread, and wait for what it has left to do."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()
        if self._thread:
            self._thread.join()
