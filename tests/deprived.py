"""Run a command without something that the kernel gives: `python tests/deprived.py THING… -- COMMAND…`.

What is taken away is really gone for that process and all below it: its system call fails as it does on a kernel, or in
a container, that has none. Nothing of PiCloud is replaced. Most of it libseccomp refuses; the rest is given up.
"""

import ctypes
import errno
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence

import prctl

_EQUAL, _NOT_EQUAL, _MASKED_EQUAL = 4, 1, 7  # SCMP_CMP_…
_ALLOW, _ERRNO = 0x7FFF_0000, 0x0005_0000  # SCMP_ACT_…
_NO_NEW_PRIVILEGES = 3  # SCMP_FLTATR_CTL_NNP
_LANDLOCK = 444  # landlock_create_ruleset, on every architecture
_NEW_USER = 0x1000_0000  # CLONE_NEWUSER
_AMBIENT, _AMBIENT_RAISE = 47, 2  # PR_CAP_AMBIENT
_CAPABILITIES_VERSION = 0x2008_0522
ORDINARY = 65534

Refusal = tuple[str | int, int, tuple[tuple[int, int, int, int], ...]]
"""(system call, errno, checks); a check is (argument's index, how, value or mask, value)."""

REFUSALS: dict[str, tuple[Refusal, ...]] = {
    "seccomp": (("prctl", errno.EINVAL, ((0, _EQUAL, 22, 0),)), ("seccomp", errno.ENOSYS, ())),
    "no-new-privileges": (("prctl", errno.EINVAL, ((0, _EQUAL, 38, 0),)),),
    "parent-death": (("prctl", errno.EINVAL, ((0, _EQUAL, 1, 0),)),),
    "rlimits": (("prlimit64", errno.EPERM, ((2, _NOT_EQUAL, 0, 0),)), ("setrlimit", errno.EPERM, ())),
    "sandbox-limits": (
        ("prlimit64", errno.EPERM, ((1, _EQUAL, resource.RLIMIT_NPROC, 0), (2, _NOT_EQUAL, 0, 0))),
        ("setrlimit", errno.EPERM, ((0, _EQUAL, resource.RLIMIT_NPROC, 0),)),
    ),
    "kill": (("kill", errno.EPERM, ((1, _EQUAL, signal.SIGKILL, 0),)),),
    "capabilities": (("capset", errno.EPERM, ()),),
    "landlock": ((_LANDLOCK, errno.ENOSYS, ()),),
    "namespaces": (("unshare", errno.EPERM, ()),),
    "user-namespace": (("unshare", errno.EPERM, ((0, _MASKED_EQUAL, _NEW_USER, _NEW_USER),)),),
}


def command_without(things: Sequence[str]) -> list[str]:
    """What another command begins with to run without these; nothing if they are none."""
    return [sys.executable, "-P", __file__, *things, "--"] if things else []


class _Check(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint),
        ("how", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def _refuse(names: list[str]) -> None:
    """Install one filter that says no to all of these."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ALLOW)))
    library.seccomp_attr_set(context, _NO_NEW_PRIVILEGES, ctypes.c_uint32(os.geteuid() != 0))
    for call, number, checks in (refusal for name in names for refusal in REFUSALS[name]):
        resolved = call if isinstance(call, int) else library.seccomp_syscall_resolve_name(call.encode())
        array = (_Check * len(checks))(*(_Check(*check) for check in checks))
        action = ctypes.c_uint32(_ERRNO | number)
        if code := library.seccomp_rule_add_array(context, action, resolved, len(checks), array):
            raise OSError(-code, f"libseccomp does not take a rule for {call}")
    if code := library.seccomp_load(context):
        raise OSError(-code, "the filter was not installed")


def _allow_no_user_namespaces() -> None:
    """What `sysctl user.max_user_namespaces=0` does to all, in a user namespace that only we are in."""
    uid, gid = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_USER):
        raise OSError(ctypes.get_errno(), "no user namespace to take them away in")
    for path, text in (
        ("self/setgroups", "deny"),
        ("self/uid_map", f"{uid} {uid} 1"),
        ("self/gid_map", f"{gid} {gid} 1"),
        ("sys/user/max_user_namespaces", "0"),
    ):
        with open(f"/proc/{path}", "w") as file:
            file.write(text)


def _drop_setuid() -> None:
    """Root that may not become anybody else, as in a container with --cap-drop."""
    prctl.capbset_drop(prctl.CAP_SETUID)
    prctl.capbset_drop(prctl.CAP_SETGID)


def _become_ordinary() -> None:
    """An ordinary user, who may read everything: our files may lie in a folder of root's."""
    libc = ctypes.CDLL(None, use_errno=True)
    prctl.set_keepcaps(1)
    os.setgroups([])
    os.setresgid(ORDINARY, ORDINARY, ORDINARY)
    os.setresuid(ORDINARY, ORDINARY, ORDINARY)
    only = 1 << prctl.CAP_DAC_READ_SEARCH
    sets = (ctypes.c_uint32 * 6)(only, only, only)  # effective, permitted, inheritable; then their high words
    if libc.capset((ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0), sets):
        raise OSError(ctypes.get_errno(), "capset failed")
    if libc.prctl(_AMBIENT, _AMBIENT_RAISE, prctl.CAP_DAC_READ_SEARCH, 0, 0):  # or it ends with exec
        raise OSError(ctypes.get_errno(), "no ambient capability")


OTHERWISE: dict[str, Callable[[], None]] = {
    "root": _become_ordinary,
    "max-user-namespaces": _allow_no_user_namespaces,
    "privileges": _drop_setuid,
}


def main(words: list[str]) -> None:
    """Take things away, then become the command."""
    at = words.index("--")
    things, command = words[:at], words[at + 1 :]
    for thing in things:
        if thing in OTHERWISE:
            OTHERWISE[thing]()
    if refused := [thing for thing in things if thing not in OTHERWISE]:
        _refuse(refused)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
