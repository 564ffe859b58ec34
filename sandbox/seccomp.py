"""Which system calls a child may make: a classic BPF program built from names.

Owns: the policy, the numbers of two architectures, the program's bytes. Knows nothing of processes or pools.
The policy is data: what is not in POLICY ends the whole process, and so does a call of another architecture (x32 too).
Descriptors are capabilities: `accept4` works on the listener's number only, `sendmsg` on the notify socket's, `read`
and `write` on the connection's. Once the first two are closed nothing here can make a descriptor again.

aarch64 needs no other calls: glibc uses `mmap`, `brk`, `accept4`, `exit_group` there too, only the numbers differ.
Left out on purpose, so that no memory becomes executable or is put where a process wants it: `mprotect` (glibc calls
it for threads' arenas only), MAP_FIXED and MREMAP_FIXED. And what nothing of ours needs: `madvise`, `futex`,
`rt_sigaction`; `abort` therefore ends with SIGSYS, not SIGABRT. Clocks are those of the machine and of the process
itself: the number of any other is made of a process or a descriptor, and tells of it.
"""

import ctypes
import errno
import os
import struct

from sandbox import clock

CONNECTION, LISTENER, NOTIFY = 0, 3, 4  # descriptor numbers in a child

_PROT_READ, _PROT_WRITE = 1, 2
_MAP_PRIVATE, _MAP_ANONYMOUS = 2, 32
_MREMAP_MAYMOVE = 1
_CLOCKS = 0xF  # the fixed ones; clockid_t has 32 bits, and what stands above them in the register is anybody's
_ALL, _INT = 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF

Check = tuple[int, int, int]
"""(argument's index, mask, value): the call is allowed if ``argument & mask == value``."""

POLICY: tuple[tuple[str, tuple[Check, ...]], ...] = (
    ("read", ((0, _ALL, CONNECTION),)),
    ("write", ((0, _ALL, CONNECTION),)),
    ("brk", ()),
    # the value is compared whole: MAP_FIXED, MAP_SHARED and files are out, and so is PROT_EXEC
    ("mmap", ((2, _ALL & ~(_PROT_READ | _PROT_WRITE), 0), (3, _ALL, _MAP_PRIVATE | _MAP_ANONYMOUS))),
    ("munmap", ()),
    ("mremap", ((3, _ALL & ~_MREMAP_MAYMOVE, 0),)),
    ("clock_gettime", ((0, _INT & ~_CLOCKS, 0),)),
    ("timer_settime", ((0, _ALL, clock.SCRIPT),)),
    ("accept4", ((0, _ALL, LISTENER),)),
    ("sendmsg", ((0, _ALL, NOTIFY),)),
    ("close", ()),
    ("exit_group", ()),
)

NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "read": 0,
        "write": 1,
        "close": 3,
        "mmap": 9,
        "munmap": 11,
        "brk": 12,
        "mremap": 25,
        "sendmsg": 46,
        "timer_settime": 223,
        "clock_gettime": 228,
        "exit_group": 231,
        "accept4": 288,
    },
    "aarch64": {
        "close": 57,
        "read": 63,
        "write": 64,
        "exit_group": 94,
        "timer_settime": 110,
        "clock_gettime": 113,
        "sendmsg": 211,
        "brk": 214,
        "munmap": 215,
        "mremap": 216,
        "mmap": 222,
        "accept4": 242,
    },
}

AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
_X32_BIT = 0x4000_0000  # x32 calls carry the architecture of x86_64 and this bit

KILL, ALLOW = 0x8000_0000, 0x7FFF_0000  # SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ALLOW
_LOAD, _AND, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16  # offsets in struct seccomp_data
_LOW_WORD = 0xFFFF_FFFF

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2

Instruction = tuple[int, int, int, int]
"""(code, jump if true, jump if false, k) of struct sock_filter."""


def program(machine: str) -> bytes:
    """The filter of one architecture as an array of struct sock_filter; KeyError if it is not known."""
    numbers = NUMBERS[machine]
    instructions = _architecture(machine)
    for name, checks in POLICY:
        instructions += _rule(numbers[name], checks)
    instructions.append((_RETURN, 0, 0, KILL))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)


def _architecture(machine: str) -> list[Instruction]:
    """Reject other architectures and x32; leaves the call's number in the accumulator."""
    return [
        (_LOAD, 0, 0, _ARCH_AT),
        (_JUMP_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JUMP_GREATER_EQUAL, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, KILL),
    ]


def _rule(number: int, checks: tuple[Check, ...]) -> list[Instruction]:
    """Allow one call if each check holds, kill otherwise; another number skips the whole block."""
    body: list[Instruction] = []
    words = [word for check in checks for word in _words(check)]
    for left, (offset, mask, value) in zip(range(len(words), 0, -1), words, strict=True):
        to_kill = 3 * (left - 1) + 1  # over the checks that are left and the allow
        body += [(_LOAD, 0, 0, offset), (_AND, 0, 0, mask), (_JUMP_EQUAL, 0, to_kill, value)]
    body += [(_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, KILL)]
    return [(_JUMP_EQUAL, 0, len(body), number), *body]


def _words(check: Check) -> list[tuple[int, int, int]]:
    """One check of 64 bits as two of 32: (offset, mask, value); both machines are little-endian."""
    index, mask, value = check
    at = _ARGUMENTS_AT + 8 * index
    return [(at, mask & _LOW_WORD, value & _LOW_WORD), (at + 4, mask >> 32, value >> 32)]


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class Filter:
    """The filter of a machine, ready to install: made once in the zygote, so that a child only makes the call.

    OSError if there is no table for the machine.
    """

    def __init__(self, machine: str | None = None) -> None:
        machine = machine or os.uname().machine
        if machine not in NUMBERS:
            raise OSError(errno.ENOSYS, f"no system call numbers for {machine}; known: {', '.join(NUMBERS)}")
        code = program(machine)
        self._program = _Program(len(code) // 8, code)
        self._address = ctypes.byref(self._program)
        # PyDLL: a CDLL would let go of the GIL and take it again, with system calls that the filter forbids
        self._prctl = ctypes.PyDLL(None, use_errno=True).prctl
        self._prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong)

    def install(self) -> None:
        """Confine the calling process for good; OSError if the kernel refuses (no_new_privs must be set)."""
        if self._prctl(_PR_SET_SECCOMP, _MODE_FILTER, self._address, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "the kernel refused the seccomp filter")
