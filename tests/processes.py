"""Processes as the kernel shows them under /proc: who they are, who is below them, whether they compute."""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path


@contextlib.contextmanager
def stopped(pids: Iterable[int]) -> Iterator[None]:
    """Processes that do nothing for the length of a block."""
    held = list(pids)
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in held:
            os.kill(pid, signal.SIGCONT)


def children(pid: int) -> dict[int, str]:
    """The children of a process: pid → command line."""
    found: dict[int, str] = {}
    for thread in _threads(pid):
        with contextlib.suppress(OSError):
            found |= {int(child): command_line(int(child)) for child in (thread / "children").read_text().split()}
    return found


def _threads(pid: int) -> list[Path]:
    with contextlib.suppress(OSError):  # it may be gone
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def descendants(pid: int) -> dict[int, str]:
    """A process and everything below it: pid → command line."""
    found = {pid: command_line(pid)}
    for child in children(pid):
        found |= descendants(child)
    return found


def leads_a_session(pid: int) -> bool:
    """Whether it is the first of its session, and not forked by one."""
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid) == pid
    return False


def user_ticks(pid: int) -> int:
    """How much CPU a process has used, in ticks of SC_CLK_TCK; 0 if it is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])
    return 0


def process_name(pid: int) -> str:
    """What the kernel calls a process; empty if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def command_line(pid: int) -> str:
    """What a process was started as; empty if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""
