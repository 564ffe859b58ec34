"""Hears NOTIFY on one channel, and knows when it may have missed some.

Owns: a thread and a connection. Knows nothing of caches. At rest it blocks in poll without a timeout and sends no SQL:
a silent loss of the connection is noticed by the kernel's keepalives, which `connection.connect` sets.
"""

import logging
import os
import select
import threading
from collections.abc import Callable
from contextlib import closing

from psycopg2 import sql

from picloud.errors import DatabaseUnavailable
from picloud.storage.connection import Connection, connect, translated

_log = logging.getLogger(__name__)

_BACKOFF_S = (0.1, 5.0)  # first and longest wait between two tries to connect
_STOP_S = 1.0  # a try to connect that blocks is left behind: it calls nothing any more


def _warn(reason: str) -> None:
    _log.warning("not listening to the database: %s", reason)


class Listener:
    """Calls back from a thread of its own, from `start` to `stop`; use one once, after fork.

    `on_listening()`: from now on nothing is missed, so forget what was read before. Called on each new connection.
    `on_message(payload)`: one NOTIFY. `on_lost(reason)`: messages may be missed until the next `on_listening`; told
    once, not at each vain try. A callback that raises costs the connection: the next one starts with `on_listening`.
    `presence`: the number of an advisory lock that is held, shared, while it listens. Who takes it exclusively before
    he announces something knows that nobody listens, and need not.
    """

    def __init__(
        self,
        dsn: str,
        channel: str,
        *,
        on_message: Callable[[str], None],
        on_listening: Callable[[], None],
        on_lost: Callable[[str], None] = _warn,
        presence: int | None = None,
    ) -> None:
        self._dsn = dsn
        self._channel = channel
        self._presence = presence
        self._on_message = on_message
        self._on_listening = on_listening
        self._on_lost = on_lost
        self._stopping = threading.Event()
        self._wake = -1  # an eventfd that becomes readable to stop
        self._thread = threading.Thread(target=self._run, name=f"listener-{channel}", daemon=True)

    def start(self) -> None:
        """Connect in the background."""
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread.start()

    def stop(self) -> None:
        """End at once; nothing is called back after it, unless a callback is at work. Nothing if it never started."""
        if self._wake < 0 or self._stopping.is_set():
            return
        os.eventfd_write(self._wake, 1)  # first: the thread closes it once it sees the event
        self._stopping.set()
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        wait_s, told = 0.0, False
        while not self._stopping.wait(wait_s):
            listening = False
            try:
                with closing(connect(self._dsn)) as connection, translated():
                    self._listen(connection)
                    listening, told = True, False
                    self._receive(connection)
            except Exception as error:  # noqa: BLE001 - a thread that ends silently would leave caches stale for ever
                if not (told or self._stopping.is_set()):
                    self._on_lost(str(error))
                told = True
            wait_s = _BACKOFF_S[0] if listening else min(max(2 * wait_s, _BACKOFF_S[0]), _BACKOFF_S[1])
        os.close(self._wake)

    def _listen(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            if self._presence is not None:
                cursor.execute("SELECT pg_advisory_lock_shared(%s)", (self._presence,))
            cursor.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
        if not self._stopping.is_set():
            self._on_listening()

    def _receive(self, connection: Connection) -> None:
        """Until it is time to stop; raises when the connection is lost."""
        poller = select.poll()
        for descriptor in (connection.fileno(), self._wake):
            poller.register(descriptor, select.POLLIN)
        while True:
            while connection.notifies:
                self._on_message(connection.notifies.pop(0).payload)
            if any(descriptor == self._wake for descriptor, _ in poller.poll()):
                return
            connection.poll()
            if connection.closed:
                raise DatabaseUnavailable("the connection was lost")
