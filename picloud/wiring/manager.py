"""picloud-manager: the control plane. It runs no script; the executor compiles what is uploaded, and nothing else."""

from collections.abc import Callable, Mapping
from typing import Any

from picloud.api import collaborators
from picloud.api.apps import manager_app
from picloud.dashboard.front import Front
from picloud.executor.client import SandboxClient
from picloud.manager.configuration import Configuration
from picloud.manager.events import Events, Subscriptions
from picloud.manager.routes import Routes
from picloud.manager.schedules import Schedules
from picloud.manager.scripts import Scripts, Versions
from picloud.manager.secrets import Secrets
from picloud.manager.settings import ScriptSettings, SettingsRules
from picloud.manager.tokens import Tokens
from picloud.manager.uploads import SourceChecker, Uploads
from picloud.manager.values import Values
from picloud.orchestrator.request import Proxies
from picloud.settings import ServerSettings
from picloud.storage.configuration import ConfigurationTable
from picloud.storage.subscriptions import SubscriptionTable
from picloud.wiring.edge import Callers, edge
from picloud.wiring.ground import Ground


def resources(
    settings: ServerSettings, ground: Ground, callers: Callers, checker: SourceChecker
) -> collaborators.Manager:
    """What the manager's resources work with."""
    tables, changed = ground.tables, ground.generation.bump

    def deployed() -> None:
        changed()
        ground.bell.ring()  # somebody may be subscribed to that, or a schedule came along

    rules = SettingsRules(settings.policy)
    return collaborators.Manager(
        front=Front(callers.known, tables.scripts, tables.invocations, Proxies(settings.trusted_proxies)),
        tokens=Tokens(tables.tokens, changed),
        scripts=Scripts(tables.scripts, rules, deployed),
        uploads=Uploads(tables.scripts, checker, rules, deployed),
        configuration=Configuration(ConfigurationTable(ground.pool), checker, rules, deployed),
        versions=Versions(tables.scripts),
        routes=Routes(tables.routes, changed),
        events=Events(ground.events, ground.bell.ring, ground.retention.wrote),
        subscriptions=Subscriptions(SubscriptionTable(ground.pool)),
        schedules=Schedules(tables.schedules, ground.bell.ring),
        secrets=Secrets(tables.secrets, ground.keys, changed),
        settings=ScriptSettings(tables.scripts, rules, changed),
        values=Values(tables.values),
    )


class Manager:
    """Everything that one worker of the manager is made of: see `picloud.server.Service`."""

    def __init__(self, settings: ServerSettings) -> None:
        self._ground = ground = Ground(settings, "manager")
        self._callers = callers = Callers(ground)
        compiler = SandboxClient(settings.executor_socket, queue_ms=settings.queue_ms)
        self.wsgi: Callable[..., Any] = manager_app(
            edge(settings, ground, callers, compiler, settings.threads), resources(settings, ground, callers, compiler)
        )

    def start(self) -> None:
        """Open what this worker holds."""
        self._ground.start()
        self._callers.start()

    def refuse(self, _asked: Mapping[str, str]) -> tuple[int, str, dict[str, str]] | None:
        """Nothing: no flood of a script's requests comes here."""
        return None

    def begin_stop(self) -> None:
        """Nothing here lasts for as long as a client likes."""

    def stop(self) -> None:
        """Write what is left, close what is open."""
        self._callers.stop()
        self._ground.stop()


def build(settings: ServerSettings) -> Manager:
    """The manager alone."""
    return Manager(settings)
