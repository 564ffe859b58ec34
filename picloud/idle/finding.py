"""Which processes there are: of systemd's units, and below another one.

Units are found by the cgroups that /proc names, in the one hierarchy of cgroup v2 as in v1's `name=systemd`.
Only those of this machine's own systemd: what runs in a container beside has another one above it.
"""

import contextlib
from fnmatch import fnmatchcase

from picloud.idle.looks import PROC, kernel_name, parents

_INIT = 1
_MANAGER = "init.scope"  # where systemd itself lies, beside system.slice
_SYSTEM = "/system.slice/"
_POSTGRES = ("postgres", "postmaster")


def units(*patterns: str) -> dict[str, list[int]]:
    """Services whose names match, such as `picloud*.service` → their processes; without a systemd, none."""
    found: dict[str, list[int]] = {}
    root = _path(_INIT).removesuffix(_MANAGER).rstrip("/")
    for pid in parents():
        unit = unit_in(_path(pid), root)
        if any(fnmatchcase(unit, pattern) for pattern in patterns):
            found.setdefault(unit, []).append(pid)
    return found


def unit_in(path: str, root: str) -> str:
    """The service that a cgroup is of, below the system's slice in a hierarchy's `root`; empty if it is of none."""
    if not path.startswith(root + _SYSTEM):
        return ""
    names = path.removeprefix(root).split("/")
    return next((name for name in names if name.endswith(".service")), "")


def below(pid: int) -> list[int]:
    """A process and all that descend from it; none if it is gone."""
    of = parents()
    children: dict[int, list[int]] = {}
    for child, parent in of.items():
        children.setdefault(parent, []).append(child)
    found = [pid] if pid in of else []
    for one in found:  # grows
        found += children.get(one, [])
    return found


def postgres_of(backend: int) -> int:
    """The server that one of its backends belongs to; 0 if that is none of this machine's."""
    parent = parents().get(backend, 0)
    return parent if is_postgres(backend) and is_postgres(parent) else 0


def is_postgres(pid: int) -> bool:
    """Whether a process is one of PostgreSQL's."""
    return kernel_name(pid) in _POSTGRES


def _path(pid: int) -> str:
    """A process's cgroup as systemd has it: that of v1's named hierarchy where there is one."""
    lines: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "cgroup").read_text(errors="replace").splitlines():
            _, controllers, path = line.split(":", 2)
            lines[controllers] = path
    return lines.get("name=systemd", lines.get("", ""))
