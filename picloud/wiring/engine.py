"""What runs scripts, the same in each process that does: a worker of the server, the dispatcher.

Owns: all that an invocation goes through but where it comes from. Nothing here knows of HTTP: a dispatcher that
imported it would be larger by a third.
"""

from dataclasses import dataclass

from picloud.api import problems
from picloud.executor.client import SandboxClient
from picloud.model import private_hosts
from picloud.orchestrator.admission import Admission
from picloud.orchestrator.attempt import Attempts
from picloud.orchestrator.bindings import bindings, counted
from picloud.orchestrator.bindings.invoke import Invoking
from picloud.orchestrator.dispatch import Dispatcher
from picloud.orchestrator.journal import Journal
from picloud.orchestrator.outbound.fetching import Fetcher
from picloud.orchestrator.outbound.lookups import system_lookup
from picloud.orchestrator.record import Recorder
from picloud.orchestrator.recording import GrantsMasked
from picloud.orchestrator.router import Router
from picloud.orchestrator.secrets import SecretValues
from picloud.orchestrator.streaming import Streams
from picloud.orchestrator.work import WorkSource
from picloud.settings import ServerSettings
from picloud.storage.changes import Changed
from picloud.storage.invocations import InvocationTable
from picloud.wiring.ground import Forgets, Ground

_RECORD_CONNECTIONS = 2  # one for batches, one for marks
_ABORT_WITHIN_S = 0.5  # for runs that are ended to reach their callers' threads


@dataclass(frozen=True, slots=True)
class Share:
    """What one process may have at once."""

    threads: int  # that run scripts, or are kept free to refuse with
    streams: int  # answers that are made while they are sent


class Engine:
    """Built before fork, started after it.

    Where transactions come from is not decided here: `dispatcher` makes what runs scripts in those of a source.
    """

    def __init__(self, settings: ServerSettings, ground: Ground, share: Share) -> None:
        tables = ground.tables
        self.router = Router(tables.scripts, ground.generation)
        self.secrets = SecretValues(tables.secrets, ground.keys, ground.generation)
        ground.tell(Forgets(self._forget, self._forget_all))
        self._record_pool = ground.connections("records", settings, _RECORD_CONNECTIONS)
        written = InvocationTable(self._record_pool)  # its own connections: no reader can hold it up
        self._recorder = Recorder(GrantsMasked(written, self.secrets), ground.retention.wrote)
        self.admission = Admission(
            settings.run_dir / "admission.lock",
            node_slots=settings.pool_max + settings.queue_length,
            threads=share.threads,
            parked_max=settings.parked_max,
            metrics=ground.metrics,
        )
        self.executor = SandboxClient(settings.executor_socket, queue_ms=settings.queue_ms)
        self._reserve = SandboxClient(settings.reserve_socket, queue_ms=settings.queue_ms)
        self.journal = Journal(self._recorder, problems.status_of, ground.metrics)
        invoking = Invoking(self.router, self.admission, self._reserve, self.journal)
        self._fetcher = Fetcher(system_lookup, private_hosts(settings.private_hosts))
        calls = {**bindings(self._fetcher, self.secrets, self.router), **invoking.table()}
        self.calls = counted(calls, ground.metrics)
        self._streams = Streams(share.streams)

    def dispatcher(self, source: WorkSource) -> Dispatcher:
        """What runs scripts in the transactions of a source."""
        attempts = Attempts(source, self.calls)
        return Dispatcher(self.admission, self.executor, attempts, self.journal, self._streams)

    def start(self) -> None:
        """Open what this process holds."""
        self.admission.open()
        self._recorder.start()

    def abort(self, *dispatchers: Dispatcher) -> None:
        """End every run that is under way, and each that follows; those of the dispatchers have a moment to notice."""
        self.executor.abort()
        self._reserve.abort()
        self._streams.stop()
        self._fetcher.abort()
        for dispatcher in dispatchers:
            dispatcher.wait_until_idle(_ABORT_WITHIN_S)

    def stop(self) -> None:
        """Write what is left; before the ground goes."""
        self._recorder.stop()
        self.admission.close()
        self._record_pool.close()

    def _forget(self, what: str, name: str) -> None:
        """Something changed, here or on another node."""
        if what == Changed.SCRIPT:
            self.router.programs.forget(name)
        elif what == Changed.SECRETS:
            self.secrets.sealed.forget(name) if name else self.secrets.sealed.clear()

    def _forget_all(self) -> None:
        self.router.programs.clear()
        self.secrets.sealed.clear()
