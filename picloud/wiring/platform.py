"""All of PiCloud's HTTP in one server: an orchestrator that serves the manager's resources, too."""

from collections.abc import Callable, Mapping
from typing import Any

from picloud.api.apps import whole_app
from picloud.settings import ServerSettings
from picloud.wiring import manager
from picloud.wiring.orchestrator import Orchestrator


class Platform:
    """Everything that one worker is made of: see `picloud.server.Service`."""

    def __init__(self, settings: ServerSettings) -> None:
        self._orchestrator = both = Orchestrator(settings)
        managed = manager.resources(settings, both.ground, both.callers, both.executor)
        self.wsgi: Callable[..., Any] = whole_app(both.edge, managed, both.resources())

    def start(self) -> None:
        """Open what this worker holds."""
        self._orchestrator.start()

    def refuse(self, asked: Mapping[str, str]) -> tuple[int, str, dict[str, str]] | None:
        """Turn a flood away."""
        return self._orchestrator.refuse(asked)

    def begin_stop(self) -> None:
        """End what lasts for as long as a client likes."""
        self._orchestrator.begin_stop()

    def stop(self) -> None:
        """Answer and record what still runs, write what is left, close what is open."""
        self._orchestrator.stop()


def build(settings: ServerSettings) -> Platform:
    """All of PiCloud in one server."""
    return Platform(settings)
