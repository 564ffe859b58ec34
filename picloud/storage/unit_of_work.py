"""One invocation's transaction: what its host calls write and its own row, in one COMMIT or not at all.

Owns: when it begins and how it ends. `kv` and its kin, each the work of one noun, run their statements through it.
Used by one thread. Every statement ends by the invocation's deadline.

An unknown COMMIT (the connection was lost in it) is settled by asking on another connection: while `pg_xact_status`
says that the transaction is in progress it may still be done; after that, the invocation's own row is there or it is
not. The status alone would say too much: a number that no disk had seen when the server crashed is given again.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from psycopg2.errors import InvalidParameterValue, QueryCanceled

from picloud.errors import DatabaseUnavailable, DeadlinePassed, OutcomeUnknown, Overloaded
from picloud.model import Invocation
from picloud.storage import invocations
from picloud.storage.connection import Connection, Cursor, commit, connect, translated
from picloud.storage.events import Events
from picloud.storage.idempotency import KeptAnswers
from picloud.storage.jobs import Jobs
from picloud.storage.kv import KeyValues
from picloud.storage.pool import Meter, Pool, PoolTimeout
from picloud.storage.schedules import ScriptSchedules

_SETTLE_S = 2.0  # at least, for a COMMIT whose outcome is unknown
_RETRY_S = 0.1
_XID = "SELECT pg_current_xact_id()::text"
_IN_PROGRESS = "SELECT pg_xact_status(%s::xid8) = 'in progress'"

Rows = list[tuple[Any, ...]]


class UnitsOfWork:
    """Where invocations get their transactions: `size` connections, for which they wait in line for `wait_ms`."""

    def __init__(
        self,
        dsn: str,
        *,
        size: int,
        wait_ms: int,
        ring: Callable[[], None] = lambda: None,
        meter: Meter | None = None,
    ) -> None:
        self._dsn = dsn
        self.ring = ring  # for who runs jobs, after a COMMIT that left some
        self._pool = Pool(dsn, size=size, wait_ms=wait_ms, timeouts=False, meter=meter)  # each statement has its own

    def begin(self, deadline: float) -> "UnitOfWork":
        """A transaction of one invocation, until `deadline` (monotonic, s); Overloaded, DatabaseUnavailable."""
        try:
            return UnitOfWork(self, self._pool.begin(), deadline)
        except PoolTimeout as error:
            raise Overloaded(str(error)) from None

    def end(self, connection: Connection) -> None:
        """Take one back; what is not committed is rolled back."""
        self._pool.end(connection)

    def committed(self, xid: str, invocation_id: str, deadline: float) -> bool:
        """Whether an invocation's transaction, which came to its end unseen, was committed; OutcomeUnknown if nobody
        can say in time."""
        while True:
            committed = self._committed(xid, invocation_id)
            if committed is not None:
                return committed
            if time.monotonic() + _RETRY_S > deadline:
                raise OutcomeUnknown
            time.sleep(_RETRY_S)  # it is coming back, or still at it

    def close(self) -> None:
        """Close what is idle; a transaction that runs ends first."""
        self._pool.close()

    def _committed(self, xid: str, invocation_id: str) -> bool | None:
        """None: it is still at it, or the server does not answer."""
        try:
            with closing(connect(self._dsn)) as own, translated(), own.cursor() as cursor:
                if _is_in_progress(cursor, xid):
                    return None
                return invocations.wrote(cursor, invocation_id, xid)  # by a later snapshot than the status
        except DatabaseUnavailable:
            return None


def _is_in_progress(cursor: Cursor, xid: str) -> bool:
    try:
        cursor.execute(_IN_PROGRESS, (xid,))
    except InvalidParameterValue:  # it crashed, and nobody has this number yet
        return False
    return cursor.fetchone() == (True,)


class UnitOfWork:
    """A transaction that has begun; `close` it, whatever happens."""

    def __init__(self, units: UnitsOfWork, connection: Connection, deadline: float) -> None:
        self._units = units
        self._connection: Connection | None = connection
        self._writes = False
        self.deadline = deadline  # monotonic, s; a callee's is nearer
        self.kv = KeyValues(self)
        self.answers = KeptAnswers(self)
        self.jobs = Jobs(self)
        self.events = Events(self.write, self.will_ring)
        self.schedules = ScriptSchedules(self.read, self.write, self.will_ring)
        self._rings = self._holds = False

    @property
    def writes(self) -> bool:
        """Whether there is something to commit."""
        return self._writes

    def read(self, statement: str, parameters: Mapping[str, Any]) -> Rows:
        """Run one statement → its rows. DeadlinePassed, TransactionConflict, DatabaseUnavailable."""
        left_ms = int((self.deadline - time.monotonic()) * 1000)
        if left_ms <= 0 or self._connection is None:
            raise DeadlinePassed
        with translated(), self._connection.cursor() as cursor:
            try:
                cursor.execute(f"SET LOCAL statement_timeout = {left_ms}; {statement}", parameters)
            except QueryCanceled:
                raise DeadlinePassed from None
            return cursor.fetchall() if cursor.description else []

    def write(self, statement: str, parameters: Mapping[str, Any]) -> Rows:
        """The same for a statement whose effect is to last."""
        self._writes = True
        return self.read(statement, parameters)

    @contextmanager
    def savepoint(self) -> Iterator["Savepoint"]:
        """What is done in the block can be undone, and is if it raises."""
        savepoint = Savepoint(self)
        try:
            yield savepoint
        except BaseException:
            savepoint.restore()
            raise
        finally:
            self.control("RELEASE SAVEPOINT before")

    def control(self, statement: str) -> None:
        """Run what sets, ends or undoes a savepoint: also after a statement that failed, and after the deadline."""
        if self._connection is None:
            raise DeadlinePassed
        with translated(), self._connection.cursor() as cursor:
            cursor.execute(statement)

    def commit(self, invocation: Invocation) -> None:
        """Commit everything with the invocation's own row; then only `close` is left to call.

        TransactionConflict, DatabaseUnavailable: nothing of it is stored; OutcomeUnknown: nobody knows.
        """
        assert self._connection is not None
        self.kv.settle()
        with translated(), self._connection.cursor() as cursor:
            invocations.put(cursor, invocation)
        xid = self.read(_XID, {})[0][0]
        try:
            with translated(), self._connection.cursor() as cursor:
                commit(cursor)
        except OutcomeUnknown:
            if not self._units.committed(xid, invocation.id, max(self.deadline, time.monotonic() + _SETTLE_S)):
                raise DatabaseUnavailable("the database went away before the COMMIT; nothing is stored") from None
        if self._rings:
            self._units.ring()

    def will_ring(self, *, also_undone: bool = False) -> None:
        """What it stores is something for those who run jobs: they are told after the COMMIT.

        ``also_undone``: it holds jobs, which those pass over meanwhile: they are told, too, if it is rolled back.
        """
        self._rings = True
        self._holds = self._holds or also_undone

    def close(self) -> None:
        """Give the connection back; what is not committed is rolled back."""
        if self._connection is not None:
            self._units.end(self._connection)
            self._connection = None
            if self._holds:
                self._units.ring()


class Savepoint:
    """A state of a transaction to come back to; the inner one of two ends first."""

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work
        self._pending = work.kv.pending()
        self.restored = False
        work.control("SAVEPOINT before")

    def restore(self) -> None:
        """Undo what was done since, also after a statement that failed."""
        self._work.control("ROLLBACK TO SAVEPOINT before")
        self._work.kv.restore(self._pending)
        self.restored = True
