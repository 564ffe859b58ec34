"""Become PostgreSQL: give up what it must not have, then exec it.

Run by path with `python -I -S`, so this imports the standard library only. `picloud.storage.cluster` writes the plan.
PostgreSQL refuses to run as root and wants a uid with a passwd entry that can reach its binaries and data, wherever a
checkout lies (a home of mode 0700). So root gives it a view of the file system of its own: nothing is left on the host.
"""

import ctypes
import json
import os
import signal
import stat
import sys
from typing import Any

_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_SLAVE = 0x1000, 0x4000, 0x80000
_MS_NOSUID, _MS_NODEV = 0x2, 0x4
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_USERS = "/etc/passwd"
_SCRATCH = "/tmp"  # noqa: S108 - a mount point in a namespace of ours; any folder would do

_libc = ctypes.CDLL(None, use_errno=True)


def launch(plan: dict[str, Any]) -> None:
    """`plan`: argv, env, parent (pid), uid, gid, account (a passwd line: make a namespace), reach (real paths)."""
    os.umask(0o022)
    if plan["account"]:
        enter_namespace()
        install_account(plan["account"])
        uncover(plan["reach"])
    if plan["uid"] != os.geteuid():
        os.setgroups([])
        os.setgid(plan["gid"])
        os.setuid(plan["uid"])
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    die_with_parent(plan["parent"])
    os.umask(0o077)
    os.chdir("/")
    os.execve(plan["argv"][0], plan["argv"], plan["env"])  # noqa: S606 - no shell is what is wanted


def enter_namespace() -> None:
    """Mounts from here on are seen by nobody else; the host's unmounts still reach us, so no disk is kept busy."""
    _call("unshare", _CLONE_NEWNS)
    _mount("none", "/", "", _MS_REC | _MS_SLAVE)


def install_account(line: str) -> None:
    """Add `line` to the passwd file that this process and its children see."""
    with open(_USERS, "rb") as file:  # noqa: PTH123 - pathlib costs start time
        known = file.read().rstrip(b"\n")
    _mount("tmpfs", _SCRATCH, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    source = _SCRATCH + "/passwd"
    with open(source, "wb") as file:  # noqa: PTH123
        file.write(known + b"\n" + line.encode() + b"\n")
    os.chmod(source, 0o644)  # noqa: PTH101
    _mount(source, _USERS, "", _MS_BIND)
    _call("umount2", os.fsencode(_SCRATCH), _MNT_DETACH)


def uncover(paths: list[str]) -> None:
    """Make each path reachable for anybody: where a folder above is closed, an empty one with just that path in it."""
    held = {path: os.open(path, os.O_PATH) for path in paths}
    closed = {path: outermost_closed(path) for path in paths}
    for folder in set(closed.values()) - {""}:
        _mount("tmpfs", folder, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for path, descriptor in held.items():
        if closed[path]:
            os.makedirs(path, 0o755, exist_ok=True)  # noqa: PTH103
            _mount(f"/proc/self/fd/{descriptor}", path, "", _MS_BIND | _MS_REC)


def outermost_closed(path: str) -> str:
    """The folder nearest to the root above `path` that others may not enter; "" if there is none."""
    parts = path.split("/")[1:-1]
    above = ("/" + "/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return next((folder for folder in above if not os.stat(folder).st_mode & stat.S_IXOTH), "")  # noqa: PTH116


def die_with_parent(parent: int) -> None:
    """SIGINT is PostgreSQL's fast, clean shutdown. After setuid, which forgets it; the parent may be gone already."""
    _call("prctl", _PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the process that wanted PostgreSQL has ended")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    _call("mount", os.fsencode(source), os.fsencode(target), kind.encode(), flags, data.encode())


def _call(name: str, *arguments: Any) -> None:
    words = [ctypes.c_ulong(it) if isinstance(it, int) else it for it in arguments]
    if getattr(_libc, name)(*words):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        launch(json.loads(sys.argv[1]))
    except OSError as error:
        raise SystemExit(
            f"cannot run PostgreSQL: {error.strerror}{f': {error.filename}' if error.filename else ''}"
        ) from None
