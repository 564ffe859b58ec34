"""One connection to PostgreSQL: how it is opened, what its errors mean, and a COMMIT that can be believed.

Owns: the only call of psycopg2.connect and the translation of its errors. Knows no table.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.errors import LockNotAvailable
from psycopg2.extensions import (
    TRANSACTION_STATUS_IDLE,
    TRANSACTION_STATUS_INTRANS,
    TransactionRollbackError,
    connection,
    cursor,
    parse_dsn,
)

from picloud.errors import ConfigurationError, DatabaseUnavailable, OutcomeUnknown, PlatformError, TransactionConflict

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


class TransactionAborted(PlatformError):
    """The transaction failed on the way and was rolled back: nothing of it is stored."""


def connect(dsn: str, *, timeouts: bool = True) -> Connection:
    """Open a connection in autocommit; without `timeouts` its statements may take as long as they need.

    ConfigurationError if `dsn` is none, else DatabaseUnavailable with a reason; neither shows anything of the DSN.
    """
    try:
        given = parse_dsn(dsn)
    except psycopg2.ProgrammingError:
        raise ConfigurationError("PICLOUD_DATABASE_URL is not a PostgreSQL URI: postgresql://USER@HOST/NAME") from None
    session = _SESSION | (_TIMEOUTS if timeouts else _NO_TIMEOUTS)
    options = " ".join([given.pop("options", ""), *(f"-c {name}={value}" for name, value in session.items())])
    try:
        opened: Connection = psycopg2.connect(**_CLIENT | given, options=options)
    except psycopg2.Error as error:
        raise DatabaseUnavailable(f"cannot connect to the database: {reason(error)}") from None  # its text has the DSN
    opened.autocommit = True
    return opened


class LockTimeout(DatabaseUnavailable):
    """Somebody else held what a statement needed, for longer than it could wait."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn psycopg2's errors of a lost or refusing server into DatabaseUnavailable; leave the others to the noun.

    A deadlock or a conflict is a TransactionConflict: it is for the caller to run the transaction again.
    """
    try:
        yield
    except TransactionRollbackError as error:
        raise TransactionConflict from error
    except LockNotAvailable as error:
        raise LockTimeout from error
    except psycopg2.Error as error:
        if not lost(error):
            raise
        raise DatabaseUnavailable(f"the database does not answer: {reason(error)}") from error


def lost(error: psycopg2.Error) -> bool:
    """Whether the server is gone or refuses; a backend that was killed shows as a bare DatabaseError without a code."""
    if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
        return True
    return type(error) is psycopg2.DatabaseError and error.pgcode is None


def reason(error: psycopg2.Error) -> str:
    """The first line of what went wrong, without names of hosts, users and databases."""
    lines = (error.diag.message_primary or str(error)).strip().splitlines() or [type(error).__name__]
    return re.sub(r'".*"', "…", lines[0].rpartition(" failed: ")[2].removeprefix("FATAL:")).strip()


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
