"""A small pool of connections that waits, and the transactions on them.

Owns: who may use a connection when. Knows no table.
The shape is httpcore's: decide under a lock, do I/O outside it. No thread, no timer: a pool at rest costs nothing.
"""

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Protocol

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from picloud.errors import DatabaseUnavailable, PlatformError
from picloud.storage.connection import Connection, Cursor, commit, connect, translated


class PoolTimeout(DatabaseUnavailable):
    """Every connection to the database is in use."""


class PoolClosed(DatabaseUnavailable):
    """The pool of database connections is closed."""


class Meter(Protocol):
    """Who counts what a pool does; never waits."""

    def used(self, change: int) -> None:
        """So many connections more are in use."""

    def waited(self) -> None:
        """Somebody waits for one."""


class Pool:
    """At most `size` connections; who finds none free waits in line for `wait_ms`. Made before fork, used after."""

    def __init__(self, dsn: str, *, size: int, wait_ms: int, timeouts: bool = True, meter: Meter | None = None) -> None:
        self._dsn = dsn
        self._size = size
        self._wait_ms = wait_ms
        self._timeouts = timeouts  # whether a statement ends by itself
        self._meter = meter
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
        leased = self.begin()
        try:
            with translated(), leased.cursor() as cursor:
                yield cursor
                commit(cursor)
        finally:
            self.end(leased)

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
            self._lend(len(waiting))  # each takes its place, sees that the pool is closed and gives it back
        for waiter in waiting:
            waiter.put(None)
        self._close_idle()

    def begin(self) -> Connection:
        """Lease a connection with a transaction begun, until `end`; it raises what `transaction` does.

        One that died while idle is replaced before anything ran.
        """
        leased = self._lease()
        try:
            if leased and _has_begun(leased):
                return leased
            if leased:
                leased.close()
                self._close_idle()  # they are as old
            leased = None
            self._check_open()
            leased = connect(self._dsn, timeouts=self._timeouts)
            with translated(), leased.cursor() as cursor:
                cursor.execute("BEGIN")
        except BaseException:
            self._give_back(leased and _ended(leased))
            raise
        return leased

    def end(self, leased: Connection) -> None:
        """Roll back what is not committed, and give the connection back."""
        self._give_back(_ended(leased))

    def _lease(self) -> Connection | None:
        """Take a place: with an idle connection, or None for leave to open one."""
        with self._lock:
            self._guard()
            if self._leased < self._size:
                self._lend(1)
                return self._idle.pop() if self._idle else None
            waiter: SimpleQueue[Connection | None] = SimpleQueue()
            self._waiting.append(waiter)
            if self._meter:
                self._meter.waited()
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
            self._lend(-1)
            if usable and not self._closed:
                self._idle.append(usable)
                return
        if usable:
            usable.close()

    def _lend(self, change: int) -> None:
        self._leased += change
        if self._meter:
            self._meter.used(change)

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
    with suppress(psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.DatabaseError), idle.cursor() as cursor:
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
