"""One sandbox: accept once, run once, exit.

Owns: what a child does between fork and exit. Knows nothing of Lua (`sandbox.lua` does) and of other children.
Everything until `accept` happens off the critical path; what comes in is one REQUEST, and a REPLY to each CALL or
STREAM.
Exits 0 after an answer or when the caller has gone; any other end is a crash, of which the zygote tells the caller.
"""

from __future__ import annotations

import os
import time

import prctl

from sandbox import clock, limits, protocol, seccomp
from sandbox.lua import Failure

_SIGKILL = 9
TYPE_CHECKING = False  # importing typing would cost each fork
if TYPE_CHECKING:
    from typing import Any

    from sandbox.lua import Engine, Result

_READ_BYTES = protocol.FRAME_BYTES_MAX
_RIGHTS = [(1, 1, seccomp.CONNECTION.to_bytes(4, "little"))]  # (SOL_SOCKET, SCM_RIGHTS, the connection)
_ACCEPTED = protocol.ACCEPTED + b"\0"
_OUT_OF_MEMORY = protocol.frames(
    protocol.FAILURE,
    protocol.pack(protocol.MEMORY_LIMIT, b"out of memory beside the script's own", b"", b"", b"0", b"0", b"0"),
)[0]
_EXIT_BAD_MESSAGE, _EXIT_FAULT = 65, 70  # EX_DATAERR, EX_SOFTWARE


class Limits:
    """What a script may use, as the request says."""

    __slots__ = ("cpu_ms", "host_calls", "log_bytes", "memory_bytes", "response_bytes")

    def __init__(self, fields: list[bytes]) -> None:
        self.cpu_ms, self.memory_bytes, self.response_bytes, self.log_bytes, self.host_calls = map(int, fields)


class Child:
    """All that a child needs, made in the zygote before the fork."""

    def __init__(self, engine: Engine, listener: Any, notify: Any, cpu_seconds_max: int) -> None:
        self.engine = engine
        self.listener = listener  # a `_socket.socket` on LISTENER
        self.notify = notify  # one on NOTIFY
        self.cpu_seconds_max = cpu_seconds_max
        self.filter = seccomp.Filter()
        self.parent = os.getpid()  # as a child sees it: 0 from inside a pid namespace

    def live(self, listener: int | None = None) -> None:
        """From fork to exit; never returns. ``listener``: a descriptor to accept on instead of LISTENER's."""
        try:
            self._confine(listener)
            self._serve()
        except OSError:  # the caller has gone
            os._exit(0)
        except BaseException:  # noqa: BLE001 - nothing may reach the zygote's loop, whose copy this is
            os._exit(_EXIT_FAULT)
        os._exit(0)

    def _confine(self, listener: int | None) -> None:
        try:
            prctl.set_pdeathsig(_SIGKILL)
            prctl.set_name("picloud-sandbox")
            if os.getppid() != self.parent:  # it died before that line
                os._exit(_EXIT_FAULT)
            if listener is not None:
                os.dup2(listener, seccomp.LISTENER, inheritable=False)
            os.closerange(0, 3)
            os.closerange(5, 1 << 20)  # duplicates of other requests' connections among them
            self._warm_up()
            limits.limit_child(self.cpu_seconds_max)
            self.filter.install()
        except BaseException:  # noqa: BLE001 - unconfined it must not serve
            os._exit(_EXIT_FAULT)

    def _warm_up(self) -> None:
        """Touch the pages that a run touches while nobody waits for it: copied here, not under the caller's clock."""
        self.engine.warm_up()
        protocol.unpack(protocol.pack(b"", b""))

    def _serve(self) -> None:
        self.listener._accept()
        self.notify.sendmsg((b".",), _RIGHTS)
        os.close(seccomp.LISTENER)
        os.close(seccomp.NOTIFY)
        os.write(seccomp.CONNECTION, _ACCEPTED)
        try:
            answer(self.engine, _read_message(protocol.REQUEST))
        except MemoryError:  # of the copies beside Lua's heap; the interpreter still has the little that this takes
            os.write(seccomp.CONNECTION, _OUT_OF_MEMORY)


def answer(engine: Engine, payload: bytes) -> None:
    """Run one request and write its RESULT or FAILURE."""
    mode, budget, seed, files, env, packed = protocol.unpack(payload)
    request = protocol.unpack(packed)
    del payload, packed  # so that the script runs beside one copy of its request's body, not three
    allowed = Limits(protocol.unpack(budget))
    clock.start(allowed.cpu_ms)
    before = time.thread_time_ns()  # the process's clock moves by ticks once a timer runs on it
    if mode == protocol.MODE_COMPILE:
        outcome: Result | Failure | None = engine.compile(protocol.unpack(files))
    else:
        outcome = engine.run(
            files=protocol.unpack(files),
            env=protocol.unpack(env),
            request=request,
            limits=allowed,
            seed=seed,
        )
    cpu_us = b"%d" % ((time.thread_time_ns() - before) // 1000)
    tag, fields = _spelled(outcome, cpu_us)
    send(tag, *fields)


def send(tag: bytes, *fields: bytes) -> None:
    """Write one message to the caller."""
    for frame in protocol.cut(tag, fields):
        os.write(seccomp.CONNECTION, frame)


def emit_log(level: bytes, message: bytes, fields_json: bytes) -> None:
    """Write one log line to the caller now, so that a kill loses none."""
    send(protocol.LOG, level, message, fields_json)


def call_host(name: bytes, arguments: tuple[bytes, ...]) -> list[bytes]:
    """Ask the caller to do what only the trusted side can → the fields of its REPLY."""
    send(protocol.CALL, name, *arguments)
    return protocol.unpack(_read_message(protocol.REPLY))


def begin_stream(status: bytes, headers: tuple[bytes, ...]) -> None:
    """Begin an answer whose body is made while it is sent; returns once what the script did is committed."""
    send(protocol.STREAM, status, protocol.pack(*headers))
    _read_message(protocol.REPLY)


def emit_chunk(piece: bytes) -> None:
    """Write the next piece of the body, which fits into a frame; waits while the caller does not take it."""
    os.write(seccomp.CONNECTION, protocol.CHUNK + b"\0" + piece)


def _spelled(outcome: Result | Failure | None, cpu_us: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    if outcome is None:
        return protocol.RESULT, (protocol.COMPILED, b"200", b"", b"", cpu_us, b"0")
    memory = b"%d" % outcome.memory_bytes
    if isinstance(outcome, Failure):
        line = b"%d" % outcome.line
        return protocol.FAILURE, (outcome.kind, outcome.message, outcome.traceback, outcome.file, line, cpu_us, memory)
    headers = protocol.pack(*outcome.headers)
    return protocol.RESULT, (outcome.kind, b"%d" % outcome.status, headers, outcome.body, cpu_us, memory)


def _read_message(tag: bytes) -> bytes:
    chunks = []
    while True:
        frame = os.read(seccomp.CONNECTION, _READ_BYTES)
        if not frame:
            os._exit(0)  # the caller hung up
        if frame[:1] != tag:
            os._exit(_EXIT_BAD_MESSAGE)
        chunks.append(frame[2:])
        if frame[1:2] == b"\0":
            return b"".join(chunks)
