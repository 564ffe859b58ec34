"""The filter: interpreted here, compared with libseccomp's own of the same policy, and tried on this kernel."""

import ctypes
import itertools
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import seccomp

ARCHES = sorted(seccomp.NUMBERS)
_ALL = 0xFFFF_FFFF_FFFF_FFFF
_MASKED_EQUAL = 7  # SCMP_CMP_MASKED_EQ
_KILL_PROCESS, _ALLOW = 0x8000_0000, 0x7FFF_0000


def verdict(  # noqa: C901 - one case an instruction
    code: bytes, arch: int, number: int, arguments: tuple[int, ...]
) -> int:
    """What a filter says of one call: an interpreter of the few BPF instructions that filters are made of."""
    data = struct.pack("<IIQ6Q", number & 0xFFFF_FFFF, arch, 0, *arguments)
    at, accumulator = 0, 0
    while True:
        instruction, if_true, if_false, k = struct.unpack_from("<HBBI", code, 8 * at)
        at += 1
        match instruction:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, k)
            case 0x54:
                accumulator &= k
            case 0x06:
                return int(k)
            case 0x05:
                at += k
            case 0x15:
                at += if_true if accumulator == k else if_false
            case 0x25:
                at += if_true if accumulator > k else if_false
            case 0x35:
                at += if_true if accumulator >= k else if_false
            case 0x45:
                at += if_true if accumulator & k else if_false
            case _:
                raise AssertionError(f"instruction {instruction:#x}")


class Argument(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint),
        ("how", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    found = ctypes.CDLL("libseccomp.so.2")  # Debian's libseccomp2, which `make test` installs
    found.seccomp_init.restype = ctypes.c_void_p
    found.seccomp_init.argtypes = [ctypes.c_uint32]
    for function in ("seccomp_export_bpf", "seccomp_arch_add", "seccomp_arch_remove", "seccomp_attr_set"):
        getattr(found, function).argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32][:2]
    found.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    found.seccomp_arch_add.argtypes = found.seccomp_arch_remove.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    found.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Argument),
    ]  # fmt: skip
    return found


def theirs(library: ctypes.CDLL, machine: str, path: Path) -> bytes:
    """The same policy, compiled by libseccomp."""
    context = library.seccomp_init(_KILL_PROCESS)
    native, wanted = library.seccomp_arch_native(), seccomp.AUDIT_ARCH[machine]
    if ctypes.c_uint32(native).value != wanted:
        assert library.seccomp_arch_add(context, wanted) == 0
        assert library.seccomp_arch_remove(context, ctypes.c_uint32(native).value) == 0
    assert library.seccomp_attr_set(context, 2, _KILL_PROCESS) == 0  # SCMP_FLTATR_ACT_BADARCH
    for name, checks in seccomp.POLICY:
        arguments = (Argument * len(checks))(
            *(Argument(index, _MASKED_EQUAL, mask, value) for index, mask, value in checks)
        )
        number = library.seccomp_syscall_resolve_name(name.encode())
        assert library.seccomp_rule_add_array(context, _ALLOW, number, len(checks), arguments) == 0
    with path.open("wb") as file:
        assert library.seccomp_export_bpf(context, file.fileno()) == 0
    return path.read_bytes()


def samples(machine: str) -> list[tuple[int, int, tuple[int, ...]]]:
    """(arch, number, arguments): the interesting values in all places, and random ones."""
    chance = random.Random(7)
    interesting = [0, 1, 2, 3, 4, 5, 0x22, 0x12, 0x32, 0x4022, 7, 1 << 32, (1 << 32) + 3, _ALL, _ALL - 1]
    numbers = [*seccomp.NUMBERS[machine].values(), *range(470), 0x4000_0000, 0x4000_0001, 0x7FFF_FFFF, 0xFFFF_FFFF]
    arches = [*seccomp.AUDIT_ARCH.values(), 0x4000_0003, 0]
    found: list[tuple[int, int, tuple[int, ...]]] = []
    for number in seccomp.NUMBERS[machine].values():
        for pair in itertools.product(interesting, repeat=2):
            found.append((seccomp.AUDIT_ARCH[machine], number, (pair[0], 0, pair[0], pair[1], 0, 0)))
            found.append((seccomp.AUDIT_ARCH[machine], number, (pair[0], 0, pair[1], 0x22, 0, 0)))
    for _ in range(20_000):
        arguments = tuple(chance.choice(interesting) for _ in range(6))
        found.append((chance.choice(arches), chance.choice(numbers), arguments))
    return found


@pytest.mark.parametrize("machine", ARCHES)
def test_the_numbers_are_those_of_libseccomp(library: ctypes.CDLL, machine: str) -> None:
    resolve = library.seccomp_syscall_resolve_name_arch
    resolve.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    numbers = {name: resolve(seccomp.AUDIT_ARCH[machine], name.encode()) for name, _ in seccomp.POLICY}

    assert seccomp.NUMBERS[machine] == numbers


@pytest.mark.parametrize("machine", ARCHES)
def test_the_filter_says_what_libseccomps_says(library: ctypes.CDLL, machine: str, tmp_path: Path) -> None:
    ours, reference = seccomp.program(machine), theirs(library, machine, tmp_path / "bpf")
    different = [it for it in samples(machine) if verdict(ours, *it) != verdict(reference, *it)]

    assert different == []


@pytest.mark.parametrize("machine", ARCHES)
def test_what_is_not_in_the_policy_kills_the_process(machine: str) -> None:
    code, arch = seccomp.program(machine), seccomp.AUDIT_ARCH[machine]
    names = {number: name for name, number in seccomp.NUMBERS[machine].items()}

    def allowed(*arguments: int) -> set[str]:
        return {names.get(n, f"{n}") for n in range(1024) if verdict(code, arch, n, arguments) == _ALLOW}

    always = {"brk", "munmap", "close", "exit_group"}
    assert allowed(0, 0, 0, 0, 0, 0) == always | {"mremap", "clock_gettime", "read", "write"}
    assert allowed(0, 0, 0, 0x22, 0, 0) == always | {"mmap", "clock_gettime", "read", "write"}
    assert allowed(1, 0, 0, 1, 0, 0) == always | {"mremap", "clock_gettime", "timer_settime"}
    assert allowed(3, 0, 0, 3, 0, 0) == always | {"accept4", "clock_gettime"}
    assert allowed(4, 0, 4, 0x22, 0, 0) == always | {"sendmsg", "clock_gettime"}
    assert allowed(_ALL - 13, 0, 0, _ALL, 0, 0) == always


def test_x32_and_other_architectures_are_rejected() -> None:
    code = seccomp.program("x86_64")

    assert verdict(code, seccomp.AUDIT_ARCH["x86_64"], 0x4000_0000 | 231, (0,) * 6) == _KILL_PROCESS
    assert verdict(code, seccomp.AUDIT_ARCH["aarch64"], 94, (0,) * 6) == _KILL_PROCESS


def test_a_machine_without_a_table_is_an_error_that_names_it() -> None:
    with pytest.raises(OSError, match="no system call numbers for riscv64"):
        seccomp.Filter("riscv64")


def test_the_filter_alone_ends_a_process() -> None:
    source = "import os; from sandbox import lockdown, seccomp; f = seccomp.Filter(); lockdown._no_new_privileges(); "
    source += "f.install(); os.getppid()"
    ended = subprocess.run([sys.executable, "-c", source], cwd=Path(seccomp.__file__).parents[1], check=False)

    assert ended.returncode == -31
    assert os.uname().machine in seccomp.NUMBERS
