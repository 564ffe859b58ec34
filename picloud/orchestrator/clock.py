"""What a dispatcher sleeps on: the wall clock, a bell, and nothing else.

Owns: one timer of the kernel's and one eventfd. Knows nothing of what is due.

Jobs and slots are due by the wall clock, which may be set while somebody sleeps: a sleep of an hour by a clock that
does not know of it would be wrong by as much. A timerfd on CLOCK_REALTIME with TFD_TIMER_CANCEL_ON_SET says so
(timerfd_create(2)). It is always armed, also between two waits: a clock that is set while its owner reckons how long to
sleep is told by the next wait. Python has no timerfd before 3.13.
"""

import ctypes
import enum
import errno
import os
import select
import time

_REALTIME, _NONBLOCK, _CLOEXEC = time.CLOCK_REALTIME, os.O_NONBLOCK, os.O_CLOEXEC
_ABSTIME, _CANCEL_ON_SET = 1, 2  # TFD_TIMER_…
_NS_PER_S = 1_000_000_000
# The last second that both the kernel and a time_t hold, which has 32 bits where a long has.
_LATEST_S = min(9_000_000_000, 2 ** (8 * ctypes.sizeof(ctypes.c_long) - 1) - 1)


class _Setting(ctypes.Structure):
    """struct itimerspec, as glibc's and musl's functions of these names take it on every Linux."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("s", ctypes.c_long),
        ("ns", ctypes.c_long),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_timerfd_create, _timerfd_settime = _libc.timerfd_create, _libc.timerfd_settime
_timerfd_create.argtypes = (ctypes.c_int, ctypes.c_int)
_timerfd_settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Setting), ctypes.c_void_p)


class Woken(enum.Enum):
    """Why a wait is over."""

    RUNG = enum.auto()
    TIME = enum.auto()  # it has lasted as long as it was to
    CLOCK_SET = enum.auto()  # what was reckoned by it is wrong
    STOPPED = enum.auto()


class Timer:
    """A moment of the wall clock to wait for. `descriptor` is readable when it has come, or the clock was set."""

    def __init__(self) -> None:
        self.descriptor = _checked(_timerfd_create(_REALTIME, _NONBLOCK | _CLOEXEC))
        self.arm(None)

    def arm(self, delay_s: float | None) -> bool:
        """Come so much later, or never → whether the clock has not been set since it was armed before."""
        at_ns = time.time_ns() + int(delay_s * _NS_PER_S) if delay_s is not None else _LATEST_S * _NS_PER_S
        seconds, rest = divmod(max(at_ns, 1), _NS_PER_S)  # 0 would disarm it
        setting = _Setting(0, 0, min(seconds, _LATEST_S), rest)
        try:
            _checked(_timerfd_settime(self.descriptor, _ABSTIME | _CANCEL_ON_SET, ctypes.byref(setting), None))
        except OSError as error:
            if error.errno != errno.ECANCELED:  # with which it is armed all the same
                raise
            return False
        return True

    def has_come(self) -> bool | None:
        """Whether its moment has come; None: the clock was set."""
        try:
            return bool(os.read(self.descriptor, 8))
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
            return None

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.descriptor)


class Clock:
    """One thread waits, in one poll without a timeout; any may ring and stop."""

    def __init__(self, timer: Timer | None = None) -> None:
        self._timer = timer or Timer()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._stopped = False
        self._poller = select.poll()
        for descriptor in (self._timer.descriptor, self._bell):
            self._poller.register(descriptor, select.POLLIN)

    def wait(self, delay_s: float | None) -> Woken:
        """Sleep so long, for ever if None; or until somebody rings or stops, or the clock is set.

        Whoever has rung since the last wait is not forgotten: this one is over at once. Many rings are one.
        """
        if not self._timer.arm(delay_s):
            return Woken.STOPPED if self._stopped else Woken.CLOCK_SET
        while True:
            self._poller.poll()
            if self._stopped:
                return Woken.STOPPED
            has_come = self._timer.has_come()
            if has_come is None:
                return Woken.CLOCK_SET
            if self._was_rung():
                return Woken.RUNG
            if has_come:
                return Woken.TIME

    def ring(self) -> None:
        """End the wait, or the next one. From any thread, and from a signal's handler."""
        os.eventfd_write(self._bell, 1)

    def stop(self) -> None:
        """End every wait from now on; as safe as `ring`."""
        self._stopped = True
        self.ring()

    def close(self) -> None:
        """Give the descriptors back: nobody waits or rings any more."""
        self._timer.close()
        os.close(self._bell)

    def _was_rung(self) -> bool:
        try:
            return os.eventfd_read(self._bell) > 0
        except BlockingIOError:
            return False


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
