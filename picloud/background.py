"""A thread that sleeps until there is something to do, from `start` to `stop`; and one that is asked something once.

Owns: its life. What it does, and how long it sleeps, is its owner's.
"""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

Got = TypeVar("Got")


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


def within(seconds: float, ask: Callable[[], Got]) -> Got:
    """What ``ask`` gives or raises; TimeoutError if it takes longer, and goes on in its thread.

    For who may never answer: a server that is stopped, or whose disk is, says neither yes nor no.
    """
    answers: SimpleQueue[tuple[Got, None] | tuple[None, Exception]] = SimpleQueue()

    def work() -> None:
        try:
            answers.put((ask(), None))
        except Exception as error:  # noqa: BLE001 - whoever asks is to have it
            answers.put((None, error))

    threading.Thread(target=work, name="asking", daemon=True).start()
    try:
        got, error = answers.get(timeout=seconds)
    except Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return got  # type: ignore[return-value] # one of the two is there
