"""Connections to PostgreSQL: how one is opened, a small pool that waits, transactions that tell what became of them.

Owns: the only call of psycopg2.connect and the translation of its errors. Knows no table.
The shape is httpcore's: decide under a lock, do I/O outside it. No thread, no timer: a pool at rest costs nothing.
"""

import os
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import (
    TRANSACTION_STATUS_IDLE,
    TRANSACTION_STATUS_INTRANS,
    TransactionRollbackError,
    connection,
    cursor,
    parse_dsn,
)

from picloud.errors import ConfigurationError, DatabaseUnavailable, PlatformError

Connection = connection
Cursor = cursor

_CLIENT: dict[str, Any] = {
    "connect_timeout": 3,  # s, for each address
    "application_name": "picloud",
    "client_encoding": "UTF8",
    "keepalives": 1,  # by the kernel: a lost peer is noticed within 25 s without a wake-up of ours
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,  # ms
}
_SESSION = {
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 25_000,
    "client_connection_check_interval": 1_000,  # ms; frees the locks of a client that died in a statement
    "synchronous_commit": "on",  # acknowledged is durable, whatever the server's default
    "idle_session_timeout": 0,
    "timezone": "UTC",
}
_TIMEOUTS = {"statement_timeout": 30_000, "lock_timeout": 10_000}  # ms; what the API can wait for
_NO_TIMEOUTS = dict.fromkeys(_TIMEOUTS, 0)


class PoolTimeout(DatabaseUnavailable):
    """Every connection to the database is in use."""


class PoolClosed(DatabaseUnavailable):
    """The pool of database connections is closed."""


class OutcomeUnknown(DatabaseUnavailable):
    """The connection was lost during COMMIT: the transaction may have happened or not."""


class TransactionAborted(PlatformError):
    """The transaction failed on the way and was rolled back: nothing of it is stored."""


def connect(dsn: str, *, timeouts: bool = True) -> Connection:
    """Open a connection in autocommit; without `timeouts` its statements may take as long as they need.

    ConfigurationError if `dsn` is none, else DatabaseUnavailable with a reason; neither shows anything of the DSN.
    """
    try:
        given = parse_dsn(dsn).get("options", "")
    except psycopg2.ProgrammingError:
        raise ConfigurationError("PICLOUD_DATABASE_URL is not a PostgreSQL URI: postgresql://USER@HOST/NAME") from None
    session = _SESSION | (_TIMEOUTS if timeouts else _NO_TIMEOUTS)
    options = " ".join([given, *(f"-c {name}={value}" for name, value in session.items())])
    try:
        opened: Connection = psycopg2.connect(dsn, **_CLIENT, options=options)
    except psycopg2.Error as error:
        raise DatabaseUnavailable(f"cannot connect to the database: {reason(error)}") from None  # its text has the DSN
    opened.autocommit = True
    return opened


@contextmanager
def translated() -> Iterator[None]:
    """Turn psycopg2's errors of a lost or refusing server into DatabaseUnavailable; leave the others to the noun.

    A deadlock or a conflict is left too: it is for the caller to run the transaction again.
    """
    try:
        yield
    except TransactionRollbackError:
        raise
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise DatabaseUnavailable(f"the database does not answer: {reason(error)}") from error


def reason(error: psycopg2.Error) -> str:
    """The first line of what went wrong, without names of hosts, users and databases."""
    lines = (error.diag.message_primary or str(error)).strip().splitlines() or [type(error).__name__]
    return re.sub(r'".*"', "…", lines[0].rpartition(" failed: ")[2].removeprefix("FATAL:")).strip()


def unique_violation(error: psycopg2.Error) -> str:
    """The name of the unique constraint that was hit; "" if it was something else."""
    return error.diag.constraint_name or "" if isinstance(error, errors.UniqueViolation) else ""


def commit(cursor: Cursor) -> None:
    """COMMIT, or raise TransactionAborted: psycopg2 reports the rollback of an aborted transaction as success."""
    status = cursor.connection.info.transaction_status
    if status == TRANSACTION_STATUS_INTRANS:
        try:
            cursor.execute("COMMIT")
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            if cursor.connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
                raise OutcomeUnknown(f"the connection was lost during COMMIT: {reason(error)}") from error
            raise
    if status != TRANSACTION_STATUS_INTRANS or cursor.statusmessage != "COMMIT":
        raise TransactionAborted


