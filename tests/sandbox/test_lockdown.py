"""What each layer stops alone, with the others off; every attempt in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sandbox

ROOT = Path(sandbox.__file__).parents[1]
HEAD = """
import ctypes, errno, os, socket, sys
from sandbox import limits, lockdown
def told(attempt):
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "allowed"
"""

as_root = pytest.mark.root  # only root can give up being root


def outcome(body: str) -> str:
    """Standard output of HEAD and ``body`` in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + body], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_landlock_alone_stops_files_and_tcp() -> None:
    body = """
lockdown._no_new_privileges()
if not lockdown._landlock(): sys.exit(1)
print(told(lambda: open("/etc/passwd")), told(lambda: open("/tmp/picloud-test", "w")),
      told(lambda: os.listdir("/")), told(lambda: socket.create_server(("127.0.0.1", 0))))
"""
    files, abi = "EACCES EACCES EACCES", int(outcome("print(lockdown.landlock_abi())"))
    assert outcome(body) == f"{files} {'EACCES' if abi >= 4 else 'allowed'}"  # Debian 12's own kernel has ABI 2


def test_the_childs_rlimits_alone_stop_descriptors() -> None:
    assert outcome("limits.limit_child(5); print(told(lambda: os.dup(0)), told(socket.socket))") == "EMFILE EMFILE"


@as_root
def test_rlimits_and_the_user_alone_stop_forks() -> None:
    assert outcome("lockdown._become(65281, 65281); limits.limit_child(5); print(told(os.fork))") == "EAGAIN"


@as_root
def test_the_user_alone_stops_signals_and_owned_files() -> None:
    body = "lockdown._become(65281, 65281); print(told(lambda: os.kill(1, 0)), told(lambda: open('/etc/shadow')))"
    assert outcome(body) == "EPERM EACCES"


@as_root
def test_without_capabilities_root_is_not_root() -> None:
    body = """
lockdown._empty_bounding_set(); lockdown._drop_capabilities()
print(told(lambda: os.setresuid(1, 1, 1)), told(lambda: os.chroot("/tmp")))
print(open("/proc/self/status").read().split("CapBnd:")[1].split()[0])
"""
    assert outcome(body).split() == ["EPERM", "EPERM", "0000000000000000"]


def test_a_memory_limit_is_a_memory_error() -> None:
    body = """
limits.limit_zygote(16 << 20, 4)
try:
    bytearray(256 << 20)
except MemoryError:
    print("refused")
"""
    assert outcome(body) == "refused"


def test_sandboxes_never_stay_root() -> None:
    body = "import os; os.geteuid = os.getuid = lambda: 0; print(told(lambda: lockdown._become(-1, -1)))"
    with pytest.raises(AssertionError, match="the sandboxes would run as root"):
        outcome(body.replace("told(lambda: lockdown._become(-1, -1))", "lockdown._become(-1, -1)"))


def test_a_namespace_has_no_network() -> None:
    user = "lockdown._unshare(0x10000000); " if os.geteuid() else ""
    body = f"{user}lockdown._unshare(0x40000000); print(sorted(name for _, name in socket.if_nameindex()))"
    assert outcome(body).startswith("['lo'")


def test_cpu_beyond_the_clock_ends_the_process() -> None:
    source = HEAD + "limits.start_cpu_clock(50)\nwhile True: pass"
    ended = subprocess.run([sys.executable, "-c", source], cwd=ROOT, check=False, timeout=30)

    assert ended.returncode == -27  # SIGPROF
