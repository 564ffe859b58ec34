"""HTTP on top of the engine: the API, the ingress and the page, for one worker of the all-in-one server."""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from picloud.api import problems
from picloud.api.apps import Collaborators, create_app
from picloud.dashboard.front import Front
from picloud.errors import DatabaseUnavailable, Overloaded, PicloudError
from picloud.executor import protections
from picloud.manager.events import Events, Subscriptions
from picloud.manager.routes import Routes as ManagedRoutes
from picloud.manager.schedules import Schedules
from picloud.manager.scripts import Scripts, Versions
from picloud.manager.secrets import Secrets
from picloud.manager.settings import ScriptSettings, SettingsRules
from picloud.manager.tokens import KnownTokens, Tokens
from picloud.manager.uploads import Uploads
from picloud.manager.uses import TokenUses
from picloud.manager.values import Values
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
from picloud.storage.subscriptions import SubscriptionTable
from picloud.storage.unit_of_work import UnitsOfWork
from picloud.wiring.engine import CONNECTION_WAIT_MS, Engine, Forgets, Share

_READY_WITHIN_S = 3.0


class Platform:
    """Everything that one worker of the all-in-one server is made of.

    Built before fork, with nothing open but the memory that the workers share; started after it.
    """

    def __init__(self, settings: ServerSettings) -> None:
        followers_max = _followers_max(settings.threads)
        self._engine = engine = Engine(
            settings,
            Share(threads=settings.threads - followers_max, streams=_streams_max(settings.threads)),
            Forgets(self._forget, self._forget_all),
        )
        self._tables = tables = engine.tables
        self._routes = Routes(tables.routes, engine.generation)
        self._token_uses = TokenUses(tables.tokens)
        self._tokens = KnownTokens(tables.tokens, engine.generation, self._token_uses.note)
        self._followers = Feed(partial(listen, settings.database_url), followers_max=followers_max)
        self._protections_file = settings.protections_file
        units = UnitsOfWork(
            settings.database_url, size=INVOCATION_CONNECTIONS, wait_ms=CONNECTION_WAIT_MS, ring=engine.bell.ring
        )
        engine.at_stop.callback(units.close)
        self._dispatcher = engine.dispatcher(units)
        self._runs = Runs(self._dispatcher, DryRuns(self._dispatcher, units, engine.calls, problems.status_of))
        self._proxies = Proxies(settings.trusted_proxies)
        self._enqueuing = Enqueuing(tables.jobs)
        door = Door(self._tokens)
        deliveries = Deliveries(engine.secrets, tables.jobs)
        self._ingress = Ingress(
            engine.router, self._routes, door, self._dispatcher, self._enqueuing, deliveries, self._proxies
        )
        self.wsgi: Callable[..., Any] = create_app(self._collaborators(settings))

    def start(self) -> None:
        """Open what this worker holds."""
        self._engine.start()
        self._token_uses.start()

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
        self._token_uses.stop()
        self._engine.stop()

    def _forget(self, what: str, _name: str) -> None:
        """Something changed, here or on another node."""
        if what == Changed.ROUTES:
            self._routes.clear()
        elif what == Changed.TOKENS:
            self._tokens.principals.clear()
            self._followers.wake()  # one of them may have lost its token

    def _forget_all(self) -> None:
        """What changed while nobody listened is unknown."""
        self._routes.clear()
        self._tokens.principals.clear()
        self._followers.wake()

    def _collaborators(self, settings: ServerSettings) -> Collaborators:
        engine, tables = self._engine, self._tables

        def deployed() -> None:
            engine.generation.bump()
            engine.bell.ring()  # somebody may be subscribed to that, or a schedule came along

        rules = SettingsRules(settings.policy)
        return Collaborators(
            known_tokens=self._tokens,
            tokens=Tokens(tables.tokens, engine.generation.bump),
            scripts=Scripts(tables.scripts, rules, deployed),
            uploads=Uploads(tables.scripts, engine.executor, rules, deployed),
            versions=Versions(tables.scripts),
            values=Values(tables.values),
            settings=ScriptSettings(tables.scripts, rules, engine.generation.bump),
            secrets=Secrets(tables.secrets, engine.keys, engine.generation.bump),
            routes=ManagedRoutes(tables.routes, engine.generation.bump),
            schedules=Schedules(tables.schedules, engine.bell.ring),
            events=Events(engine.events, engine.bell.ring, engine.retention.wrote),
            subscriptions=Subscriptions(SubscriptionTable(engine.pool)),
            resolver=engine.router,
            runs=self._runs,
            every_version=tables.scripts,
            ingress=self._ingress,
            enqueuing=self._enqueuing,
            jobs=tables.jobs,
            dead_letters=tables.dead_letters,
            secret_values=engine.secrets,
            reading=engine.admission.reading,
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
            with self._engine.pool.transaction():  # an empty one is a ping
                pass
            answers.put(None)
        except PicloudError as error:
            answers.put(error)

    def _check_executor(self) -> Sequence[str]:
        try:
            self._engine.executor.ping()
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
