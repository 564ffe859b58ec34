"""What we hand to the kernel as bare numbers and bytes, held to its own headers by a C compiler.

For this machine, and always for aarch64: with arm64's headers if they are installed (linux-libc-dev-arm64-cross), else
with the generic ones of linux-libc-dev, which arm64's include for everything that stands here. Nothing is skipped: no
compiler or no headers is a failure. What older headers do not know yet (NEWER) is held to those that do; that the
running kernel takes it is seen by test_lockdown.
"""

import ctypes
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from sandbox import clock, lockdown, notices, seccomp, zygote

INCLUDE = Path("/usr/include")
MACHINES = sorted({os.uname().machine, "aarch64"})
Facts = Mapping[str, int]
"""An expression of C → the value that our code takes it to have."""

KERNEL = """asm/unistd.h asm/socket.h asm/signal.h asm/siginfo.h linux/audit.h linux/capability.h
            linux/fcntl.h linux/filter.h linux/landlock.h
            linux/mman.h linux/prctl.h linux/sched.h linux/seccomp.h linux/securebits.h linux/time.h"""
C_LIBRARY = "fcntl.h signal.h sys/socket.h sys/time.h"

CLONES = {"user": "USER", "pid": "PID", "network": "NET", "ipc": "IPC", "uts": "UTS", "mount": "NS", "cgroup": "CGROUP"}
NAMESPACES = {f"CLONE_NEW{CLONES[name.removesuffix('-namespace')]}": flag for name, flag in lockdown._NAMESPACES}

VALUES: Facts = {
    "BPF_LD | BPF_W | BPF_ABS": seccomp._LOAD,
    "BPF_ALU | BPF_AND | BPF_K": seccomp._AND,
    "BPF_JMP | BPF_JEQ | BPF_K": seccomp._JUMP_EQUAL,
    "BPF_JMP | BPF_JGE | BPF_K": seccomp._JUMP_GREATER_EQUAL,
    "BPF_RET | BPF_K": seccomp._RETURN,
    "SECCOMP_RET_KILL_PROCESS": seccomp.KILL,
    "SECCOMP_RET_ALLOW": seccomp.ALLOW,
    "SECCOMP_MODE_FILTER": seccomp._MODE_FILTER,
    "AUDIT_ARCH_X86_64": seccomp.AUDIT_ARCH["x86_64"],
    "AUDIT_ARCH_AARCH64": seccomp.AUDIT_ARCH["aarch64"],
    "PROT_READ": seccomp._PROT_READ,
    "PROT_WRITE": seccomp._PROT_WRITE,
    "MAP_PRIVATE": seccomp._MAP_PRIVATE,
    "MAP_ANONYMOUS": seccomp._MAP_ANONYMOUS,
    "MREMAP_MAYMOVE": seccomp._MREMAP_MAYMOVE,
    "CLOCK_PROCESS_CPUTIME_ID": clock._PROCESS_CPU,
    "SIGEV_SIGNAL": clock._BY_SIGNAL,
    "SIGPROF": signal.SIGPROF,
    "CLOCK_REALTIME": 0,
    "CLOCK_TAI": 11,  # the last of those that are no process's and no descriptor's
    "sizeof(__kernel_clockid_t)": 4,
    **NAMESPACES,
    "PR_SET_SECCOMP": seccomp._PR_SET_SECCOMP,
    "PR_CAPBSET_READ": lockdown._PR_CAPBSET_READ,
    "PR_CAPBSET_DROP": lockdown._PR_CAPBSET_DROP,
    "PR_SET_SECUREBITS": lockdown._PR_SET_SECUREBITS,
    "PR_CAP_AMBIENT": lockdown._PR_CAP_AMBIENT,
    "PR_CAP_AMBIENT_CLEAR_ALL": lockdown._AMBIENT_CLEAR_ALL,
    "SECBIT_NOROOT | SECURE_ALL_LOCKS | SECBIT_NO_CAP_AMBIENT_RAISE": lockdown._SECUREBITS,
    "_LINUX_CAPABILITY_VERSION_3": lockdown._CAPABILITY_VERSION_3,
    "__NR_landlock_create_ruleset": lockdown._LANDLOCK_CREATE_RULESET,
    "__NR_landlock_restrict_self": lockdown._LANDLOCK_RESTRICT_SELF,
    "LANDLOCK_CREATE_RULESET_VERSION": 1,
    "LANDLOCK_ACCESS_FS_MAKE_SYM": 1 << lockdown._LANDLOCK_FILES[1] - 1,  # the highest right that an ABI knows
    "LANDLOCK_ACCESS_FS_REFER": 1 << lockdown._LANDLOCK_FILES[2] - 1,
    "SO_RCVTIMEO_OLD": socket.SO_RCVTIMEO,
    "SO_SNDTIMEO_OLD": socket.SO_SNDTIMEO,
}

