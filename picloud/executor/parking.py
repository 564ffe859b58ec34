"""Telling the zygote that a sandbox's script waits for the world outside; asking it how many sandboxes there are.

Owns: the caller's side of `sandbox.parking`. While the connection is open, the sandbox does not count against pool_max.
"""

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from picloud.errors import ExecutorLost
from picloud.model import SandboxCounts

_ANSWER_S = 2.0  # it answers between two forks
_ANSWER_BYTES_MAX = 64
_COUNTS = re.compile(rb"(\d{1,6}) (\d{1,6}) (\d{1,6}) (\d{1,6})")


def parking_socket(executor_socket: Path) -> Path:
    """Where callers say so: beside the socket of the sandboxes."""
    return executor_socket.with_name("parking.sock")


@contextlib.contextmanager
def parked(address: Path) -> Iterator[None]:
    """One sandbox waits for the length of the block. Who cannot say so goes on all the same, and is counted."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # no executor is there, or it has no time
            connection.connect(str(address))
        yield


def counts(address: Path) -> SandboxCounts:
    """How many sandboxes there are at this moment; ExecutorLost: nobody says so in time."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(_ANSWER_S)
            connection.bind("")  # an address of the kernel's choice, which says that nothing is parked here
            connection.connect(str(address))
            connection.send(b"?")
            found = _COUNTS.fullmatch(connection.recv(_ANSWER_BYTES_MAX))
    except OSError as error:
        raise ExecutorLost from error  # its message is for anybody: no path of this machine
    if not found:
        raise ExecutorLost
    return SandboxCounts(*map(int, found.groups()))
