"""picloud-orchestrator: HTTP on top of the engine. The ingress, and the API of what ran, runs and is to run."""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

from picloud.api import collaborators, problems
from picloud.api.apps import orchestrator_app
from picloud.orchestrator.access import Door
from picloud.orchestrator.deliveries import Deliveries
from picloud.orchestrator.dry_run import DryRuns
from picloud.orchestrator.enqueue import Enqueuing
from picloud.orchestrator.feed import Feed
from picloud.orchestrator.ingress import Ingress
from picloud.orchestrator.request import Proxies
from picloud.orchestrator.resources.invoke import Runs
from picloud.orchestrator.routes import Routes
from picloud.settings import INVOCATION_CONNECTIONS, ServerSettings
from picloud.storage.changes import Changed
from picloud.storage.logs import listen
from picloud.storage.unit_of_work import UnitsOfWork
from picloud.wiring.edge import Callers, edge
from picloud.wiring.engine import Engine, Share
from picloud.wiring.ground import CONNECTION_WAIT_MS, Forgets, Ground


class Orchestrator:
    """Everything that one worker of the orchestrator is made of: see `picloud.server.Service`."""

    def __init__(self, settings: ServerSettings) -> None:
        followers_max = _followers_max(settings.threads)
        threads = settings.threads - followers_max
        self.ground = ground = Ground(settings)
        self.callers = Callers(ground)
        self._engine = engine = Engine(settings, ground, Share(threads, streams=_streams_max(settings.threads)))
        self.executor = engine.executor
        self.edge = edge(settings, ground, self.callers, engine.executor, threads)
        self._routes = Routes(ground.tables.routes, ground.generation)
        self._followers = Feed(partial(listen, settings.database_url), followers_max=followers_max)
        ground.tell(Forgets(self._forget, self._forget_all))  # after the callers: followers look at their tokens again
        units = UnitsOfWork(
            settings.database_url,
            size=INVOCATION_CONNECTIONS,
            wait_ms=CONNECTION_WAIT_MS,
            ring=ground.bell.ring,
            meter=ground.metrics.meter("invocations", INVOCATION_CONNECTIONS),
        )
        ground.at_stop.callback(units.close)
        self._dispatcher = engine.dispatcher(units)
        self._runs = Runs(self._dispatcher, DryRuns(self._dispatcher, units, engine.calls, problems.status_of))
        self._proxies = Proxies(settings.trusted_proxies)
        self._enqueuing = Enqueuing(ground.tables.jobs)
        door = Door(self.callers.known)
        deliveries = Deliveries(engine.secrets, ground.tables.jobs)
        self._ingress = Ingress(
            engine.router, self._routes, door, self._dispatcher, self._enqueuing, deliveries, self._proxies
        )

    @cached_property
    def wsgi(self) -> Callable[..., Any]:
        """The application of an orchestrator alone."""
        return orchestrator_app(self.edge, self.resources())

    def start(self) -> None:
        """Open what this worker holds."""
        self.ground.start()
        self._engine.start()
        self.callers.start()

    def refuse(self, asked: Mapping[str, str]) -> tuple[int, str, dict[str, str]] | None:
        """Turn a flood away."""
        refusal = self._ingress.refusal(asked)
        if refusal is None:
            return None
        run, headers = refusal
        return problems.status_of(run.outcome), run.detail, headers

    def begin_stop(self) -> None:
        """End what lasts for as long as a client likes."""
        self._followers.stop()

    def stop(self) -> None:
        """Answer and record what still runs, write what is left, close what is open."""
        self._engine.abort(self._dispatcher)
        self.callers.stop()
        self._engine.stop()
        self.ground.stop()

    def resources(self) -> collaborators.Orchestrator:
        """What the orchestrator's resources work with."""
        tables = self.ground.tables
        return collaborators.Orchestrator(
            ingress=self._ingress,
            hosts=self._routes,
            resolver=self._engine.router,
            runs=self._runs,
            every_version=tables.scripts,
            enqueuing=self._enqueuing,
            proxies=self._proxies,
            jobs=tables.jobs,
            dead_letters=tables.dead_letters,
            secret_values=self._engine.secrets,
            records=tables.invocations,
            lines=tables.lines,
            followers=self._followers,
            known_tokens=self.callers.known,
        )

    def _forget(self, what: str, _name: str) -> None:
        """Something changed, here or on another node."""
        if what == Changed.ROUTES:
            self._routes.clear()
        elif what == Changed.TOKENS:
            self._followers.wake()  # one of them may have lost its token

    def _forget_all(self) -> None:
        self._routes.clear()
        self._followers.wake()


def _followers_max(threads: int) -> int:
    """How many of a worker's threads followers of the logs may hold: an eighth, and never the last one."""
    return min(max(1, threads // 8), threads - 1)


def _streams_max(threads: int) -> int:
    """How many of a worker's threads answers that are made while they are sent may hold: half of them."""
    return max(1, threads // 2)


def build(settings: ServerSettings) -> Orchestrator:
    """The orchestrator alone."""
    return Orchestrator(settings)