NEWER: Facts = {
    "LANDLOCK_ACCESS_FS_TRUNCATE": 1 << lockdown._LANDLOCK_FILES[3] - 1,
    "LANDLOCK_ACCESS_FS_IOCTL_DEV": 1 << lockdown._LANDLOCK_FILES[5] - 1,
    "LANDLOCK_ACCESS_NET_BIND_TCP | LANDLOCK_ACCESS_NET_CONNECT_TCP": lockdown._LANDLOCK_TCP,
    "LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL": lockdown._LANDLOCK_SCOPES,
}


def layout(of: str, code: str, *fields: str) -> Facts:
    """The facts of one struct that our code packs with ``code``, a letter a field, in this order."""
    order, letters = (code[0], code[1:]) if code[0] in "<@" else ("@", code)
    ends = [struct.calcsize(order + letters[: at + 1]) for at in range(len(fields))]
    sizes = [struct.calcsize(order + letter) for letter in letters[: len(fields)]]
    found = {f"sizeof(struct {of})": struct.calcsize(code)}
    for field, end, size in zip(fields, ends, sizes, strict=True):
        found |= {f"__builtin_offsetof(struct {of}, {field})": end - size, f"sizeof(((struct {of} *)0)->{field})": size}
    return found


FLOCK = layout("flock", "@hhqqi4x", "l_type", "l_whence", "l_start", "l_len", "l_pid")  # of picloud's admission

LAYOUTS: Facts = {
    **layout("sock_filter", "<HBBI", "code", "jt", "jf", "k"),
    "sizeof(struct sock_fprog)": 16,
    "__builtin_offsetof(struct sock_fprog, len)": seccomp._Program.length.offset,
    "__builtin_offsetof(struct sock_fprog, filter)": seccomp._Program.filter.offset,
    "__builtin_offsetof(struct seccomp_data, nr)": seccomp._NUMBER_AT,
    "__builtin_offsetof(struct seccomp_data, arch)": seccomp._ARCH_AT,
    "__builtin_offsetof(struct seccomp_data, args)": seccomp._ARGUMENTS_AT,
    "sizeof(((struct seccomp_data *)0)->args[0])": 8,
    **layout("__user_cap_header_struct", "@Ii", "version", "pid"),
    "_LINUX_CAPABILITY_U32S_3 * sizeof(struct __user_cap_data_struct)": 6 * 4,
    "__builtin_offsetof(struct landlock_ruleset_attr, handled_access_fs)": 0,
    "sizeof(((struct landlock_ruleset_attr *)0)->handled_access_fs)": 8,
    "sizeof(struct sigevent)": ctypes.sizeof(clock._Event),
    "__builtin_offsetof(struct sigevent, sigev_signo)": clock._Event.signal.offset,
    "__builtin_offsetof(struct sigevent, sigev_notify)": clock._Event.notify.offset,
    "sizeof(struct __kernel_itimerspec)": ctypes.sizeof(clock._Setting),
    "__builtin_offsetof(struct __kernel_itimerspec, it_value)": clock._Setting.s.offset,
    "__builtin_offsetof(struct __kernel_itimerspec, it_value.tv_nsec)": clock._Setting.ns.offset,
    **layout("timeval", "@ll", "tv_sec", "tv_usec"),  # of SO_RCVTIMEO, in picloud.executor.line
    **FLOCK,
    "F_OFD_SETLK": 37,
}

