"""What the zygote gives up, once, in one visible order: the design record of the sandbox's confinement.

Owns: the order of every layer that children inherit, and what became of each. Knows nothing of pools or scripts.
Read `lock_down` from top to bottom. Each line says why it stands where it does; every one was once in the wrong place:

1. *namespaces* need privileges, so they come first; an ordinary user's are lent by a user namespace, the first of them.
   Making that one wants /proc, too. A pid namespace takes effect in the next child only, which becomes its init:
   `sandbox.zygote` forks a real one before any sandbox.
2. *rlimits* read /proc, so before landlock. RLIMIT_NPROC and the CPU clocks are each child's own: here the one would
   stop the forks and the others, in time, the forker.
3. the *bounding set* and securebits need CAP_SETPCAP, so before the user changes; the ambient set goes with them.
4. the *user* changes (`privileges`): groups first, since afterwards nobody may drop them. Who is not root stays.
5. *capabilities* are emptied by name: in a user namespace, and with an unusual securebits, 4 leaves them in place.
6. *dumpable* and the *parent-death signal* come after 4, which resets both. A supervisor that died before the
   signal was asked for is noticed by looking at the parent afterwards.
7. *no_new_privs* comes before landlock and seccomp, which want it.
8. *landlock* comes last here: it closes /proc, /sys and every file. All that is imported later is not there.

Behind this stand *proofs* (`sandbox.probe`): a forbidden system call must end a process, one under a sandbox's limits
must not fork, and a kill must work. What cannot be inherited is each child's own, after its fork (`sandbox.child`):

9. its *parent-death signal*, which a fork clears, before the first thing that could take long.
10. every *descriptor* but the listener and the notify socket is closed: those of other requests, and the log.
11. its *limits*: no process, and the operator's maximum of CPU, as a clock and as an rlimit behind it.
12. *seccomp* comes last of all, since each line above makes calls that it forbids; then the child waits in `accept`.

A layer is `required` when serving without it would break the promise; else it is reported, and the others stand.
"""

from __future__ import annotations

import ctypes
import os

import prctl

from sandbox import limits

TYPE_CHECKING = False  # importing typing would cost each fork
if TYPE_CHECKING:
    from collections.abc import Callable

_SIGKILL = 9
_NAMESPACES = (
    ("user-namespace", 0x1000_0000),
    ("pid-namespace", 0x2000_0000),
    ("network-namespace", 0x4000_0000),
    ("ipc-namespace", 0x0800_0000),
    ("uts-namespace", 0x0400_0000),
    ("mount-namespace", 0x0002_0000),
    ("cgroup-namespace", 0x0200_0000),
)
_KEEP = -1  # the user that started us stays
_CAPABILITIES = 64
_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_SECUREBITS = 23, 24, 28
_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x2008_0522
# no root, for good: NOROOT, KEEP_CAPS off, NO_SETUID_FIXUP off, ambient never, and each of them locked
_SECUREBITS = 0x01 | 0x02 | 0x08 | 0x20 | 0x40 | 0x80

_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446  # the same on every architecture
_LANDLOCK_FILES = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # ABI → how many file rights it knows, from bit 0 up
_LANDLOCK_TCP = 0b11  # bind, connect: ABI 4
_LANDLOCK_SCOPES = 0b11  # abstract unix sockets, signals: ABI 6

_libc = ctypes.PyDLL(None, use_errno=True)


class Layer:
    """One layer of protection and what became of it."""

    __slots__ = ("active", "name", "reason", "required")

    def __init__(self, name: str, active: bool, required: bool, reason: str) -> None:
        self.name = name
        self.active = active
        self.required = required
        self.reason = reason  # why it is not active; what it holds back if it is


class LockDown:
    """The result: which layers hold, and whether the children live in a pid namespace of their own."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []

    def attempt(self, name: str, step: Callable[[], str], *, required: bool = False) -> None:
        """Run one step; its answer is the layer's reason, its OSError why the layer is missing."""
        try:
            reason, active = step(), True
        except (OSError, ValueError) as error:
            reason, active = str(getattr(error, "strerror", None) or error), False
        self.layers.append(Layer(name, active, required, reason))

    def holds(self, name: str) -> bool:
        """Whether the layer of that name is active."""
        return any(layer.active for layer in self.layers if layer.name == name)

    @property
    def sufficient(self) -> bool:
        """Whether every required layer is active."""
        return all(layer.active for layer in self.layers if layer.required)


