"""The forker: warms up once, locks itself down once, then forks sandboxes and buries them.

Owns: processes and descriptors of the pool. Decides nothing (`sandbox.pool` does) and reads no byte of a script.

    supervisor ──exec, empty environment──> zygote ──fork──> init (PID 1 of the namespace: reaps, waits)
                                              └───fork──> sandbox, sandbox, …

One batch of events is handled in this order, because descriptor numbers are reused:

1. hang-ups: forget and kill; nothing is opened or closed, so that no number in the batch changes its meaning.
   Only then is told how many sandboxes there are to who asks, and are callers let in that say that their scripts wait
   for the world outside (`sandbox.parking`).
   Who comes to the reserve (`sandbox.reserve`) is not let in here: a child will accept it.
2. notifications, until there is none: a child has accepted, here is a duplicate of its connection. The kernel says
   whose message it is (SCM_CREDENTIALS, translated to our pid namespace); no number from a child is believed.
3. deaths, until there is none. One in a hundred children ends before its notification was read: an unknown pid means
   looking at the notifications once more. Whose caller is still there gets last words, after a clean exit too: a caller
   that has an answer is gone or does not read them, one that has none learns why, and their absence means that we died.
4. refill, one fork at a time, looking at new events between two; first for who came to the reserve. A zygote that was
   told to retire (`sandbox.retiring`) forks for those alone, whose callers are scripts that still run.
"""

from __future__ import annotations

import _socket
import gc
import os
import select
import signal
import sys
import time

import prctl

from sandbox import child
from sandbox.descriptors import STATUS, open_sockets, signal_descriptor, signal_numbers
from sandbox.lockdown import lock_down
from sandbox.lua import Engine
from sandbox.notices import last_words, sender_and_descriptors
from sandbox.options import Options
from sandbox.parking import Parking
from sandbox.pool import Pool
from sandbox.probe import prove, report
from sandbox.reserve import Reserve
from sandbox.retiring import dismiss

TYPE_CHECKING = False  # importing typing would cost each fork
if TYPE_CHECKING:
    from resource import struct_rusage
    from typing import Any

EXIT_UNPROTECTED = 78  # EX_CONFIG: a required layer is missing
_NOTIFICATION_BYTES, _ANCILLARY_BYTES = 1, 64  # room for one descriptor and one struct ucred


def main(words: list[str]) -> int:
    """Serve until killed; the exit status says why it could not."""
    options = Options(words)
    listener, notify, ours, parking, reserve = open_sockets(options)
    signals = signal_descriptor()
    engine = _warm_engine()
    template = child.Child(engine, listener, notify, options.cpu_seconds_max)
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection would write to pages that the children share
    children_max = options.most + options.parked + options.reserved
    locked = lock_down(options.uid, options.gid, options.supervisor, options.memory_bytes_max, children_max)
    init = prove(locked, template.filter, options.cpu_seconds_max)
    report(locked.layers, STATUS)
    if not locked.sufficient:
        return EXIT_UNPROTECTED
    if init:
        template.parent = 0  # who looks out of a pid namespace sees no number
    prctl.set_name("picloud-zygote")
    epoll = select.epoll()
    callers = Callers(Parking(parking, epoll, options.parked), Reserve(reserve, epoll))
    pool = Pool(options.spare, options.most, options.reserved)
    return Zygote(pool, template, epoll, callers, ours, signals, init).serve()


class Callers:
    """Where callers come beside the listening socket of the pool."""

    def __init__(self, parking: Parking, reserve: Reserve) -> None:
        self.parking = parking
        self.reserve = reserve


