"""Which layers hold the sandboxes, as something to show: `/readyz`, `picloud doctor`, the start log.

Owns: the report's form, here and in run_dir/protections.json. Applies nothing: the layers are `sandbox.lockdown`'s.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from picloud.errors import PlatformError
from picloud.executor import launch
from picloud.model import DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class Protection:
    """One layer and what became of it."""

    name: str
    active: bool
    required: bool  # the executor refuses to serve without it
    reason: str  # why it is not active; what it holds if it is


def parse(line: str) -> Protection | None:
    """One line of an untrusted process's report; None if it is none."""
    words = line.rstrip("\n").split("\t")
    if len(words) != 5 or words[0] != "layer":
        return None
    return Protection(words[1], words[2] == "1", words[3] == "1", words[4])


def sufficient(protections: list[Protection]) -> bool:
    """Whether every required layer is there; not without any report."""
    return bool(protections) and all(item.active for item in protections if item.required)


def inspect(sandbox_user: str = "") -> list[Protection]:
    """What this machine gives: applies every layer to a throwaway process; PlatformError if that says nothing."""
    started = launch.start("probe", launch.identity(sandbox_user), DEFAULT_POLICY.maxima)
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
    scratch.touch(mode=0o600)
    scratch.write_bytes(msgspec.json.format(msgspec.json.encode(protections), indent=2))
    scratch.replace(path)


def read(path: Path) -> list[Protection]:
    """The report of the executor that serves now; [] if none does."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Protection])
    except (FileNotFoundError, msgspec.DecodeError):
        return []
