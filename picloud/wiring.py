"""The composition root: which implementation stands behind each seam, and in which order all is opened and closed.

Owns: construction. Every other module takes its collaborators; this one chooses them.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from picloud.api import problems
from picloud.api.apps import Collaborators, create_app
from picloud.cache import Generation
from picloud.dashboard.front import Front
from picloud.errors import DatabaseUnavailable, Overloaded, PicloudError
from picloud.executor import protections
from picloud.executor.client import SandboxClient
from picloud.manager.routes import Routes as ManagedRoutes
from picloud.manager.scripts import Scripts, Versions
from picloud.manager.secrets import Secrets
from picloud.manager.settings import ScriptSettings, SettingsRules
from picloud.manager.tokens import KnownTokens, Tokens
from picloud.manager.uploads import Uploads
from picloud.manager.uses import TokenUses
from picloud.manager.values import Values
from picloud.model import Policy, private_hosts
from picloud.orchestrator.access import Door
from picloud.orchestrator.admission import Admission
from picloud.orchestrator.attempt import Attempts
from picloud.orchestrator.bindings import bindings
from picloud.orchestrator.bindings.invoke import Invoking
from picloud.orchestrator.dispatch import Dispatcher
from picloud.orchestrator.dry_run import DryRuns
from picloud.orchestrator.feed import Feed
from picloud.orchestrator.ingress import Ingress
from picloud.orchestrator.journal import Journal
from picloud.orchestrator.outbound.fetching import Fetcher
from picloud.orchestrator.outbound.lookups import system_lookup
from picloud.orchestrator.record import Recorder
from picloud.orchestrator.recording import GrantsMasked
from picloud.orchestrator.request import Proxies
from picloud.orchestrator.resources.invoke import Runs
from picloud.orchestrator.retention import Retention
from picloud.orchestrator.router import Router
from picloud.orchestrator.routes import Routes
from picloud.orchestrator.secrets import SecretValues
from picloud.orchestrator.streaming import Streams
from picloud.sealing import KeyFile
from picloud.settings import INVOCATION_CONNECTIONS, ServerSettings
from picloud.storage.changes import CHANNEL, Changed, parse
from picloud.storage.idempotency import KeptAnswerTable
from picloud.storage.invocations import InvocationTable
from picloud.storage.listener import Listener
from picloud.storage.logs import LogTable, listen
from picloud.storage.pool import Pool
from picloud.storage.routes import RouteTable
from picloud.storage.scripts import ScriptTable
from picloud.storage.secrets import SecretTable
from picloud.storage.tokens import TokenTable
from picloud.storage.unit_of_work import UnitsOfWork
from picloud.storage.values import ValueTable

_API_CONNECTIONS = 4  # of each worker, beside those that `picloud.storage` tells of
_RECORD_CONNECTIONS = 2  # one for batches, one for marks
_CONNECTION_WAIT_MS = 2_000
_READY_WITHIN_S = 3.0
_ABORT_WITHIN_S = 0.5  # for runs that are ended to reach their callers' threads


class _Tables:
    """PostgreSQL, one noun each, over the connections that the API and invocations share."""

    def __init__(self, pool: Pool, policy: Policy) -> None:
        self.scripts = ScriptTable(pool, policy)
        self.routes = RouteTable(pool)
        self.tokens = TokenTable(pool)
        self.secrets = SecretTable(pool)
        self.invocations = InvocationTable(pool)
        self.lines = LogTable(pool)
        self.values = ValueTable(pool)
        self.answers = KeptAnswerTable(pool)


class Platform:
    """Everything that one worker of the all-in-one server is made of.

    Built before fork, with nothing open but the memory that the workers share; started after it.
    """

    def __init__(self, settings: ServerSettings) -> None:
        settings.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._pool = Pool(settings.database_url, size=_API_CONNECTIONS, wait_ms=_CONNECTION_WAIT_MS)
        self._record_pool = Pool(settings.database_url, size=_RECORD_CONNECTIONS, wait_ms=_CONNECTION_WAIT_MS)
        tables = _Tables(self._pool, settings.policy)
        self._generation = Generation(settings.run_dir / "generation")
        self._router = Router(tables.scripts, self._generation)
        self._routes = Routes(tables.routes, self._generation)
        self._token_uses = TokenUses(tables.tokens)
        self._tokens = KnownTokens(tables.tokens, self._generation, self._token_uses.note)
        self._listener = Listener(
            settings.database_url, CHANNEL, on_message=self._forget, on_listening=self._forget_all
        )
        retention = Retention(
            tables.invocations, keep_days=settings.retention_days, keep_rows=settings.retention_rows,
            also=[tables.values, tables.answers],
        )  # fmt: skip
        self._keys = KeyFile(settings.secret_key)
        self._secrets = SecretValues(tables.secrets, self._keys, self._generation)
        written = InvocationTable(self._record_pool)  # its own connections: no reader can hold it up
        self._recorder = Recorder(GrantsMasked(written, self._secrets), retention.wrote)
        followers_max = _followers_max(settings.threads)
        self._followers = Feed(partial(listen, settings.database_url), followers_max=followers_max)
        self._admission = Admission(
            settings.run_dir / "admission.lock",
            node_slots=settings.pool_max + settings.queue_length,
            threads=settings.threads - followers_max,
            parked_max=settings.parked_max,
        )
        self._executor = SandboxClient(settings.executor_socket, queue_ms=settings.queue_ms)
        self._protections_file = settings.run_dir / "protections.json"
        self._units = UnitsOfWork(settings.database_url, size=INVOCATION_CONNECTIONS, wait_ms=_CONNECTION_WAIT_MS)
        journal = Journal(self._recorder, problems.status_of)
        self._reserve = SandboxClient(settings.reserve_socket, queue_ms=settings.queue_ms)
        invoking = Invoking(self._router, self._admission, self._reserve, journal)
        self._fetcher = Fetcher(system_lookup, private_hosts(settings.private_hosts))
        calls = {**bindings(self._fetcher, self._secrets), **invoking.table()}
        attempts = Attempts(self._units, calls)
        self._streams = Streams(_streams_max(settings.threads))
        self._dispatcher = Dispatcher(self._admission, self._executor, attempts, journal, self._streams)
        self._runs = Runs(self._dispatcher, DryRuns(self._dispatcher, self._units, calls, problems.status_of))
        self._proxies = Proxies(settings.trusted_proxies)
        self._ingress = Ingress(self._router, self._routes, Door(self._tokens), self._dispatcher, self._proxies)
        self.wsgi: Callable[..., Any] = create_app(self._collaborators(tables, settings))

    def start(self) -> None:
        """Open what this worker holds."""
        self._admission.open()
        self._recorder.start()
        self._token_uses.start()
        self._listener.start()

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
        self._executor.abort()
        self._reserve.abort()
        self._streams.stop()
        self._fetcher.abort()
        self._dispatcher.wait_until_idle(_ABORT_WITHIN_S)
        self._listener.stop()
        self._recorder.stop()
        self._token_uses.stop()
        self._admission.close()
        self._pool.close()
        self._record_pool.close()
        self._units.close()

    def _forget(self, announced: str) -> None:
        """Something changed, here or on another node."""
        what, name = parse(announced)
        if what == Changed.SCRIPT:
            self._router.programs.forget(name)
        elif what == Changed.ROUTES:
            self._routes.clear()
        elif what == Changed.TOKENS:
            self._tokens.principals.clear()
            self._followers.wake()  # one of them may have lost its token
        elif what == Changed.SECRETS:
            self._secrets.sealed.forget(name) if name else self._secrets.sealed.clear()

    def _forget_all(self) -> None:
        """What changed while nobody listened is unknown."""
        self._router.programs.clear()
        self._routes.clear()
        self._tokens.principals.clear()
        self._secrets.sealed.clear()
        self._followers.wake()

    def _collaborators(self, tables: _Tables, settings: ServerSettings) -> Collaborators:
        rules = SettingsRules(settings.policy)
        return Collaborators(
            known_tokens=self._tokens,
            tokens=Tokens(tables.tokens, self._generation.bump),
            scripts=Scripts(tables.scripts, rules, self._generation.bump),
            uploads=Uploads(tables.scripts, self._executor, rules, self._generation.bump),
            versions=Versions(tables.scripts),
            values=Values(tables.values),
            settings=ScriptSettings(tables.scripts, rules, self._generation.bump),
            secrets=Secrets(tables.secrets, self._keys, self._generation.bump),
            routes=ManagedRoutes(tables.routes, self._generation.bump),
            resolver=self._router,
            runs=self._runs,
            every_version=tables.scripts,
            ingress=self._ingress,
            reading=self._admission.reading,
            proxies=self._proxies,
            records=tables.invocations,
            lines=tables.lines,
            followers=self._followers,
            checks={"database": self._check_database, "executor": self._check_executor},
            front=Front(self._tokens, tables.scripts, tables.invocations, self._proxies),
        )

    def _check_database(self) -> Sequence[str]:
        """Asks from a thread: a server that is stopped, or whose disk is, answers neither yes nor no."""
        answers: SimpleQueue[PicloudError | None] = SimpleQueue()
        threading.Thread(target=self._ask_database, args=(answers,), name="readyz", daemon=True).start()
        try:
            failure = answers.get(timeout=_READY_WITHIN_S)
        except Empty:
            raise DatabaseUnavailable(f"the database did not answer within {_READY_WITHIN_S:.0f} s") from None
        if failure:
            raise failure
        return ()

    def _ask_database(self, answers: "SimpleQueue[PicloudError | None]") -> None:
        try:
            with self._pool.transaction():  # an empty one is a ping
                pass
            answers.put(None)
        except PicloudError as error:
            answers.put(error)

    def _check_executor(self) -> Sequence[str]:
        try:
            self._executor.ping()
        except Overloaded as error:
            return [f"the sandboxes are busy: {error}"]  # it works, and takes no more for now
        return [
            f"protection '{it.name}' is missing: {it.reason}"
            for it in protections.read(self._protections_file)
            if not it.active
        ]


def _followers_max(threads: int) -> int:
    """How many of a worker's threads followers of the logs may hold: an eighth, and never the last one."""
    return min(max(1, threads // 8), threads - 1)


def _streams_max(threads: int) -> int:
    """How many of a worker's threads answers that are made while they are sent may hold: half of them."""
    return max(1, threads // 2)


def build(settings: ServerSettings) -> Platform:
    """All of PiCloud in one server."""
    return Platform(settings)