def lock_down(uid: int, gid: int, supervisor: int, memory_bytes_max: int, children_max: int) -> LockDown:
    """Give up everything that is not needed to fork; the caller refuses to serve unless the result is `sufficient`.

    ``uid``, ``gid``: whom to become, -1 to stay (then nothing may be root); ``supervisor``: pid of the parent.
    """
    done = LockDown()
    for name, flag in _NAMESPACES:
        if flag != _NAMESPACES[0][1] or uid == _KEEP:  # root needs no user namespace
            done.attempt(name, lambda flag=flag: _unshare(flag))  # type: ignore[misc]
    done.attempt("rlimits", lambda: _rlimits(memory_bytes_max, children_max), required=True)
    done.attempt("bounding-set", _empty_bounding_set)
    done.attempt("privileges", lambda: _become(uid, gid), required=True)
    done.attempt("capabilities", _drop_capabilities, required=True)
    done.attempt("parent-death", lambda: _die_with(supervisor), required=True)
    done.attempt("no-new-privileges", _no_new_privileges, required=True)
    done.attempt("landlock", _landlock)
    return done


def _unshare(flag: int) -> str:
    uid, gid = os.getuid(), os.getgid()
    _call(_libc.unshare(flag))
    if flag == _NAMESPACES[0][1]:
        _map_to_itself(uid, gid)
    return "of its own"


def _map_to_itself(uid: int, gid: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _rlimits(memory_bytes_max: int, children_max: int) -> str:
    limits.limit_zygote(memory_bytes_max, children_max)
    return "memory, descriptors, file size and core; processes and CPU in each sandbox"


def _empty_bounding_set() -> str:
    for capability in range(prctl.CAP_LAST_CAP + 1):
        if prctl.capbset_read(capability):
            prctl.capbset_drop(capability)
    for capability in range(prctl.CAP_LAST_CAP + 1, _CAPABILITIES):  # what the kernel knows and python-prctl does not
        if _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) == 1:
            _call(_libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0))
    _call(_libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0))
    _call(_libc.prctl(_PR_SET_SECUREBITS, _SECUREBITS, 0, 0, 0))  # python-prctl does not know the ambient bit
    return "empty; ambient set empty; securebits locked"


def _become(uid: int, gid: int) -> str:
    if uid != _KEEP:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    if 0 in (os.getuid(), os.geteuid(), os.getgid(), os.getegid()):
        raise PermissionError("the sandboxes would run as root: set PICLOUD_SANDBOX_USER to an ordinary user")
    return f"uid {os.getuid()}, gid {os.getgid()}"


def _drop_capabilities() -> str:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _call(_libc.capset(header, nothing))
    _call(_libc.capget(header, nothing))
    if any(nothing):
        raise PermissionError("capabilities are still there after capset")
    return "none"


def _die_with(supervisor: int) -> str:
    prctl.set_dumpable(0)
    prctl.set_pdeathsig(_SIGKILL)
    if os.getppid() != supervisor:
        raise ProcessLookupError("the supervisor ended before its zygote was ready")
    return "ends with its supervisor; not dumpable"


def _no_new_privileges() -> str:
    prctl.set_no_new_privs(1)
    if prctl.get_no_new_privs() != 1:
        raise PermissionError("the kernel did not keep no_new_privs")
    return "set"


def landlock_abi() -> int:
    """Which landlock the kernel has: TCP is closed from 4 on. OSError if it has none."""
    return _call(_libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1))


def _landlock() -> str:
    abi = landlock_abi()
    files = (1 << _LANDLOCK_FILES.get(abi, 16)) - 1
    handled = (ctypes.c_uint64 * 3)(files, _LANDLOCK_TCP if abi >= 4 else 0, _LANDLOCK_SCOPES if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _call(_libc.syscall(_LANDLOCK_CREATE_RULESET, handled, ctypes.c_size_t(size), 0))
    try:
        _call(_libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    held = [
        "no files",
        *(["no TCP"] if abi >= 4 else []),
        *(["signals and abstract sockets stay inside"] if abi >= 6 else []),
    ]
    return f"{', '.join(held)} (ABI {abi})"


def _call(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
