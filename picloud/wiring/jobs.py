"""Jobs on top of the engine: what the dispatcher is made of.

Owns: construction, as all of this package. What claims jobs and runs them is chosen in `loop`, and nowhere else.
"""

import logging
import socket
from collections.abc import Callable
from typing import Protocol

from picloud.errors import DatabaseUnavailable, PicloudError
from picloud.manager import schedule_config
from picloud.manager.schedule_config import ConfiguredSchedules
from picloud.orchestrator.bell import Bell
from picloud.orchestrator.clock import Clock
from picloud.orchestrator.jobs import JobRunner
from picloud.orchestrator.loop import Loop as JobLoop
from picloud.orchestrator.schedules import Schedules
from picloud.settings import ServerSettings
from picloud.storage.claims import Claims
from picloud.storage.jobs import NEWS
from picloud.storage.listener import Listener
from picloud.storage.unit_of_work import UnitsOfWork
from picloud.wiring.engine import Engine, Share
from picloud.wiring.ground import CONNECTION_WAIT_MS, Ground

_log = logging.getLogger(__name__)


class Loop(Protocol):
    """What claims jobs and runs them."""

    def run(self) -> None:
        """Until `stop`, in a thread that it has for itself.

        It sleeps on the clock, which is rung when there may be something to do, and when a database that was away is
        back. Nothing that the database does ends it.
        """

    def stop(self) -> None:
        """Claim nothing more. From another thread."""

    def close(self) -> None:
        """Wait until no job runs any more."""


LoopMaker = Callable[[ServerSettings, Ground, Engine, Clock], Loop]
Applier = Callable[[ServerSettings, Ground], Callable[[], None]]


class Jobs:
    """Everything that the dispatcher is made of."""

    def __init__(self, settings: ServerSettings, make_loop: LoopMaker, declared: Applier) -> None:
        at_once = settings.jobs_concurrency
        self._ground = ground = Ground(settings, "dispatcher")
        # The loop keeps to its bound: nothing here is refused for want of threads.
        self._engine = Engine(settings, ground, Share(threads=2 * at_once, streams=at_once))
        self._clock = Clock()
        self._news = Listener(
            settings.database_url,
            NEWS,
            on_message=lambda _: self._clock.ring(),
            on_listening=self._clock.ring,  # what was sent while nobody listened is to be found
            on_lost=lambda _: None,  # the ground's own says so
        )
        self._apply = declared(settings, ground)
        self._reload = Bell(self._apply_declared, "reload")
        self._loop = make_loop(settings, ground, self._engine, self._clock)

    def start(self) -> None:
        """Open what this process holds; and have what the configuration declares applied."""
        self._ground.start()
        self._engine.start()
        self._news.start()
        self._reload.start()

    def run(self) -> None:
        """Run jobs until `begin_stop`, and then until those that run have ended."""
        self._loop.run()
        self._loop.close()

    def reload(self) -> None:
        """Have what the configuration declares applied, soon; never waits."""
        self._reload.ring()

    def begin_stop(self) -> None:
        """Claim nothing more."""
        self._loop.stop()

    def abort(self) -> None:
        """End the jobs that run, each as executor-lost; they run again elsewhere, or later."""
        self._engine.abort()

    def stop(self) -> None:
        """Write what is left, close what is open."""
        self._news.stop()
        self._reload.stop()
        self._engine.stop()
        self._ground.stop()

    def _apply_declared(self) -> None:
        try:
            self._apply()
        except DatabaseUnavailable:
            raise
        except PicloudError as error:  # what was declared before stands
            _log.error("the configuration was not applied: %s", error)


def loop(settings: ServerSettings, ground: Ground, engine: Engine, clock: Clock) -> Loop:
    """What claims jobs and runs them."""
    at_once = settings.jobs_concurrency
    # It has no connections of its own: a job runs in the transaction of its claim.
    units = UnitsOfWork(settings.database_url, size=1, wait_ms=CONNECTION_WAIT_MS, ring=ground.bell.ring)
    meter = ground.metrics.meter("jobs", at_once)
    claims = Claims(units, settings.database_url, size=at_once, node=socket.gethostname(), meter=meter)
    ground.at_stop.callback(claims.close)
    runner = JobRunner(engine.dispatcher(units), engine.router, engine.calls, engine.journal)
    return JobLoop(claims, Schedules(ground.slots, ground.metrics), runner, clock, concurrency=at_once)


def declared(settings: ServerSettings, ground: Ground) -> Callable[[], None]:
    """What has the database hold what the configuration file declares: at the start, and whenever it is read again.

    DatabaseUnavailable: it is tried again. Any other PicloudError is logged, and nothing of it is applied.
    """
    return ConfiguredSchedules(settings.config, ground.tables.schedules, ground.bell.ring).apply


def build(settings: ServerSettings) -> Jobs:
    """A dispatcher; ConfigurationError, also for what the configuration file declares."""
    schedule_config.read(settings.config)
    return Jobs(settings, loop, declared)
