"""What each process of ours stands on, but the executor: the database, the node's shared memory, the word of changes.

Owns: the connections that look-ups share, and who is told of what changes. Knows nothing of what runs scripts.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from picloud.cache import Generation
from picloud.metrics.measuring import Measurements
from picloud.model import Policy
from picloud.orchestrator.bell import Bell
from picloud.orchestrator.retention import ExpiringTable, Retention
from picloud.sealing import KeyFile
from picloud.settings import ServerSettings
from picloud.storage import jobs
from picloud.storage.changes import CHANNEL, parse
from picloud.storage.dead_letters import DeadLetterTable
from picloud.storage.events import EventTable
from picloud.storage.idempotency import KeptAnswerTable
from picloud.storage.invocations import InvocationTable
from picloud.storage.job_retention import JobRetention
from picloud.storage.job_table import JobTable
from picloud.storage.listener import Listener
from picloud.storage.logs import LogTable
from picloud.storage.pool import Pool
from picloud.storage.routes import RouteTable
from picloud.storage.schedule_table import ScheduleTable
from picloud.storage.scripts import ScriptTable
from picloud.storage.secrets import SecretTable
from picloud.storage.slots import SlotTable
from picloud.storage.tokens import TokenTable
from picloud.storage.values import ValueTable

CONNECTION_WAIT_MS = 2_000
_LOOKUP_CONNECTIONS = (
    4  # of each process, for the API and for what is not cached, beside those that `picloud.storage` tells of
)


class Tables:
    """PostgreSQL, one noun each, over the connections that the API and look-ups share."""

    def __init__(self, pool: Pool, policy: Policy, ring: Callable[[], None]) -> None:
        self.scripts = ScriptTable(pool, policy)
        self.routes = RouteTable(pool)
        self.schedules = ScheduleTable(pool)
        self.tokens = TokenTable(pool)
        self.secrets = SecretTable(pool)
        self.invocations = InvocationTable(pool)
        self.lines = LogTable(pool)
        self.values = ValueTable(pool)
        self.answers = KeptAnswerTable(pool)
        self.jobs = JobTable(pool, ring)
        self.dead_letters = DeadLetterTable(pool, ring)


@dataclass(frozen=True, slots=True)
class Forgets:
    """What somebody keeps in memory of the database, and is asked to forget."""

    changed: Callable[[str, str], None]  # what, and which one: see `storage.changes`
    all: Callable[[], None]  # what changed while nobody listened is unknown


class Ground:
    """Built before fork, with nothing open but the memory that the node's processes share; started after it."""

    def __init__(self, settings: ServerSettings, role: str = "worker") -> None:
        settings.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.metrics = Measurements(settings.run_dir / "metrics", role)
        self.pool = self.connections("lookups", settings, _LOOKUP_CONNECTIONS)
        self._bell_pool = self.connections("bell", settings, 1)  # no reader can hold it up
        self.bell = Bell(partial(jobs.ring, self._bell_pool))
        self.tables = Tables(self.pool, settings.policy, self.bell.ring)
        self.generation = Generation(settings.run_dir / "generation")
        self.keys = KeyFile(settings.secret_key)
        self._listener = Listener(
            settings.database_url, CHANNEL, on_message=self._forget, on_listening=self._forget_all
        )
        self._forgetful: list[Forgets] = []
        kept = {"keep_days": settings.retention_days, "keep_rows": settings.retention_rows}
        self.events = EventTable(self.pool, **kept)
        jobs_kept = JobRetention(self.pool, **kept, dead_days=settings.dead_days)
        self.slots = SlotTable(self.pool, **kept)
        also: list[ExpiringTable] = [self.tables.values, self.tables.answers, self.events, jobs_kept, self.slots]
        self.retention = Retention(self.tables.invocations, also=also, **kept)
        self.at_stop = ExitStack()  # what others have opened beside it

    def tell(self, forgets: Forgets) -> None:
        """Have somebody hear of changes, after those who were there before; before the start."""
        self._forgetful.append(forgets)

    def connections(self, name: str, settings: ServerSettings, size: int) -> Pool:
        """A pool that is counted under a name; before the start. Whoever asks for it closes it."""
        meter = self.metrics.meter(name, size)
        return Pool(settings.database_url, size=size, wait_ms=CONNECTION_WAIT_MS, meter=meter)

    def start(self) -> None:
        """Open what this process holds."""
        self.metrics.start()
        self.bell.start()
        self._listener.start()

    def stop(self) -> None:
        """Tell what is left to tell, close what is open."""
        self._listener.stop()
        self.bell.stop()
        for pool in (self.pool, self._bell_pool):
            pool.close()
        self.at_stop.close()
        self.metrics.stop()

    def _forget(self, announced: str) -> None:
        """Something changed, here or on another node."""
        what, name = parse(announced)
        for it in self._forgetful:
            it.changed(what, name)

    def _forget_all(self) -> None:
        for it in self._forgetful:
            it.all()
