"""What each layer stops alone, with the others off; every attempt in a process of its own."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sandbox
from sandbox import lockdown

ROOT = Path(sandbox.__file__).parents[1]
HEAD = """
import ctypes, errno, os, socket, sys
from sandbox import clock, limits, lockdown
def told(attempt):
    try:
        attempt()
    except MemoryError:
        return "MemoryError"
    except OSError as error:
        return errno.errorcode[error.errno]
    return "allowed"
"""

as_root = pytest.mark.root  # only root can give up being root


def outcome(body: str) -> str:
    """Standard output of HEAD and ``body`` in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + body], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
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


USER_NAMESPACE = "lockdown._unshare(0x10000000)"
OWN = USER_NAMESPACE if os.geteuid() else "0"  # root needs none for the others
ALONE = {  # layer and act → what sets it up, the act, what becomes of it; with no layer at all each act is allowed
    "landlock: read a file": ("no_files()", "open('/etc/passwd').read()", "EACCES"),
    "landlock: list a folder": ("no_files()", "os.listdir('/')", "EACCES"),
    "landlock: make a file": ("no_files()", "os.open('/tmp', os.O_TMPFILE | os.O_WRONLY)", "EACCES"),
    "rlimits: grow a file": ("limits.limit_zygote(64 << 20, 4)", "os.write(os.memfd_create('x'), b'x')", "EFBIG"),
    "rlimits: open more": ("limits.limit_zygote(64 << 20, 4)", "[os.dup(0) for _ in range(40)]", "EMFILE"),
    "rlimits: memory": ("limits.limit_zygote(16 << 20, 4)", "bytearray(256 << 20)", "MemoryError"),
    "the clock: CPU": ("limits.limit_child(2)", "spin(2.5)", "killed by 27"),
    "seccomp: read a file": ("confine()", "open('/etc/passwd').read()", "killed by 31"),
    "seccomp: a socket": ("confine()", "socket.socket()", "killed by 31"),
    "seccomp: fork": ("confine()", "os.fork() or os._exit(0)", "killed by 31"),
    "seccomp: exec": ("confine()", "os.execv('/bin/true', ['true'])", "killed by 31"),
    "seccomp: a signal": ("confine()", "os.kill(os.getpid(), 0)", "killed by 31"),
    "network namespace: a server here": (f"{OWN}; lockdown._unshare(0x40000000)", "call_server()", "ENETUNREACH"),
    "network namespace: a name": (f"{OWN}; lockdown._unshare(0x40000000)", "call_name()", "ECONNREFUSED"),
    "pid namespace: a signal": (f"{OWN}; lockdown._unshare(0x20000000)", "signal_from_a_child()", "ESRCH"),
}
ALONE_AS_ROOT = {
    "user: a signal": ("lockdown._become(65281, 65281)", "os.kill(1, 0)", "EPERM"),
    "user: a file of root's": ("lockdown._become(65281, 65281)", "open('/etc/shadow').read()", "EACCES"),
    "user: become root": ("lockdown._become(65281, 65281)", "os.setresuid(0, 0, 0)", "EPERM"),
    "user and rlimits: fork": (
        "lockdown._become(65281, 65281); limits.limit_child(5)", "os.fork() or os._exit(0)", "EAGAIN",
    ),
    "user namespace: the host's name": (USER_NAMESPACE, "socket.sethostname(socket.gethostname())", "EPERM"),
    "capabilities: another user": ("drop()", "os.setresuid(1, 1, 1)", "EPERM"),
    "capabilities: another root": ("drop()", "os.chroot('/tmp')", "EPERM"),
}  # fmt: skip


def ended(set_up: str, act: str) -> str:
    """What became of one act in a fresh interpreter: allowed, an errno's name, or what killed it."""
    source = f"{HEAD}\n{ACTS}\n{set_up}\nprint(told(lambda: {act}), flush=True)"
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    if done.returncode < 0:
        return f"killed by {-done.returncode}"
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() or "allowed"  # nothing, where it became another program


