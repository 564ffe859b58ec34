"""Releases: each in a folder of its own below /opt/picloud, one of them in use.

Owns: the folders and the links `current` and `previous`. A release is whole once its mark is there: one that was broken
off while it was made has none, and is never used.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from picloud.errors import PlatformError
from picloud.installation.machine import Machine
from picloud.installation.places import CURRENT, MARK, PREVIOUS, RELEASES


class Release:
    """One that is installed."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.name = name
        self.folder = RELEASES / name
        self._machine = machine

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Release) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def is_whole(self) -> bool:
        """Whether it was made to the end."""
        return self._machine.has(self.folder / MARK)

    @property
    def version(self) -> str:
        """PiCloud's."""
        mark: Mapping[str, str] = json.loads(self._machine.text(self.folder / MARK) or "{}")
        return mark.get("version", "?")

    def program(self, name: str) -> str:
        """The path of one of its programs."""
        return str(self.folder / "bin" / name)

    def shipped(self) -> Path:
        """The folder of what it brings for other programs."""
        return self._machine.path(self.folder / "share/picloud")


def mine(machine: Machine) -> Release | None:
    """The release that this program is of; None if it was not made by `make install`."""
    folder = Path(sys.prefix).resolve()
    release = Release(machine, folder.name)
    return release if folder == release.folder and release.is_whole else None


def led_to(machine: Machine, link: Path) -> Release | None:
    """The release that a link leads to, if it is whole."""
    path = machine.path(link)
    if not path.is_symlink():
        return None
    release = Release(machine, path.readlink().name)
    return release if release.is_whole else None


def switch(machine: Machine, wanted: Release) -> None:
    """Use another release from now on; the one that was in use becomes the previous one."""
    before = led_to(machine, CURRENT)
    if before and before != wanted:
        machine.link(PREVIOUS, f"releases/{before.name}")
    machine.link(CURRENT, f"releases/{wanted.name}")


def prune(machine: Machine) -> list[str]:
    """The names of releases that are neither in use nor the previous one, nor this program's."""
    kept = {release.name for release in (led_to(machine, CURRENT), led_to(machine, PREVIOUS), mine(machine)) if release}
    folder = machine.path(RELEASES)
    return sorted(path.name for path in folder.iterdir() if path.name not in kept) if folder.is_dir() else []


def previous(machine: Machine) -> Release:
    """The one to go back to; PlatformError."""
    found = led_to(machine, PREVIOUS)
    if found is None:
        raise PlatformError("there is no earlier release to go back to: 'make install' in its checkout makes it again")
    return found