OF_THE_C_LIBRARY: Facts = {
    "SCM_RIGHTS": notices._SCM_RIGHTS,
    "SCM_CREDENTIALS": notices._SCM_CREDENTIALS,
    "sizeof(int)": 4,  # a descriptor in SCM_RIGHTS
    **layout("ucred", "@iII", "pid", "uid", "gid"),
    "CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred)) <= 64": zygote._ANCILLARY_BYTES == 64,
    "sizeof(sigset_t)": 16 * 8,  # for signalfd
    **FLOCK,
}


def numbers(machine: str) -> Facts:
    """The system calls of the filter's policy, and the bit of those that are x32's."""
    named = {f"__NR_{name}": number for name, number in seccomp.NUMBERS[machine].items()}
    return named | ({"__X32_SYSCALL_BIT": seccomp._X32_BIT} if machine == "x86_64" else {})


def own(machine: str, folder: Path) -> list[str]:
    """What makes the compiler read the kernel's headers of a machine, and those only."""
    multiarch, cross = INCLUDE / f"{machine}-linux-gnu", Path(f"/usr/{machine}-linux-gnu/include")
    foreign = [] if machine == os.uname().machine else ["-U__x86_64__", f"-D__{machine}__"]
    if (multiarch / "asm").exists():
        return ["-nostdinc", *foreign, "-isystem", str(multiarch), "-isystem", str(INCLUDE)]
    if (cross / "asm").exists():
        return ["-nostdinc", *foreign, "-isystem", str(cross)]
    return generic(folder)


def generic(folder: Path) -> list[str]:
    """The same for a machine of 64 bits that has nothing of its own; ``folder`` gets what stands in for it."""
    (folder / "asm").symlink_to(INCLUDE / "asm-generic")
    return ["-nostdinc", "-U__x86_64__", "-D__BITS_PER_LONG=64", "-isystem", str(folder), "-isystem", str(INCLUDE)]


def claim(fact: str, value: int) -> str:
    """One fact as a line of C."""
    return f'_Static_assert(({fact}) == {value:d}, "not {value:d}: {fact}");'


def untrue(facts: Facts, headers: str, flags: Iterable[str] = (), newer: Facts = MappingProxyType({})) -> list[str]:
    """The compiler's complaints about facts that are none, or about headers that it does not find."""
    lines = [f"#include <{name}>" for name in headers.split()]
    lines += [claim(fact, value) for fact, value in facts.items()]
    for fact, value in newer.items():
        lines += [f"#ifdef {fact.split()[0]}", claim(fact, value), "#endif"]
    command = ["gcc", "-fsyntax-only", "-D_GNU_SOURCE", *flags, "-x", "c", "-"]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "error:" in line]
    assert bool(complaints) == bool(done.returncode), done.stderr
    return complaints


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("facts", ["numbers", "values", "layouts"])
def test_what_the_kernel_is_handed_is_what_its_headers_say(machine: str, facts: str, tmp_path: Path) -> None:
    stated = {"numbers": numbers(machine), "values": VALUES, "layouts": LAYOUTS}[facts]

    assert untrue(stated, KERNEL, own(machine, tmp_path), NEWER) == []


def test_the_generic_headers_say_of_aarch64_what_its_own_say(tmp_path: Path) -> None:
    assert untrue({**numbers("aarch64"), **VALUES, **LAYOUTS}, KERNEL, generic(tmp_path)) == []


def test_what_the_c_library_is_handed_is_what_its_headers_say() -> None:
    assert untrue(OF_THE_C_LIBRARY, C_LIBRARY) == []


@pytest.mark.parametrize("machine", MACHINES)
def test_one_wrong_number_is_noticed(machine: str, tmp_path: Path) -> None:
    wrong = {**numbers(machine), "__NR_mremap": seccomp.NUMBERS[machine]["mremap"] + 1}
    (complaint,) = untrue(wrong, KERNEL, own(machine, tmp_path))

    assert "__NR_mremap" in complaint


def test_headers_that_are_not_there_are_noticed() -> None:
    assert untrue({"1": 1}, KERNEL, ["-nostdinc"])
