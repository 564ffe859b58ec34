"""What Python can do in a sandbox after lock-down: every system call of this machine, and the acts an attacker tries.

`sandbox.lua` is replaced by hostile_lua.py in an executor of the tests' own: no production entry leads there.
"""

import ctypes
import errno
import os

import pytest

from picloud.model import Outcome
from sandbox import seccomp
from tests.executor.conftest import Executor, StartExecutor

ALLOWED = seccomp.NUMBERS[os.uname().machine]
LAST_NUMBER = 500  # well behind what kernels have today


def named(number: int) -> str:
    """The kernel's name of a system call; empty if libseccomp knows none."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p
    library.seccomp_syscall_resolve_num_arch.argtypes = [ctypes.c_uint32, ctypes.c_int]
    found: bytes | None = library.seccomp_syscall_resolve_num_arch(seccomp.AUDIT_ARCH[os.uname().machine], number)
    return (found or b"").decode()


FORBIDDEN = {name: number for number in range(LAST_NUMBER) if (name := named(number)) and name not in ALLOWED}


def test_every_system_call_beside_the_policy_ends_the_process(hostile: Executor) -> None:
    assert len(FORBIDDEN) > 290  # aarch64 never had some fifty of x86's
    survived = {
        name: run
        for name, number in FORBIDDEN.items()
        if (run := hostile.run(f"syscall({number})")).outcome is not Outcome.SANDBOX_VIOLATION
    }
    assert not survived


ACTS = {
    "read a file": "open('/etc/passwd').read()",
    "write a file": "os.open('/tmp/x', os.O_CREAT | os.O_WRONLY)",
    "list a folder": "os.listdir('/')",
    "a TCP socket": "_socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)",
    "a UDP socket": "_socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)",
    "a unix socket": "_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)",
    "a socket pair": "_socket.socketpair()",
    "fork": "os.fork()",
    "vfork and exec": "os.posix_spawn('/bin/sh', ['sh', '-c', 'true'], {})",
    "exec": "os.execv('/bin/sh', ['sh'])",
    "a thread": "__import__('_thread').start_new_thread(print, ())",
    "trace the zygote": "LIBC.ptrace(16, os.getpid() - 1, 0, 0)",
    "read another's memory": "LIBC.process_vm_readv(1, 0, 0, 0, 0, 0)",
    "a signal to the zygote": "os.kill(os.getpid() - 1, 9)",
    "a signal to all": "os.kill(-1, 9)",
    "a signal to itself": "os.kill(0, 9)",
    "executable memory": "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)",
    "make memory executable": "LIBC.mprotect(0x10000, 4096, 5)",
    "memory at a fixed place": "LIBC.mmap(0x10000, 4096, 3, 0x32, -1, 0)",
    "move memory to a fixed place": "LIBC.mremap(0x10000, 4096, 4096, 3, 0x20000)",
    "move memory and keep its place": "LIBC.mremap(0x10000, 4096, 4096, 5, 0)",
    "shared memory": "LIBC.mmap(0, 4096, 3, 0x21, -1, 0)",
    "memory of a file": "LIBC.mmap(0, 4096, 3, 0x02, 0, 0)",
    "an anonymous file": "LIBC.memfd_create(b'x', 0)",
    "copy a descriptor": "os.dup(0)",
    "a pipe": "os.pipe()",
    "look at a descriptor": "os.fstat(0)",
    "turn blocking off": "os.set_blocking(0, False)",
    "accept from another number": "_socket.socket(1, 5, 0, 0)._accept()",
    "send descriptors": "_socket.socket(1, 5, 0, 0).sendmsg([b'x'], [(1, 1, b'\\0\\0\\0\\0')])",
    "take descriptors": "_socket.socket(1, 5, 0, 0).recvmsg(1, 64)",
    "a new user namespace": "LIBC.unshare(0x10000000)",
    "a new network namespace": "LIBC.unshare(0x40000000)",
    "join a namespace": "LIBC.setns(0, 0)",
    "mount": "LIBC.mount(b'none', b'/', b'tmpfs', 0, 0)",
    "another root": "os.chroot('/')",
    "raise a limit": "__import__('resource').setrlimit(0, (-1, -1))",
    "change the user": "os.setuid(0)",
    "take capabilities": "LIBC.capset(0, 0)",
    "a handler for the CPU clock": "signal.signal(signal.SIGPROF, signal.SIG_IGN)",
    "block the CPU clock": "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF})",
    "a timer of the wall clock": "signal.setitimer(signal.ITIMER_REAL, 1)",
    "a timer that counts ticks": "signal.setitimer(signal.ITIMER_PROF, 1)",
    "the operator's own clock": "LIBC.timer_settime(0, 0, bytes(32), 0)",
    "a timer more": "LIBC.timer_create(2, 0, bytes(8))",
    "the CPU clock of another": "__import__('time').clock_gettime(~1 << 3 | 2)",
    "sleep": "__import__('time').sleep(1)",
    "a higher priority": "os.nice(-5)",
    "other processors": "os.sched_setaffinity(0, {0})",
    "the kernel's log": "LIBC.klogctl(3, 0, 0)",
    "more privileges": "LIBC.prctl(38, 0, 0, 0, 0)",
    "a filter of its own": "LIBC.prctl(22, 2, 0, 0, 0)",
    "a core dump": "LIBC.prctl(4, 1, 0, 0, 0)",
    "a call of another architecture": "syscall(0x40000000 | 39)",
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_an_act_beside_computing_ends_the_process(hostile: Executor, act: str) -> None:
    run = hostile.run(act)

    assert run.outcome is Outcome.SANDBOX_VIOLATION, run


GONE = {
    "accept again": f"syscall({ALLOWED['accept4']}, 3, 0, 0, 0)",
    "notify the zygote again": f"syscall({ALLOWED['sendmsg']}, 4, 0, 0)",
    "close what others hold": f"syscall({ALLOWED['close']}, 5)",
}


@pytest.mark.parametrize("act", GONE.values(), ids=GONE)
def test_what_the_filter_lets_through_finds_no_descriptor(hostile: Executor, act: str) -> None:
    run = hostile.run(f"answer = say(b'%d' % {act})")

    assert run.response is not None, run
    assert int(run.response.body) == errno.EBADF


def test_the_cpu_clock_can_be_set_again_and_the_wall_clock_holds(hostile: Executor) -> None:
    """The one exception: `timer_settime` of a script's own clock, since its limit is known after lock-down only."""
    spin = "clock.start(60_000)\nwhile True: pass"

    assert hostile.run(spin, b"", cpu_ms=100, wall_ms=1_000).outcome is Outcome.TIMEOUT


def test_it_can_be_stretched_to_the_operators_maximum_and_no_further(start_executor: StartExecutor) -> None:
    run = start_executor(hostile=True, cpu_ms_max=900).run("clock.start(0)\nwhile True: pass", cpu_ms=100)

    assert run.outcome is Outcome.CPU_LIMIT
    assert 900 < run.cpu_ms < 2_000  # RLIMIT_CPU, which counts ticks, is behind