class Pool:
    """At most `size` connections; who finds none free waits in line for `wait_ms`. Made before fork, used after."""

    def __init__(self, dsn: str, *, size: int, wait_ms: int) -> None:
        self._dsn = dsn
        self._size = size
        self._wait_ms = wait_ms
        self._lock = threading.Lock()  # over all that follows
        self._idle: list[Connection] = []  # the last one given back is the first one out
        self._leased = 0
        self._waiting: deque[SimpleQueue[Connection | None]] = deque()  # each gets a connection, or leave to open one
        self._closed = False
        self._pid = 0  # of the process that used it first

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """One transaction: committed when the block ends, rolled back if it raises.

        PoolTimeout, PoolClosed, OutcomeUnknown and other DatabaseUnavailable; TransactionAborted if a statement failed
        and the block went on. The server has answered BEGIN before the block starts, so an empty block is a ping.
        """
        leased = self._begin()
        try:
            with translated(), leased.cursor() as cursor:
                yield cursor
                commit(cursor)
        finally:
            self._give_back(_ended(leased))

    def vacuum(self, *tables: str) -> None:
        """Give back the space of dead rows; on a connection of its own, for as long as it takes."""
        with closing(connect(self._dsn, timeouts=False)) as own, translated(), own.cursor() as cursor:
            names = sql.SQL(", ").join(map(sql.Identifier, tables))
            cursor.execute(sql.SQL("VACUUM (ANALYZE) {}").format(names))

    def close(self) -> None:
        """Close what is idle, wake who waits; a running transaction ends first."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
            self._leased += len(waiting)  # each takes its place, sees that the pool is closed and gives it back
        for waiter in waiting:
            waiter.put(None)
        self._close_idle()

    def _begin(self) -> Connection:
        """Lease a connection with a transaction begun; one that died while idle is replaced before anything ran."""
        leased = self._lease()
        try:
            if leased and _has_begun(leased):
                return leased
            if leased:
                leased.close()
                self._close_idle()  # they are as old
            leased = None
            self._check_open()
            leased = connect(self._dsn)
            with translated(), leased.cursor() as cursor:
                cursor.execute("BEGIN")
        except BaseException:
            self._give_back(leased and _ended(leased))
            raise
        return leased

    def _lease(self) -> Connection | None:
        """Take a place: with an idle connection, or None for leave to open one."""
        with self._lock:
            self._guard()
            if self._leased < self._size:
                self._leased += 1
                return self._idle.pop() if self._idle else None
            waiter: SimpleQueue[Connection | None] = SimpleQueue()
            self._waiting.append(waiter)
        try:
            return waiter.get(timeout=self._wait_ms / 1000)
        except Empty:
            return self._leave_line(waiter)

    def _leave_line(self, waiter: "SimpleQueue[Connection | None]") -> Connection | None:
        with self._lock:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                raise PoolTimeout(f"every connection to the database was in use for {self._wait_ms} ms")
        return waiter.get()  # a place came at the last moment

    def _give_back(self, leased: Connection | None) -> None:
        """Hand the place to who waits longest, with the connection if it is good."""
        usable = leased if leased and not leased.closed else None
        with self._lock:
            if self._waiting:
                self._waiting.popleft().put(usable)
                return
            self._leased -= 1
            if usable and not self._closed:
                self._idle.append(usable)
                return
        if usable:
            usable.close()

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.close()

    def _check_open(self) -> None:
        with self._lock:
            self._guard()

    def _guard(self) -> None:
        if self._closed:
            raise PoolClosed
        self._pid = self._pid or os.getpid()
        if self._pid != os.getpid():
            raise PlatformError("a pool of database connections was used on both sides of a fork")


def _has_begun(idle: Connection) -> bool:
    with suppress(psycopg2.OperationalError, psycopg2.InterfaceError), idle.cursor() as cursor:
        cursor.execute("BEGIN")
        return True
    return False


def _ended(leased: Connection) -> Connection:
    """Roll back what is not committed; close what is not fit for another transaction."""
    with suppress(psycopg2.Error):
        if leased.info.transaction_status != TRANSACTION_STATUS_IDLE:
            with leased.cursor() as cursor:
                cursor.execute("ROLLBACK")
    if leased.info.transaction_status != TRANSACTION_STATUS_IDLE:
        leased.close()
    return leased
