"""Which layers hold the sandboxes, as something to show: `/readyz`, `picloud doctor`, the start log.

Owns: the report's form, here and in the file `protections.json`. Applies nothing: the layers are `sandbox.lockdown`'s.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from picloud.errors import PlatformError
from picloud.executor import launch
from picloud.settings import ServerSettings

_CONTAINER = "in a container, use a seccomp profile that lets it through"
_NAMESPACES = (
    "start as root, or allow user namespaces: sysctl user.max_user_namespaces above 0,"
    " kernel.unprivileged_userns_clone=1 on older Debian, kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu;"
    " in a container its seccomp profile decides"
)
_ADVICE = {
    "bounding-set": _NAMESPACES,
    "capabilities": f"the system call capset must work; {_CONTAINER}",
    "init": f"PR_SET_PDEATHSIG must work; {_CONTAINER}",
    "kill": f"a process must be able to kill its children; {_CONTAINER}",
    "landlock": "run Linux 5.13 or later with `landlock` among the kernel's lsm=",
    "no-new-privileges": f"PR_SET_NO_NEW_PRIVS must work; {_CONTAINER}",
    "parent-death": f"PR_SET_PDEATHSIG must work; {_CONTAINER}",
    "privileges": "start as an ordinary user, or as a root with CAP_SETUID and CAP_SETGID",
    "rlimits": f"the system call prlimit must work; {_CONTAINER}",
    "sandbox-limits": f"the system call prlimit must work; {_CONTAINER}",
    "seccomp": f"run a kernel with CONFIG_SECCOMP_FILTER on x86_64 or aarch64; {_CONTAINER}",
}


@dataclass(frozen=True, slots=True)
class Protection:
    """One layer and what became of it."""

    name: str
    active: bool
    required: bool  # the executor refuses to serve without it
    reason: str  # why it is not active; what it holds if it is

    @property
    def advice(self) -> str:
        """What to do about it if it is not active."""
        return _NAMESPACES if self.name.endswith("-namespace") else _ADVICE.get(self.name, "")


def parse(line: str) -> Protection | None:
    """One line of an untrusted process's report; None if it is none."""
    words = line.rstrip("\n").split("\t")
    if len(words) != 5 or words[0] != "layer":
        return None
    return Protection(words[1], words[2] == "1", words[3] == "1", words[4])


def sufficient(protections: list[Protection]) -> bool:
    """Whether every required layer is there; not without any report."""
    return bool(protections) and all(item.active for item in protections if item.required)


def inspect(settings: ServerSettings) -> list[Protection]:
    """What this machine gives: applies every layer, as `settings` have it, to a throwaway process.

    PlatformError if that says nothing.
    """
    who = launch.identity(settings.sandbox_user)
    share = launch.Share(settings.pool_spare, settings.pool_max, settings.parked_max, settings.reserve)
    started = launch.start("probe", who, settings.policy.maxima, share)
    try:
        with os.fdopen(started.status, encoding="utf-8") as status, os.fdopen(started.log, encoding="utf-8") as log:
            found = [item for line in status if (item := parse(line))]
            said = log.read().strip()
    finally:
        os.waitpid(started.pid, 0)
    if not found:
        raise PlatformError(f"the probe of the sandbox's protections failed: {said[-500:] or 'it said nothing'}")
    return found


def write(path: Path, protections: list[Protection]) -> None:
    """Leave the report for others, whole or not at all."""
    scratch = path.with_suffix(".new")
    scratch.write_bytes(msgspec.json.format(msgspec.json.encode(protections), indent=2))
    scratch.chmod(0o644)  # its folder says who may read it
    scratch.replace(path)


def read(path: Path) -> list[Protection]:
    """The report of the executor that serves now; [] if none does."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Protection])
    except (FileNotFoundError, msgspec.DecodeError):
        return []
