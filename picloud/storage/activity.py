"""What the database was asked by PiCloud between two moments, and whether it is set to sleep.

Owns: how to count without being counted: one connection that is there before the first moment, asks nothing until the
last, and leaves itself out. It is counted who asked, not how much: a backend shows its last statement only.
"""

from contextlib import closing
from dataclasses import dataclass
from typing import Any

from picloud.storage.connection import connect, translated

# Ours: of this database, and from where we come ourselves, so not of other nodes.
_BACKENDS = """SELECT it.pid, it.backend_start, it.query_start, it.state_change
  FROM pg_stat_activity it JOIN pg_stat_activity own ON own.pid = pg_backend_pid()
 WHERE it.application_name = own.application_name AND it.datid = own.datid AND it.pid <> own.pid
   AND it.client_addr IS NOT DISTINCT FROM own.client_addr"""

_NEWEST = "SELECT id::text FROM invocations ORDER BY id DESC LIMIT 1"

_RAN = """SELECT script, trigger, count(*) FROM invocations WHERE %(newest)s IS NULL OR id > %(newest)s::uuid
 GROUP BY script, trigger ORDER BY count(*) DESC, script, trigger"""

_SETTINGS = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"

AT_LEAST = {  # in the units of pg_settings
    "autovacuum_naptime": 600,  # s
    "checkpoint_timeout": 3_600,  # s
    "bgwriter_delay": 10_000,  # ms
    "wal_writer_delay": 10_000,  # ms
}
ZERO = ("bgwriter_lru_maxpages", "max_logical_replication_workers")


@dataclass(frozen=True, slots=True)
class Ran:
    """What was invoked meanwhile and is recorded already."""

    script: str
    trigger: str
    count: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What PiCloud asked the database meanwhile."""

    backends: frozenset[int]  # pids of those that began or ended a statement, came or went: a statement each at least
    ran: tuple[Ran, ...]


class Activity:
    """Two looks at the database. DatabaseUnavailable, also while it is made."""

    def __init__(self, dsn: str) -> None:
        self._connection = connect(dsn)
        self._before: set[Any] = set()
        self._newest: str | None = None

    @property
    def backend(self) -> int:
        """The pid of the process that answers us, where PostgreSQL runs."""
        return int(self._connection.info.backend_pid)

    def untuned(self) -> list[str]:
        """The settings of `config/postgresql.conf` that PostgreSQL is woken without."""
        found = dict(self._all(_SETTINGS, [*AT_LEAST, *ZERO]))
        short = [name for name, least in AT_LEAST.items() if int(found.get(name, least)) < least]
        return short + [name for name in ZERO if int(found.get(name, 0))]

    def begin(self) -> None:
        """The first look."""
        newest = self._all(_NEWEST)
        self._newest = newest[0][0] if newest else None
        self._before = set(self._all(_BACKENDS))

    def end(self) -> Asked:
        """The last look, and the end of the connection."""
        with closing(self._connection):
            changed = self._before ^ set(self._all(_BACKENDS))
            ran = self._all(_RAN, {"newest": self._newest}, named=True)
        return Asked(frozenset(pid for pid, *_ in changed), tuple(Ran(*row) for row in ran))

    def close(self) -> None:
        """End the connection, whatever was seen."""
        self._connection.close()

    def _all(self, statement: str, parameter: Any = None, *, named: bool = False) -> list[tuple[Any, ...]]:
        with translated(), self._connection.cursor() as cursor:
            cursor.execute(statement, parameter if named or parameter is None else (parameter,))
            return list(cursor.fetchall())
