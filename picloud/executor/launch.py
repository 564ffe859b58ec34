"""Start an untrusted process with nothing of ours in it.

Owns: how `sandbox.zygote` and `sandbox.probe` are exec'd, and as whom. Knows nothing of what they do afterwards.
A fork of a trusted process would carry its memory, the database's password included; an exec carries what is listed
here: an empty environment, isolated mode, a few descriptors and whole numbers.
"""

import importlib.util
import os
import pwd
import sys
from dataclasses import dataclass
from pathlib import Path

from picloud.errors import ConfigurationError
from picloud.model import Limits

DEFAULT_USER = "picloud-sandbox"
DEFAULT_UID = 65281  # far from people, services and the containers' ranges
_STAY = -1

_BOOT = "import sys; sys.path += sys.argv[1].split(':'); from sandbox.{} import main; sys.exit(main(sys.argv[2:]))"
_PACKAGES = ("sandbox", "lupa", "prctl")


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom sandboxes run as."""

    uid: int  # -1: whoever starts us
    gid: int


@dataclass(frozen=True, slots=True)
class Started:
    """A process that was started; the caller closes both descriptors and reaps the pid."""

    pid: int
    status: int  # reads its report; its end means that it is ready or dead
    log: int  # reads what it has to say to people


def identity(sandbox_user: str) -> Identity:
    """Whom to become: nobody else for an ordinary user; as root the named user, `picloud-sandbox` or uid 65281.

    ConfigurationError if the named user does not exist or is root.
    """
    if os.geteuid() != 0:
        return Identity(_STAY, _STAY)
    try:
        account = pwd.getpwnam(sandbox_user or DEFAULT_USER)
    except KeyError:
        if sandbox_user:
            raise ConfigurationError(f"PICLOUD_SANDBOX_USER={sandbox_user!r}: there is no such user") from None
        return Identity(DEFAULT_UID, DEFAULT_UID)
    if 0 in (account.pw_uid, account.pw_gid):
        raise ConfigurationError(f"PICLOUD_SANDBOX_USER={sandbox_user!r}: sandboxes never run as root or in its group")
    return Identity(account.pw_uid, account.pw_gid)


@dataclass(frozen=True, slots=True)
class Share:
    """How many sandboxes a zygote keeps, and where their callers come."""

    spare: int = 1  # that wait for work
    most: int = 1  # alive, beside those that are parked
    parked: int = 0  # whose scripts wait for the world outside
    reserved: int = 0  # for scripts that others invoke, beside all of these
    listeners: tuple[int, int, int] | None = None  # descriptors: of sandboxes, of parked ones, of the reserve


def start(module: str, who: Identity, maxima: Limits, share: Share = Share()) -> Started:
    """Exec ``module`` of the untrusted side in a session of its own; OSError if that fails.

    No sandbox of it ever has more memory and CPU than ``maxima`` say, whatever its script's limits are.
    """
    status_reader, status_writer = os.pipe()
    log_reader, log_writer = os.pipe()
    try:
        pid = _spawn(module, _numbers(who, maxima, share), status_writer, log_writer, share.listeners or ())
    except BaseException:
        os.close(status_reader)
        os.close(log_reader)
        raise
    finally:
        os.close(status_writer)
        os.close(log_writer)
    return Started(pid, status_reader, log_reader)


def _numbers(who: Identity, maxima: Limits, share: Share) -> dict[str, int]:
    listener, parking, reserve = (4, 5, 6) if share.listeners else (-1, -1, -1)
    return {
        "cpu_seconds_max": maxima.cpu_ms // 1000 + 1,  # beyond what a script's own clock allows
        "gid": who.gid,
        "listener": listener,
        "memory_bytes_max": maxima.memory_bytes,
        "most": share.most,
        "parked": share.parked,
        "parking": parking,
        "reserve": reserve,
        "reserved": share.reserved,
        "spare": share.spare,
        "status": 3,
        "supervisor": os.getpid(),
        "uid": who.uid,
    }


def _spawn(module: str, numbers: dict[str, int], status: int, log: int, listeners: tuple[int, ...]) -> int:
    words = [f"{name}={value}" for name, value in numbers.items()]
    command = [sys.executable, "-I", "-S", "-c", _BOOT.format(module), ":".join(_folders()), *words]
    nowhere = os.open(os.devnull, os.O_RDWR)
    # all sources move out of the way first: the targets are small numbers that may be among them
    sources = [_high(number) for number in (nowhere, log, log, status, *listeners)]
    moves = [(os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate(sources)]
    try:
        return os.posix_spawn(sys.executable, command, {}, file_actions=moves, setsid=True, setsigmask=[])
    finally:
        for number in (nowhere, *sources):
            os.close(number)


def _high(number: int) -> int:
    from fcntl import F_DUPFD_CLOEXEC, fcntl

    return fcntl(number, F_DUPFD_CLOEXEC, 32)


def _folders() -> list[str]:
    """The folders that hold the untrusted side's packages, and no more of ours than lies beside them."""
    found = [importlib.util.find_spec(name) for name in _PACKAGES]
    missing = [name for name, spec in zip(_PACKAGES, found, strict=True) if spec is None or not spec.origin]
    if missing:
        raise ConfigurationError(f"not installed: {', '.join(missing)}; run 'pip install picloud' again")
    return list(dict.fromkeys(_folder(str(spec.origin)) for spec in found if spec))


def _folder(origin: str) -> str:
    path = Path(origin)
    return str(path.parent.parent if path.name == "__init__.py" else path.parent)
