"""What is to be counted of invocations: the one seam between those that run them and who counts.

Knows nothing of how it is counted (`picloud.metrics`). Who counts never waits, for nobody.
"""

from collections.abc import Sequence
from typing import Protocol

from picloud.errors import PicloudError
from picloud.model import Invocation


class Metrics(Protocol):
    """What counts."""

    def ended(self, invocation: Invocation) -> None:
        """One came to its end, or was refused with a record; told by `journal`."""

    def called(self, name: str) -> None:
        """A script makes a host call that there is; told by `bindings.counted`."""

    def refused(self, refusal: PicloudError) -> None:
        """Somebody found no place, with a record or without; told by `admission`."""

    def late(self, seconds: Sequence[float]) -> None:
        """Jobs of schedules were made, each so long after its due time; told by `schedules`."""


class Nobody:
    """Counts nothing: for dry runs, and where no server runs."""

    def ended(self, invocation: Invocation) -> None:
        """Nothing."""

    def called(self, name: str) -> None:
        """Nothing."""

    def refused(self, refusal: PicloudError) -> None:
        """Nothing."""

    def late(self, seconds: Sequence[float]) -> None:
        """Nothing."""


NOBODY = Nobody()
