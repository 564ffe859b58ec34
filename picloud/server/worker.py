"""gunicorn's threaded worker, blocking: its loop waits for events, and for no longer than until something expires.

Replaces the loop of gunicorn 27.0.1's workers/gthread.py, and keeps its thread pool, its way back to the loop
(`method_queue`) and `handle_request`. What is different, and why:

- `run` wakes up each second there, to tell the arbiter that it lives and to see whether its parent does. Here the
  arbiter's end of a pipe says so, and a signal's byte in a pipe of our own wakes the poller.
- `accept` gives each new connection a thread there, which waits 5 s for bytes, and then for ever for the rest of a
  head. Here the poller collects the head, and a thread begins when it is whole.
- `finish_request` closes in the loop there, waiting up to 2 s for the client to do the same. Here that is one more
  thing to wait for.
- Nothing limits how many requests wait for a thread there.
"""

import contextlib
import errno
import math
import os
import selectors
import signal
import socket
import time
from functools import partial
from typing import Any

from picloud.server.connections import Connection, Room
from picloud.server.door import HOLD_GRAIN_S, HOLD_S, Door
from picloud.server.refusals import answer, judge
from picloud.server.requests import REST_BYTES_MAX, Requests

KEEPALIVE_S = 150  # longer than Caddy keeps its end (120 s), so that no request crosses our closing
MASTER_GRACE_S = 1.5  # beside the drain, from SIGTERM until the arbiter kills: for the service's stop
_RELOAD_DRAIN_S = 60.0  # the same for a worker that is replaced: nobody waits for it
_STOP_LINGER_S = 0.5  # for a request that is under way on an idle connection when the worker stops

