"""The CPU clock of a sandbox: two timers of the kernel's on the process's own CPU time, which end it with SIGPROF.

Owns: these timers. Knows nothing of scripts or pools.
ITIMER_PROF and RLIMIT_CPU count whole ticks, each as used up by whoever runs when it comes: on a busy machine they
ended scripts after three quarters of their CPU. A POSIX timer on CLOCK_PROCESS_CPUTIME_ID counts nanoseconds, and the
kernel looks at it with each tick: late by one of those at most.

CEILING is the operator's maximum, set before the seccomp filter stands; the filter lets SCRIPT alone be set after that.
So a sandbox that was taken over can stretch its CPU to the maximum, and no further.
Never a Python handler: none would run while Lua does.
"""

from __future__ import annotations

import ctypes
import os
import signal

CEILING, SCRIPT = 0, 1  # the kernel numbers the timers of a process from 0 up
_PROCESS_CPU = 2  # CLOCK_PROCESS_CPUTIME_ID
_BY_SIGNAL = 0  # SIGEV_SIGNAL


class _Event(ctypes.Structure):
    """struct sigevent."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    )


class _Setting(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("s", ctypes.c_long),
        ("ns", ctypes.c_long),
    )


# PyDLL: a CDLL would let go of the GIL and take it again, with system calls that the filter forbids
_libc = ctypes.PyDLL(None, use_errno=True)
_timer_create, _timer_settime = _libc.timer_create, _libc.timer_settime
_timer_create.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_timer_settime.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def make(ms_max: int) -> None:
    """Make both timers of this process, which has none yet, and set CEILING; OSError."""
    for timer in (CEILING, SCRIPT):
        made = ctypes.c_void_p()
        event = _Event(None, signal.SIGPROF, _BY_SIGNAL, b"")
        _check(_timer_create(_PROCESS_CPU, ctypes.byref(event), ctypes.byref(made)))
        if (made.value or 0) != timer:
            raise OSError(f"the kernel calls timer {timer} {made.value}")
        _set(timer, ms_max)
    _set(SCRIPT, 0)  # used once, so that nothing of it is new when it counts


def start(ms: int) -> None:
    """Let this process end once it has used ``ms`` more of CPU; OSError."""
    _set(SCRIPT, ms)


def _set(timer: int, ms: int) -> None:
    seconds, rest = divmod(ms, 1000)
    _check(_timer_settime(timer, 0, ctypes.byref(_Setting(0, 0, seconds, rest * 1_000_000)), None))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
