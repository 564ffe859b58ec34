"""One look at a process, as the kernel shows it under /proc. To be looked at wakes nobody.

Some of it is for the process's own user and root alone: what may not be read is None, and not 0.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_KIB = 1024
_AFTER_NAME = 3  # number of the field that follows the name in `stat`, as proc(5) counts
_PARENT, _USER_TICKS, _SYSTEM_TICKS, _STARTED = (number - _AFTER_NAME for number in (4, 14, 15, 22))


@dataclass(frozen=True, slots=True)
class Thread:
    """What one thread did since it began."""

    name: str
    voluntary: int  # context switches: it waited for something, so each is a wake-up
    involuntary: int  # it had to let another one on
    cpu_ns: int  # 0 where the kernel does not count (CONFIG_SCHED_INFO)


@dataclass(frozen=True, slots=True)
class Look:
    """What one process did since it began."""

    pid: int
    started: int  # ticks since the boot: with the pid, who it is
    name: str
    threads: Mapping[int, Thread]  # those that are alive
    cpu_ticks: int  # of SC_CLK_TCK, also of threads that ended
    written_bytes: int | None  # to disks
    pss_bytes: int | None  # memory; what it shares with others by its share


def look(pid: int) -> Look | None:
    """A process now; None if it is gone."""
    try:
        fields = _stat(pid)
        return Look(
            pid,
            int(fields[_STARTED]),
            _name(pid),
            dict(_threads(pid)),
            int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS]),
            _numbers(pid, "io", "write_bytes"),
            _in_bytes(_numbers(pid, "smaps_rollup", "Pss")),
        )
    except (FileNotFoundError, ProcessLookupError):
        return None


def parents() -> dict[int, int]:
    """Every process that is to be seen → its parent."""
    found: dict[int, int] = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it is gone
                found[int(folder.name)] = int(_stat(int(folder.name))[_PARENT])
    return found


def kernel_name(pid: int) -> str:
    """What the kernel calls a process; empty if it is gone."""
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "comm").read_text(errors="replace").strip()
    return ""


def _stat(pid: int) -> list[str]:
    return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()


def _threads(pid: int) -> Iterator[tuple[int, Thread]]:
    for task in (PROC / str(pid) / "task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            yield int(task.name), _thread(task)


def _thread(task: Path) -> Thread:
    status = _table(task / "status")
    cpu_ns = 0
    with contextlib.suppress(FileNotFoundError):
        cpu_ns = int((task / "schedstat").read_text().split()[0])
    return Thread(
        status["Name"], int(status["voluntary_ctxt_switches"]), int(status["nonvoluntary_ctxt_switches"]), cpu_ns
    )


def _numbers(pid: int, file: str, key: str) -> int | None:
    """A number of a process's table; None if it may not be read, 0 if there is none: a process that is just ending."""
    try:
        return int(_table(PROC / str(pid) / file).get(key, "0").split()[0])
    except PermissionError:
        return None


def _in_bytes(kib: int | None) -> int | None:
    return None if kib is None else kib * _KIB


def _table(path: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in path.read_text(errors="replace").splitlines())
    return {key: value.strip() for key, _, value in pairs}


def _name(pid: int) -> str:
    """What tells it from others: for Python the program that it runs; else what it calls itself."""
    words = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").rstrip("\0 ").split("\0")
    name = kernel_name(pid)
    if not name.startswith("python") or "-c" in words:
        return words[0] if words[0].startswith("postgres: ") else name
    if "-m" in words[:-1]:
        module, *arguments = words[words.index("-m") + 1 :]
        return " ".join([module, *arguments[:1]]) if module == "picloud" else module
    program = next((word for word in words[1:] if not word.startswith("-")), name)
    return Path(program).name
