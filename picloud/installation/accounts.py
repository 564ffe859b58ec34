"""Users, groups and folders: systemd makes them, and makes those in /run again at each boot."""

import grp
import pwd
import stat
from pathlib import Path

from picloud.installation.machine import Machine
from picloud.installation.places import (
    HTTP_GROUP,
    RUN,
    RUN_EXECUTOR,
    RUN_EXECUTOR_ROOT,
    SANDBOX_USER,
    STATE,
    SYSUSERS,
    TMPFILES,
    USER,
)
from picloud.installation.steps import Change, News, Order, replaced

_STATE_MODE = 0o700


def users(machine: Machine, order: Order) -> News:
    """`picloud` serves, `picloud-sandbox` runs scripts, and who is in `picloud-http` may talk to the socket."""
    is_new = False
    for change in replaced(machine, SYSUSERS, order.text("systemd/picloud.sysusers")):
        is_new = True
        yield change
    missing = [name for name in (USER, SANDBOX_USER) if not has_user(name)]
    missing += [name for name in (HTTP_GROUP,) if not has_group(name)]
    if is_new or missing:
        what = f"make users and groups: {', '.join(missing) or 'what is new in it'}"
        yield Change(what, lambda: machine.do("systemd-sysusers", str(SYSUSERS)))


def folders(machine: Machine, order: Order) -> News:
    """The state is the server's alone; the sockets lie in /run."""
    is_new = False
    for change in replaced(machine, TMPFILES, order.text("systemd/picloud.tmpfiles")):
        is_new = True
        yield change
    owners = {RUN: USER, RUN_EXECUTOR: SANDBOX_USER, RUN_EXECUTOR_ROOT: "root"}
    wrong = [str(folder) for folder, owner in owners.items() if not _belongs(machine, folder, owner)]
    if is_new or wrong:
        what = f"make folders: {', '.join(wrong) or 'what is new in it'}"
        yield Change(what, lambda: machine.do("systemd-tmpfiles", "--create", str(TMPFILES)))
    if not _is_private(machine, STATE):
        yield Change(f"make {STATE}, for {USER} alone", lambda: machine.make_folder(STATE, _STATE_MODE, USER))


def has_user(name: str) -> bool:
    """Whether there is a user of this name."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def has_group(name: str) -> bool:
    """Whether there is a group of this name."""
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _is_private(machine: Machine, folder: Path) -> bool:
    """Whether it is there, the server's, and nobody else's."""
    return _belongs(machine, folder, USER) and stat.S_IMODE(machine.path(folder).lstat().st_mode) == _STATE_MODE


def _belongs(machine: Machine, folder: Path, owner: str) -> bool:
    """Whether it is there, and whose it should be: what systemd finds missing it makes root's."""
    if not machine.has(folder) or not stat.S_ISDIR(machine.path(folder).lstat().st_mode):
        return False
    found = machine.path(folder).lstat().st_uid
    return not machine.is_root or (has_user(owner) and found == pwd.getpwnam(owner).pw_uid)