_IN_TURN = 16  # requests at once, in all workers, of those who waited in line while there was no server
_IN_TURN_S = 10.0  # for so long at most
_HEAD_S = 10.0
_LINGER_S = (
    2.0  # for the client to close, too, after the last answer: else unread bytes would destroy it (RFC 9112 9.6)
)
_READ_BYTES = 16 * 1024
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Worker(Requests):
    """A connection is in one of six rooms, or in a thread's hands."""

    lifeline = -1  # readable when the arbiter is gone; set after fork

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._queue_s = self.app.settings.queue_ms / 1000
        self.keepalived_conns = self._idle = Room(KEEPALIVE_S)  # handle_request looks at its length
        self._heads = Room(_HEAD_S)
        self._closing = Room(_LINGER_S)
        self._unheard = Room(_LINGER_S)  # those that send on and on behind their last answer; not polled
        self._held = Room(HOLD_S, HOLD_GRAIN_S)  # those that are turned away, in a moment
        self._queued = Room(self._queue_s)  # whole heads for which there is no thread; not polled
        self._rooms = (self._idle, self._heads, self._closing, self._unheard, self._held, self._queued)
        self._door = Door(self.app.service, self.app.render_problem)
        self._in_flight = 0
        self._in_turn_until = 0.0  # until then, who waited in line is let in no faster than is served
        self._took_one = False  # a new connection, at this turn
        self._full_until = 0.0  # while every thread is busy: from here on connections are taken again, to be refused
        self._stop_ats = [math.inf]  # only appended to: a signal's handler may run in the middle of anything

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def init_signals(self) -> None:
        """Handlers are there: let in what Arbiter.spawn_worker held back."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [*self.SIGNALS, signal.SIGTTIN, signal.SIGTTOU])

    def run(self) -> None:
        """Serve until told to stop, finish, and have the service write what is left."""
        sources = {self.method_queue.fileno(): self.method_queue.run_callbacks,
                   self.PIPE[0]: self._signalled, self.lifeline: self._orphaned}  # fmt: skip
        for descriptor, callback in sources.items():
            self.poller.register(descriptor, selectors.EVENT_READ, callback)
        try:
            self._in_turn_until = time.monotonic() + _IN_TURN_S
            while self.alive:
                self._make_room()
                self._turn()
            self.app.service.begin_stop()
            self._drain()
        finally:
            self.app.service.stop()

    def _turn(self) -> None:
        """One wait, for ever if nothing can expire."""
        deadlines = [room.next_deadline() for room in self._rooms]
        known = [deadline for deadline in deadlines if deadline is not None]
        if not self.alive:
            known.extend(self._stop_ats)
        elif not self._accepting:
            known += [until for until in (self._full_until, self._in_turn_until) if until > time.monotonic()]
        self._took_one = False
        self.wait_for_and_dispatch_events(max(0.0, min(known) - time.monotonic()) if known else None)
        if self._accepting and not self._took_one:
            self._in_turn_until = 0.0  # nobody waits in line any more
        self._expire(time.monotonic())

    def _drain(self) -> None:
        self.set_accept_enabled(False)
        for room in (self._idle, self._heads, self._closing, self._unheard):
            room.hurry(_STOP_LINGER_S, time.monotonic())
        while self.nr_conns > 0 and time.monotonic() < min(self._stop_ats):
            self._turn()

    def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ARG002 - a signal handler's signature
        """SIGTERM: from the arbiter, which may be stopping (then the lifeline says so) or replacing this worker."""
        self._stop_within(_RELOAD_DRAIN_S)

    def handle_quit(self, sig: int, frame: Any) -> None:  # noqa: ARG002 - a signal handler's signature
        """SIGQUIT, SIGINT: gunicorn raises SystemExit wherever the loop is; here it ends at its next turn."""
        self._stop_within(0)

    def _orphaned(self, descriptor: int) -> None:
        self.poller.unregister(descriptor)
        self._stop_within(self.app.settings.drain_ms / 1000)

    def _stop_within(self, seconds: float) -> None:
        self.alive = False
        self._stop_ats.append(time.monotonic() + seconds)

    def _signalled(self, descriptor: int) -> None:
        """A signal's byte: without it, one that lands just before the poll would wait for the next event."""
        with contextlib.suppress(BlockingIOError):
            os.read(descriptor, 4096)

    # ── connections, in the loop ────────────────────────────────────────────────────────────────────────────────────

    def _make_room(self) -> None:
        """Take connections while there are threads to serve them, or when it is time to refuse some.

        Who waited in line while PiCloud was started again is no flood, and would be refused as one if all came at once.
        """
        if self.nr_conns >= self.worker_connections and (longest := self._idle.first() or self._heads.first()):
            self._drop(longest)
        if time.monotonic() < self._in_turn_until:
            free = self._in_flight < math.ceil(_IN_TURN / self.cfg.workers)
        else:
            free = self._in_flight < self.cfg.threads or time.monotonic() >= self._full_until
        self.set_accept_enabled(free and self.nr_conns < self.worker_connections)

    def accept(self, listener: Any) -> None:
        """Take one connection: the other workers were woken, too."""
        try:
            sock, peer = listener.accept()
        except OSError as error:
            self._accept_failed(error)
            return
        self.nr_conns += 1
        self._took_one = True
        sock.setblocking(False)
        self._read(Connection(self.cfg, sock, peer, listener.getsockname()))

    def _accept_failed(self, error: OSError) -> None:
        """gunicorn's worker dies of it. Running out of files, keep to as many connections as there are."""
        if error.errno not in _EXHAUSTED:
            return  # the client left, or another worker was faster
        if not self.nr_conns:
            raise error
        self.worker_connections = self.nr_conns
        self.log.warning("%s: from now on at most %d connections", error.strerror, self.nr_conns)

    def _on_readable(self, connection: Connection, _sock: socket.socket) -> None:
        if connection.room is self._closing:
            self._discard(connection)
        elif connection.room is self._held:  # it goes on talking, or leaves
            self._turn_away(connection, hurry=True)
        elif connection.room is not None:
            self._read(connection)

    def _read(self, connection: Connection) -> None:
        """Take what came of a head."""
        try:
            data = connection.sock.recv(_READ_BYTES)
        except BlockingIOError:
            self._wait_in(connection.room or self._heads, connection)
        except OSError:
            self._drop(connection)
        else:
            if not data:
                self._drop(connection)
            else:
                self._go_on(connection, connection.receive(data))

    def _go_on(self, connection: Connection, decided: bool) -> None:
        if decided and (error := connection.too_long()):
            self._refuse(connection, *judge(error))
        elif decided:
            if not self._refused(connection):
                self._leave_poller(connection)
                self._start(connection)
        else:
            self._wait_in(self._heads if connection.head else self._idle, connection)

    def _wait_in(self, room: Room, connection: Connection) -> None:
        if connection.room is room:
            return
        if connection.room is None:
            self.poller.register(connection.sock, selectors.EVENT_READ, partial(self._on_readable, connection))
        else:
            connection.room.remove(connection)
        room.add(connection, time.monotonic())

    def _leave_poller(self, connection: Connection) -> None:
        if connection.room is not None:
            connection.room.remove(connection)
            self.poller.unregister(connection.sock)

    def _start(self, connection: Connection) -> None:
        """Hand a whole head to a thread, or let it queue for one."""
        if self._in_flight >= self.cfg.threads:
            self._queued.add(connection, time.monotonic())
            return
        self._in_flight += 1
        if self._in_flight == self.cfg.threads:
            self._full_until = time.monotonic() + self._queue_s
        self.enqueue_req(connection)

    def finish_request(self, connection: Connection, fs: Any) -> None:
        """Back from a thread."""
        self._in_flight -= 1
        while (longest := self._queued.first()) and self._in_flight < self.cfg.threads:
            self._queued.remove(longest)
            if not self._refused(longest):
                self._start(longest)
        if fs.exception() is None and fs.result():
            connection.sock.setblocking(False)
            self._go_on(connection, connection.rewind())
        else:
            self._close(connection)

    def _refused(self, connection: Connection) -> bool:
        """Whether the service refuses it before it takes a thread. It hears of it a moment later, from `_turn_away`."""
        refusal = self._door.refusal(connection.head, connection.client[0] if connection.client else "")
        if refusal is None:
            return False
        connection.refusal = refusal
        connection.head.clear()
        self._wait_in(self._held, connection)
        return True

    def _turn_away(self, connection: Connection, *, hurry: bool = False) -> None:
        if not self._say(connection, connection.refusal.text):
            self._drop(connection)
        elif connection.refusal.keeps_alive and self.alive and not hurry:
            self._wait_in(self._idle, connection)
        else:
            self._close(connection)

    def _say(self, connection: Connection, text: bytes) -> bool:
        try:
            return connection.sock.send(text, socket.MSG_DONTWAIT) == len(text)
        except OSError:
            return False

    def _refuse(self, connection: Connection, status: int, detail: str) -> None:
        self._say(connection, answer(self.app.render_problem, status, detail))
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        """End our side, and read on until the client ends its own."""
        try:
            connection.sock.shutdown(socket.SHUT_WR)
            connection.sock.setblocking(False)
        except OSError:
            self._drop(connection)
        else:
            self._discard(connection)

    def _discard(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(_READ_BYTES)
        except BlockingIOError:
            self._wait_in(self._closing, connection)
            return
        except OSError:
            data = b""
        connection.surplus_bytes += len(data)
        if not data:
            self._drop(connection)
        elif connection.surplus_bytes < REST_BYTES_MAX:
            self._wait_in(self._closing, connection)
        else:  # closed, it would fail to send before it finds its answer: it is stopped instead, and looks
            self._leave_poller(connection)
            self._unheard.add(connection, time.monotonic())

    def _drop(self, connection: Connection) -> None:
        self._leave_poller(connection)
        connection.sock.close()
        self.nr_conns -= 1

    def _expire(self, now: float) -> None:
        for connection in [*self._idle.overdue(now), *self._closing.overdue(now)]:
            self._drop(connection)
        for connection in self._unheard.overdue(now):
            self._unheard.remove(connection)
            self._drop(connection)
        for connection in self._held.overdue(now):
            self._turn_away(connection)
        for connection in self._heads.overdue(now):
            if connection.head:
                self._refuse(connection, 408, "the request's head did not come to its end in time")
            else:
                self._drop(connection)
        for connection in self._queued.overdue(now):
            self._queued.remove(connection)
            self._refuse(connection, 503, "every thread is busy; try again in a moment")