ACTS = """
import time
from sandbox import seccomp

server = socket.create_server(("127.0.0.1", 0))
named = socket.socket(socket.AF_UNIX)
named.bind("")
named.listen()
libc, filter_ = ctypes.CDLL(None, use_errno=True), seccomp.Filter()
outer = os.getpid()

def no_files():
    lockdown._no_new_privileges()
    lockdown._landlock()

def confine():
    if os.geteuid():
        lockdown._no_new_privileges()
    filter_.install()

def drop():
    lockdown._empty_bounding_set()
    lockdown._drop_capabilities()

def spin(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass

def call_server():
    socket.socket().connect(server.getsockname())

def call_name():
    socket.socket(socket.AF_UNIX).connect(named.getsockname())

def signal_from_a_child():
    child = os.fork()
    if child == 0:
        try:
            os.kill(outer, 0)
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    number = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if number:
        raise OSError(number, "no such process")

def find_queue(key):
    if libc.msgget(key, 0) < 0:
        raise OSError(ctypes.get_errno(), "no such queue")
"""


@pytest.mark.parametrize(("set_up", "act", "refusal"), ALONE.values(), ids=ALONE)
def test_a_layer_alone_stops_what_is_allowed_without_it(set_up: str, act: str, refusal: str) -> None:
    assert ended("pass", act) == "allowed"
    assert ended(set_up, act) == refusal


@as_root
@pytest.mark.parametrize(("set_up", "act", "refusal"), ALONE_AS_ROOT.values(), ids=ALONE_AS_ROOT)
def test_a_layer_of_roots_alone_stops_what_root_may(set_up: str, act: str, refusal: str) -> None:
    assert ended("pass", act) == "allowed"
    assert ended(set_up, act) == refusal


def test_the_ipc_namespace_alone_hides_what_others_share() -> None:
    libc, key = ctypes.CDLL(None), os.getpid() | 0x5000_0000
    queue = libc.msgget(key, 0o1600)
    assert queue >= 0
    try:
        assert ended("pass", f"find_queue({key})") == "allowed"
        assert ended(f"{OWN}; lockdown._unshare(0x08000000)", f"find_queue({key})") == "ENOENT"
    finally:
        libc.msgctl(queue, 0, None)  # IPC_RMID


LINKED = [it for it in lockdown._NAMESPACES if it[0] != "pid-namespace"]  # which is of the children only: above


@pytest.mark.parametrize(("name", "flag"), LINKED, ids=dict(LINKED))
def test_each_namespace_is_one_of_its_own(name: str, flag: int) -> None:
    kinds = {"network-namespace": "net", "mount-namespace": "mnt"}
    link = f"os.stat('/proc/self/ns/{kinds.get(name, name.removesuffix('-namespace'))}').st_ino"
    first = OWN if name != "user-namespace" else "0"

    assert outcome(f"{first}; before = {link}; lockdown._unshare({flag}); print(before != {link})") == "True"


@as_root
def test_the_bounding_set_is_empty() -> None:
    body = """
lockdown._empty_bounding_set(); lockdown._drop_capabilities()
print(open("/proc/self/status").read().split("CapBnd:")[1].split()[0])
"""
    assert outcome(body) == "0000000000000000"


def test_sandboxes_never_stay_root() -> None:
    body = "import os; os.geteuid = os.getuid = lambda: 0; print(told(lambda: lockdown._become(-1, -1)))"
    with pytest.raises(AssertionError, match="the sandboxes would run as root"):
        outcome(body.replace("told(lambda: lockdown._become(-1, -1))", "lockdown._become(-1, -1)"))


def test_a_namespace_has_no_network() -> None:
    assert outcome(f"{OWN}; lockdown._unshare(0x40000000); print(*socket.if_nameindex())").startswith("(1, 'lo')")


def test_cpu_beyond_the_clock_ends_the_process() -> None:
    source = HEAD + "limits.limit_child(5); clock.start(50)\nwhile True: pass"
    ended = subprocess.run([sys.executable, "-c", source], cwd=ROOT, check=False, timeout=100)

    assert ended.returncode == -27  # SIGPROF
