"""The files of systemd's units: which there are, and that they are those of a release."""

from collections.abc import Iterator
from pathlib import Path

from picloud.installation.machine import Machine
from picloud.installation.places import UNITS
from picloud.installation.steps import Change

SERVER = "picloud.service"
BESIDE = ("picloud-executor.service", "picloud-dispatcher.service")
SPLIT = ("picloud-manager.service", "picloud-orchestrator.service")
_KINDS = ("service", "socket", "timer", "target", "slice")


def unit_files(folder: Path) -> list[Path]:
    """PiCloud's units in a folder."""
    return sorted(path for kind in _KINDS for path in folder.glob(f"picloud*.{kind}"))


def placed(machine: Machine, shipped: Path) -> Iterator[Change]:
    """systemd has the units that are shipped, and no other of that name."""
    wanted = {path.name: path.read_text(encoding="utf-8") for path in unit_files(shipped / "systemd")}
    there = {path.name: path.read_text(encoding="utf-8") for path in unit_files(machine.path(UNITS))}
    new = {name: text for name, text in wanted.items() if there.get(name) != text}
    gone = sorted(there.keys() - wanted.keys())
    if not new and not gone:
        return

    def make() -> None:
        for name, text in new.items():
            machine.write(UNITS / name, text)
        for name in gone:
            machine.remove(UNITS / name)
        machine.do("systemctl", "daemon-reload")

    names = [*new, *(f"{name} (away)" for name in gone)]
    yield Change(f"put into {UNITS}: {', '.join(names)}", make)
