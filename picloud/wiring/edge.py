"""The edge of a service: whose tokens it knows, and what must answer for it to be ready."""

from collections.abc import Callable, Collection, Sequence

from picloud.api.collaborators import Edge
from picloud.api.metrics import Sources
from picloud.background import Got, within
from picloud.errors import DatabaseUnavailable, Overloaded
from picloud.executor import protections
from picloud.executor.client import SandboxClient
from picloud.manager.tokens import KnownTokens
from picloud.manager.uses import TokenUses
from picloud.model import Backlog
from picloud.settings import ServerSettings
from picloud.storage.backlog import BacklogTable
from picloud.storage.changes import Changed
from picloud.storage.pool import Pool
from picloud.wiring.ground import Forgets, Ground

_ANSWERS_WITHIN_S = 3.0


class Callers:
    """Who is asking: the tokens that this process knows, and its notes of when they were used."""

    def __init__(self, ground: Ground) -> None:
        self._uses = TokenUses(ground.tables.tokens)
        self.known = KnownTokens(ground.tables.tokens, ground.generation, self._uses.note)
        ground.tell(Forgets(self._forget, self.known.principals.clear))

    def start(self) -> None:
        """Start to write the notes."""
        self._uses.start()

    def stop(self) -> None:
        """Write what is left; before the ground goes."""
        self._uses.stop()

    def _forget(self, what: str, _name: str) -> None:
        if what == Changed.TOKENS:
            self.known.principals.clear()


def edge(settings: ServerSettings, ground: Ground, callers: Callers, executor: SandboxClient, threads: int) -> Edge:
    """What every service has; half of the threads may be reading a body."""
    checks, backlog = Checks(ground.pool, executor, settings), BacklogTable(ground.pool)

    def seen(names: Collection[str]) -> Backlog:
        return asked(lambda: backlog.seen(names))

    return Edge(
        callers.known,
        max(1, threads // 2),
        {"database": checks.database, "executor": checks.executor},
        Sources(ground.metrics, seen, executor.counts, settings.pool_max),
    )


def asked(database: Callable[[], Got]) -> Got:
    """What it says, if it does in time; DatabaseUnavailable."""
    try:
        return within(_ANSWERS_WITHIN_S, database)
    except TimeoutError:
        raise DatabaseUnavailable(f"the database did not answer within {_ANSWERS_WITHIN_S:.0f} s") from None


class Checks:
    """What `/readyz` asks."""

    def __init__(self, pool: Pool, executor: SandboxClient, settings: ServerSettings) -> None:
        self._pool = pool
        self._executor = executor
        self._protections_file = settings.protections_file

    def database(self) -> Sequence[str]:
        """Has it begin a transaction, and end it."""
        asked(self._ping)
        return ()

    def executor(self) -> Sequence[str]:
        """Has a sandbox compile nothing; warns of the protections that it lacks."""
        try:
            self._executor.ping()
        except Overloaded as error:
            return [f"the sandboxes are busy: {error}"]  # it works, and takes no more for now
        return [
            f"protection '{it.name}' is missing: {it.reason}"
            for it in protections.read(self._protections_file)
            if not it.active
        ]

    def _ping(self) -> None:
        with self._pool.transaction():  # an empty one is a ping
            pass
