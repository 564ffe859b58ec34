"""What a zygote hears of its children, and what it says in place of one that has died.

Owns: the form of both. Believes no number that a child could have written.
"""

from __future__ import annotations

import _socket
import os

from sandbox import protocol

TYPE_CHECKING = False  # importing typing would cost each fork
if TYPE_CHECKING:
    from resource import struct_rusage

_SCM_RIGHTS, _SCM_CREDENTIALS = 1, 2


def sender_and_descriptors(extras: list[tuple[int, int, bytes]]) -> tuple[int, list[int]]:
    """Whose notification it is, by the kernel's word, and what came with it."""
    pid, descriptors = 0, []
    for _, kind, data in extras:
        if kind == _SCM_CREDENTIALS:
            pid = int.from_bytes(data[:4], "little")
        elif kind == _SCM_RIGHTS:
            descriptors += [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data) - 3, 4)]
    return pid, descriptors


def last_words(connection: int, status: int, usage: struct_rusage) -> None:
    """Tell the caller how its sandbox ended; dropped if its buffer is full: it sees the end of the stream anyway."""
    cpu_us = int((usage.ru_utime + usage.ru_stime) * 1_000_000)
    ending = (
        os.WTERMSIG(status),
        os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
        cpu_us,
        usage.ru_maxrss * 1024,
    )
    payload = protocol.pack(*(b"%d" % number for number in ending))
    speaker = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, connection)
    try:
        speaker.send(protocol.DIED + b"\0" + payload, _socket.MSG_DONTWAIT)
    except OSError:
        pass
    finally:
        speaker.detach()
