"""Telling the zygote that a sandbox's script waits for the world outside.

Owns: the caller's side of `sandbox.parking`. While the connection is open, the sandbox does not count against pool_max.
"""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path


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
