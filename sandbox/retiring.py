"""A zygote that is told to go: who waits for a caller ends, who has one goes on.

Owns: telling the two apart. A child says that it has a caller only after it has accepted one, so whoever seems to wait
is stopped first, then its word is looked for, and only then is it ended or set going again. A caller whose child ends
in between has heard nothing yet, and comes to the next zygote's.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # importing typing would cost each fork
if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.pool import Pool


def dismiss(pool: Pool, waiting: list[int], read_notifications: Callable[[], None]) -> None:
    """End those of these children to whom nobody has come."""
    for pid in waiting:
        os.kill(pid, signal.SIGSTOP)
    for pid in waiting:
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    read_notifications()
    for pid in waiting:
        os.kill(pid, signal.SIGKILL if pool.dismissed(pid) else signal.SIGCONT)
