"""What a process says to who started it: systemd's sd_notify(3), of which `picloud up` understands a part."""

import contextlib
import os
import socket

READY = b"READY=1"
STOPPING = b"STOPPING=1"


def tell(state: bytes) -> None:
    """Say so, if anybody wants to know."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
        sender.sendto(state, "\0" + address[1:] if address.startswith("@") else address)
