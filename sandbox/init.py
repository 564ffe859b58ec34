"""PID 1 of the sandboxes' pid namespace: when it ends, the kernel kills every process in there.

Owns: that process. Knows nothing of pools or scripts.
The first fork after unshare(CLONE_NEWPID) becomes it. Were that an ordinary sandbox, its exit would make every later
fork fail with ENOMEM.
"""

import os
import signal
from typing import NoReturn

import prctl


def start_init() -> int:
    """Fork it and return its pid once it is certain to end with us; ChildProcessError if it did not start."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _live(writer)
    os.close(writer)
    try:
        if os.read(reader, 1) != b"+":
            raise ChildProcessError("the init of the pid namespace did not start")
    finally:
        os.close(reader)
    return pid


def _live(writer: int) -> NoReturn:
    """Wait to be killed: by the parent-death signal when the zygote ends."""
    try:
        prctl.set_pdeathsig(signal.SIGKILL)
        prctl.set_name("picloud-init")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans are reaped by the kernel
        os.closerange(0, writer)
        os.closerange(writer + 1, 1 << 20)
        os.write(writer, b"+")
        os.close(writer)
        while True:
            signal.pause()
    finally:
        os._exit(1)
