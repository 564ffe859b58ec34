"""What runs scripts, the same in each process that does: a worker of the server, the dispatcher.

Owns: all that an invocation goes through but where it comes from, and the process's word of what changes. Nothing here
knows of HTTP: a dispatcher that imported it would be larger by a third.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from picloud.api import problems
from picloud.cache import Generation
from picloud.executor.client import SandboxClient
from picloud.model import Policy, private_hosts
from picloud.orchestrator.admission import Admission
from picloud.orchestrator.attempt import Attempts
from picloud.orchestrator.bell import Bell
from picloud.orchestrator.bindings import bindings
from picloud.orchestrator.bindings.invoke import Invoking
from picloud.orchestrator.dispatch import Dispatcher
from picloud.orchestrator.journal import Journal
from picloud.orchestrator.outbound.fetching import Fetcher
from picloud.orchestrator.outbound.lookups import system_lookup
from picloud.orchestrator.record import Recorder
from picloud.orchestrator.recording import GrantsMasked
from picloud.orchestrator.retention import ExpiringTable, Retention
from picloud.orchestrator.router import Router
from picloud.orchestrator.secrets import SecretValues
from picloud.orchestrator.streaming import Streams
from picloud.orchestrator.work import WorkSource
from picloud.sealing import KeyFile
from picloud.settings import ServerSettings
from picloud.storage import jobs
from picloud.storage.changes import CHANNEL, Changed, parse
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
_RECORD_CONNECTIONS = 2  # one for batches, one for marks
_ABORT_WITHIN_S = 0.5  # for runs that are ended to reach their callers' threads


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
class Share:
    """What one process may have at once."""

    threads: int  # that run scripts, or are kept free to refuse with
    streams: int  # answers that are made while they are sent


@dataclass(frozen=True, slots=True)
class Forgets:
    """What else a process keeps in memory of the database: asked to forget it, as the engine is."""

    changed: Callable[[str, str], None] = lambda _what, _name: None  # what, and which one: see `storage.changes`
    all: Callable[[], None] = lambda: None


class Engine:
    """Built before fork, with nothing open but the memory that the node's processes share; started after it.

    Where transactions come from is not decided here: `dispatcher` makes what runs scripts in those of a source.
    """

    def __init__(self, settings: ServerSettings, share: Share, forgets: Forgets) -> None:
        settings.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.pool = Pool(settings.database_url, size=_LOOKUP_CONNECTIONS, wait_ms=CONNECTION_WAIT_MS)
        self._record_pool = Pool(settings.database_url, size=_RECORD_CONNECTIONS, wait_ms=CONNECTION_WAIT_MS)
        self._bell_pool = Pool(settings.database_url, size=1, wait_ms=CONNECTION_WAIT_MS)  # no reader can hold it up
        self.bell = Bell(partial(jobs.ring, self._bell_pool))
        self.tables = Tables(self.pool, settings.policy, self.bell.ring)
        self.generation = Generation(settings.run_dir / "generation")
        self.router = Router(self.tables.scripts, self.generation)
        self._forgets = forgets
        self._listener = Listener(
            settings.database_url, CHANNEL, on_message=self._forget, on_listening=self._forget_all
        )
        kept = {"keep_days": settings.retention_days, "keep_rows": settings.retention_rows}
        self.events = EventTable(self.pool, **kept)
        jobs_kept = JobRetention(self.pool, **kept, dead_days=settings.dead_days)
        self.slots = SlotTable(self.pool, **kept)
        also: list[ExpiringTable] = [self.tables.values, self.tables.answers, self.events, jobs_kept, self.slots]
        self.retention = Retention(self.tables.invocations, also=also, **kept)
        self.keys = KeyFile(settings.secret_key)
        self.secrets = SecretValues(self.tables.secrets, self.keys, self.generation)
        written = InvocationTable(self._record_pool)  # its own connections: no reader can hold it up
        self._recorder = Recorder(GrantsMasked(written, self.secrets), self.retention.wrote)
        self.admission = Admission(
            settings.run_dir / "admission.lock",
            node_slots=settings.pool_max + settings.queue_length,
            threads=share.threads,
            parked_max=settings.parked_max,
        )
        self.executor = SandboxClient(settings.executor_socket, queue_ms=settings.queue_ms)
        self._reserve = SandboxClient(settings.reserve_socket, queue_ms=settings.queue_ms)
        self.journal = Journal(self._recorder, problems.status_of)
        invoking = Invoking(self.router, self.admission, self._reserve, self.journal)
        self._fetcher = Fetcher(system_lookup, private_hosts(settings.private_hosts))
        self.calls = {**bindings(self._fetcher, self.secrets, self.router), **invoking.table()}
        self._streams = Streams(share.streams)
        self.at_stop = ExitStack()  # what others have opened beside it

    def dispatcher(self, source: WorkSource) -> Dispatcher:
        """What runs scripts in the transactions of a source."""
        attempts = Attempts(source, self.calls)
        return Dispatcher(self.admission, self.executor, attempts, self.journal, self._streams)

    def start(self) -> None:
        """Open what this process holds."""
        self.admission.open()
        self._recorder.start()
        self.bell.start()
        self._listener.start()

    def abort(self, *dispatchers: Dispatcher) -> None:
        """End every run that is under way, and each that follows; those of the dispatchers have a moment to notice."""
        self.executor.abort()
        self._reserve.abort()
        self._streams.stop()
        self._fetcher.abort()
        for dispatcher in dispatchers:
            dispatcher.wait_until_idle(_ABORT_WITHIN_S)

    def stop(self) -> None:
        """Write what is left, tell of it, close what is open."""
        self._listener.stop()
        self._recorder.stop()
        self.bell.stop()
        self.admission.close()
        for pool in (self.pool, self._record_pool, self._bell_pool):
            pool.close()
        self.at_stop.close()

    def _forget(self, announced: str) -> None:
        """Something changed, here or on another node."""
        what, name = parse(announced)
        if what == Changed.SCRIPT:
            self.router.programs.forget(name)
        elif what == Changed.SECRETS:
            self.secrets.sealed.forget(name) if name else self.secrets.sealed.clear()
        self._forgets.changed(what, name)

    def _forget_all(self) -> None:
        """What changed while nobody listened is unknown."""
        self.router.programs.clear()
        self.secrets.sealed.clear()
        self._forgets.all()
