"""Which descriptor has which number in a zygote, and the signals that it reads from one.

Owns: the way from the numbers that the supervisor gave to those of `sandbox.seccomp`. Knows nothing of pools.
"""

from __future__ import annotations

import _socket
import ctypes
import os
import signal

from sandbox import seccomp

TYPE_CHECKING = False  # importing typing would cost each fork
if TYPE_CHECKING:
    from typing import Any

    from sandbox.options import Options

STATUS = 5  # the pipe on which the supervisor learns what holds, and that we serve
SIGNALS = (signal.SIGCHLD, signal.SIGTERM)  # of children; from the supervisor: retire
_SIGINFO_BYTES = 128
_FIRST_FREE = 16  # numbers below are given out by name


def open_sockets(options: Options) -> tuple[Any, Any, Any, int, int]:
    """Put listener, the children's end of the notify socket and the status pipe on their numbers, the rest above."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_DGRAM, 0)
    ours.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
    wanted = ((seccomp.LISTENER, options.listener), (seccomp.NOTIFY, theirs.fileno()), (STATUS, options.status))
    high = [(target, _move_up(source)) for target, source in wanted]
    kept = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM, 0, _move_up(ours.detach()))
    parking, reserve = _move_up(options.parking), _move_up(options.reserve)
    theirs.detach()
    os.closerange(3, _FIRST_FREE)
    for target, source in high:
        os.dup2(source, target, inheritable=False)
        os.close(source)
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, seccomp.LISTENER)
    notify = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM, 0, seccomp.NOTIFY)
    return listener, notify, kept, parking, reserve


def _move_up(descriptor: int) -> int:
    from fcntl import F_DUPFD_CLOEXEC, fcntl

    return fcntl(descriptor, F_DUPFD_CLOEXEC, _FIRST_FREE)


def signal_numbers(descriptor: int) -> set[int]:
    """Which signals have come."""
    numbers = set()
    while True:
        try:
            numbers.add(int.from_bytes(os.read(descriptor, _SIGINFO_BYTES)[:4], "little"))
        except BlockingIOError:
            return numbers


def signal_descriptor() -> int:
    """A signalfd for SIGNALS: no handler, so nothing of Python's runs between two lines of the loop."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    mask = (ctypes.c_uint64 * 16)(sum(1 << (number - 1) for number in SIGNALS))
    descriptor: int = ctypes.PyDLL(None, use_errno=True).signalfd(-1, mask, os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "signalfd failed")
    return descriptor
