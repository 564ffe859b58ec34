"""Signals as bytes in a pipe, so that one select can wait for everything.

Owns: the handlers while it is open. Knows nothing of what a signal means.
"""

import os
import signal


class Wakeups:
    """Signals as bytes in a pipe, so that one select waits for all; the handlers are put back at the end."""

    def __init__(self, numbers: tuple[signal.Signals, ...]) -> None:
        self.numbers = numbers

    def __enter__(self) -> "Wakeups":
        self.reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old_descriptor = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._old = {number: signal.signal(number, _note) for number in self.numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_descriptor)
        os.close(self.reader)
        os.close(self._writer)

    def read(self) -> bytes:
        """The numbers of the signals that came."""
        try:
            return os.read(self.reader, 4096)
        except BlockingIOError:
            return b""


def _note(_number: int, _frame: object) -> None:
    """The wake-up descriptor has it already."""
