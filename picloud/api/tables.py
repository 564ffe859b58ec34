"""What a route table is made of: a path, the resource behind it, and what that works with.

The tables themselves are in `apps`, on one screen. What stands in them is known without anything being built, so a
service can tell of paths that only another one serves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar, TypeVarTuple

Our = TypeVar("Our")
Parts = TypeVarTuple("Parts")


class Role(StrEnum):
    """Which service it is; its process is called so."""

    MANAGER = "picloud-manager"
    ORCHESTRATOR = "picloud-orchestrator"


@dataclass(frozen=True, slots=True)
class Row(Generic[Our]):
    """One path. ``Our`` is what the resources of its table work with."""

    path: str
    kind: Callable[..., object]  # the resource's class: it says what it declares
    make: Callable[[Our], Any]


Table = Sequence[Row[Our]]


def at(path: str, kind: Callable[[*Parts], object], parts: Callable[[Our], tuple[*Parts]]) -> Row[Our]:
    """A row whose resource is made of these parts."""
    return Row(path, kind, lambda our: kind(*parts(our)))


def made(table: Table[Our], our: Our) -> list[tuple[str, Any]]:
    """Each path with its resource."""
    return [(row.path, row.make(our)) for row in table]
