"""What one sandbox may use, set with the kernel's own resource limits and timers.

Owns: rlimits of the zygote and of its children, and the CPU clock of one run. Knows nothing of scripts or pools.
Two places, because some limits would stop the zygote itself: a process that may not fork cannot be a forker.
"""

import os
import signal
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

_SPARE_BYTES = 64 * 1024 * 1024  # arenas, frames in flight, the interpreter's own growth
_COPIES_OF_MEMORY = 2  # Lua's heap, and Python's copies of body and response beside it
_OWN_DESCRIPTORS = 32  # of the zygote, beside one a child: epoll, signals, sockets, pipes


def limit_zygote(memory_bytes_max: int, pool_max: int) -> None:
    """Set what children inherit for nothing; OSError or ValueError if one cannot be set.

    ``memory_bytes_max``: the largest Lua heap that the operator allows any script.
    """
    _lower(RLIMIT_AS, _mapped_bytes() + _COPIES_OF_MEMORY * memory_bytes_max + _SPARE_BYTES)
    _lower(RLIMIT_NOFILE, pool_max + _OWN_DESCRIPTORS)
    _lower(RLIMIT_FSIZE, 0)
    _lower(RLIMIT_CORE, 0)
    _lower(RLIMIT_MEMLOCK, 0)


def limit_child(cpu_seconds_max: int) -> None:
    """Set what the zygote must not have: no forks, no new descriptors, the operator's maximum of CPU.

    A soft limit of CPU ends the process with SIGXCPU, the hard one a second later with SIGKILL.
    """
    setrlimit(RLIMIT_CPU, (cpu_seconds_max, cpu_seconds_max + 1))
    setrlimit(RLIMIT_NPROC, (0, 0))
    setrlimit(RLIMIT_NOFILE, (1, 1))  # number 0 is free for the one connection; nothing can be opened beside it


def start_cpu_clock(cpu_ms: int) -> None:
    """Let SIGPROF's default action end this process once it has used ``cpu_ms`` more of CPU.

    Never a Python handler: none would run while Lua does. A taken-over child could set it again, up to RLIMIT_CPU.
    """
    signal.setitimer(signal.ITIMER_PROF, cpu_ms / 1000)


def _lower(what: int, value: int) -> None:
    hard = getrlimit(what)[1]
    allowed = value if hard < 0 else min(value, hard)  # -1 is RLIM_INFINITY
    setrlimit(what, (allowed, allowed))


def _mapped_bytes() -> int:
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