class Zygote:
    """The thin loop under the pool's decisions."""

    def __init__(
        self,
        pool: Pool,
        template: child.Child,
        epoll: select.epoll,
        callers: Callers,
        notices: Any,
        signals: int,
        init: int,
    ) -> None:
        self.pool = pool
        self.template = template
        self.notices = notices  # our end of the notify socket
        self.signals = signals  # a signalfd
        self.init = init
        self.epoll = epoll
        self.parking, self.reserve = callers.parking, callers.reserve
        self.epoll.register(notices.fileno(), select.EPOLLIN)
        self.epoll.register(signals, select.EPOLLIN)
        self.own = (notices.fileno(), signals, self.parking.number, self.reserve.number)
        self.ready = self.is_retiring = False

    def serve(self) -> int:
        """Handle events until it is told to retire; returns an exit status then, or when it cannot go on."""
        while not self.pool.failing:
            if self.is_retiring and not self.pool.alive:
                return 0
            is_done = self.is_retiring and not self.pool.serves
            wanting = self.pool.wants()
            if is_done:
                self._dismiss([self.pool.called] if self.pool.called else [])
            elif self.pool.lends():
                self.reserve.watch()
            if not wanting and not self.ready:
                self._tell_ready()
            events = self.epoll.poll(0 if wanting else -1)
            self._bury_callers(events)
            self._count_parked(events)
            self._read_notifications()
            if any(number == self.signals for number, _ in events) and not self._heed_signals():
                return _fail("the init of the pid namespace died")
            lending = self.reserve.is_called(events)
            if (lending or self.pool.wants()) and not self._fork(lending):
                return _fail("no more sandboxes can be forked: memory is short, or the init of the pid namespace died")
        return _fail("sandboxes die before they can accept")

    def _tell_ready(self) -> None:
        self.ready = True
        os.write(STATUS, b"ready\n")
        os.close(STATUS)

    def _bury_callers(self, events: list[tuple[int, int]]) -> None:
        gone = [number for number, what in events if number not in self.own and what != select.EPOLLIN]
        for connection in gone:
            pid = self.pool.hung_up(connection)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        for connection in gone:  # only now: a close frees the number
            self.parking.left(connection)
            self.epoll.unregister(connection)
            os.close(connection)

    def _count_parked(self, events: list[tuple[int, int]]) -> None:
        asking = self.parking.asking(events)
        self.pool.parked = len(self.parking)
        if asking:
            self.parking.tell(asking, self.pool.counts())
        if any(number == self.parking.number for number, _ in events):
            self.parking.admit()
            self.pool.parked = len(self.parking)

    def _read_notifications(self) -> None:
        while True:
            try:
                _, extras, _, _ = self.notices.recvmsg(
                    _NOTIFICATION_BYTES, _ANCILLARY_BYTES, _socket.MSG_DONTWAIT | _socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            self._accepted(*sender_and_descriptors(extras))

    def _accepted(self, pid: int, descriptors: list[int]) -> None:
        if len(descriptors) == 1 and self.pool.accepted(pid, descriptors[0]):
            # a caller that has left already is reported by the next poll: registration is level-triggered
            self.epoll.register(descriptors[0], select.EPOLLRDHUP)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        if self.pool.waits(pid) or pid in self.pool.busy:  # it does not do what ours do
            os.kill(pid, signal.SIGKILL)

    def _heed_signals(self) -> bool:
        numbers = signal_numbers(self.signals)
        if not self._reap():
            return False
        if signal.SIGTERM in numbers and not self.is_retiring:
            self.is_retiring = True
            self.parking.close()  # whoever parks from now on is the next zygote's to count
            self._dismiss(self.pool.retire())
        return True

    def _dismiss(self, waiting: list[int]) -> None:
        dismiss(self.pool, waiting, self._read_notifications)

    def _reap(self) -> bool:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return not self.init
            if pid == 0:
                return True
            if pid == self.init:
                return False
            if not self.pool.knows(pid):
                self._read_notifications()
            connection = self.pool.died(pid)
            if connection is not None:
                self._part(connection, status, usage)

    def _part(self, connection: int, status: int, usage: struct_rusage) -> None:
        self.epoll.unregister(connection)
        last_words(connection, status, usage)
        os.close(connection)

    def _fork(self, lending: bool) -> bool:
        try:
            pid = os.fork()
        except OSError:
            return False  # the next zygote is in a namespace of its own
        if pid == 0:
            self.template.live(self.reserve.number if lending else None)
        if lending:
            self.pool.forked_to_lend(pid)
        else:
            self.pool.forked(pid)
        return True


def _warm_engine() -> Engine:
    """Everything that a run needs, read and used once: after landlock and seccomp nothing can be loaded."""
    os.environ["TZ"] = "UTC0"
    time.tzset()
    engine = Engine(
        emit_log=child.emit_log,
        call_host=child.call_host,
        begin_stream=child.begin_stream,
        emit_chunk=child.emit_chunk,
    )
    engine.compile([b"main.lua", b"return os.date()"])
    return engine


def _fail(message: str) -> int:
    sys.stderr.write(f"zygote: {message}\n")
    return 1
