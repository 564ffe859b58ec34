"""What a step of an installation is: a generator that looks at the machine and yields what is to change.

A change is made before the step is asked for the next one. A check makes none, so a step goes on with what it sees.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from picloud.installation.machine import Machine
from picloud.installation.releases import Release


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between what is and what should be."""

    what: str  # is done about it, as one tells somebody to
    make: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Note:
    """What the operator should know, and nothing changes."""

    text: str


@dataclass(frozen=True, slots=True)
class Order:
    """What is installed, and how."""

    release: Release | None  # None: a checkout, which can only be looked at
    shipped: Path  # folder of what it brings for other programs: `systemd` and `config`
    site: str  # the name that browsers know it by; empty: none yet
    tune: bool | None  # whether PostgreSQL is to be tuned; None: that is not said
    ask_to_tune: Callable[[], bool]  # asks whoever is there, if anybody is
    show: Callable[[str], None]  # a secret, once

    def text(self, name: str) -> str:
        """A file of those."""
        return (self.shipped / name).read_text(encoding="utf-8")


News = Iterator[Change | Note]
Step = Callable[[Machine, Order], News]


def replaced(machine: Machine, name: Path, text: str, mode: int = 0o644) -> News:
    """A file has this text."""
    if machine.text(name) != text:
        word = "replace" if machine.has(name) else "write"
        yield Change(f"{word} {name}", lambda: machine.write(name, text, mode))
