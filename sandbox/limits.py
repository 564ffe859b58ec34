"""What one sandbox may use, set with the kernel's own resource limits and timers.

Owns: rlimits of the zygote and of its children. Knows nothing of scripts or pools; `clock` keeps the time.
Two places, because some limits would stop the zygote itself: a process that may not fork cannot be a forker.
"""

import errno
import os
from resource import (
    RLIMIT_AS,
    RLIMIT_CORE,
    RLIMIT_CPU,
    RLIMIT_FSIZE,
    RLIMIT_MEMLOCK,
    RLIMIT_NOFILE,
    RLIMIT_NPROC,
    getrlimit,
    setrlimit,
)

from sandbox import clock

_SPARE_BYTES = 64 * 1024 * 1024  # arenas, frames in flight, the interpreter's own growth
_COPIES_OF_MEMORY = 2  # Lua's heap, and Python's copies of body and response beside it
_OWN_DESCRIPTORS = 32  # of the zygote: epoll, signals, sockets, pipes
_DESCRIPTORS_OF_A_CHILD = 2  # that the zygote holds: its connection, and one more while it is parked


def limit_zygote(memory_bytes_max: int, children_max: int) -> None:
    """Set what children inherit for nothing; OSError if one cannot be set.

    ``memory_bytes_max``: the largest Lua heap that the operator allows any script.
    """
    _lower(RLIMIT_AS, _mapped_bytes() + _COPIES_OF_MEMORY * memory_bytes_max + _SPARE_BYTES)
    _lower(RLIMIT_NOFILE, _DESCRIPTORS_OF_A_CHILD * children_max + _OWN_DESCRIPTORS)
    _lower(RLIMIT_FSIZE, 0)
    _lower(RLIMIT_CORE, 0)
    _lower(RLIMIT_MEMLOCK, 0)


def limit_child(cpu_seconds_max: int) -> None:
    """Set what the zygote must not have: no forks, the operator's maximum of CPU. OSError if one cannot be set.

    RLIMIT_CPU stands behind the clock, at twice as much, since it counts ticks and may be early: SIGXCPU, a second
    later SIGKILL. OSError if one cannot be set.
    The zygote's RLIMIT_NOFILE stays, for it is also how many descriptors of one user may be under way in messages: with
    a lower one, a notification would fail with ETOOMANYREFS whenever the zygote had not read some others yet.
    """
    clock.make(cpu_seconds_max * 1000)
    _lower(RLIMIT_CPU, 2 * cpu_seconds_max + 1, soft_below=1)
    _lower(RLIMIT_NPROC, 0)


def _lower(what: int, value: int, soft_below: int = 0) -> None:
    """To ``value``, or to what we were given if that is less: nobody but root may raise a hard limit."""
    hard = getrlimit(what)[1]
    allowed = value if hard < 0 else min(value, hard)  # -1 is RLIM_INFINITY
    try:
        setrlimit(what, (max(0, allowed - soft_below), allowed))
    except ValueError:  # how Python says EPERM
        raise PermissionError(errno.EPERM, f"the kernel refuses to set resource limit {what}") from None


def _mapped_bytes() -> int:
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
