"""The Lua of one sandbox: an `Engine` is made before fork and lock-down, used once, and never closed.

Owns: the Lua runtime, its memory limit, and what comes in and goes out. What scripts see is in `prelude/*.lua`, what
Lua may ask of Python in `host.py`. Knows nothing of sockets, frames, seccomp or processes. The only home of lupa.

The trust boundary: no Python object is reachable from a script. One function, `Host.__call__`, is an upvalue of one
closure in `prelude/host.lua`; bytes, numbers, booleans and None cross, nothing else. ``encoding=None`` makes every Lua
string `bytes`: lossless, and no codec is involved.

After lock-down `compile` and `run` may only compute and allocate: no import, no file, no codec, no traceback.
"""

from __future__ import annotations

import os

from lupa import lua54

from sandbox.host import Host
from sandbox.protocol import ANSWER, ENDED, FINAL_ANSWER, MEMORY_LIMIT, RESPONSE, SYNTAX_ERROR

TYPE_CHECKING = False  # importing typing would cost each fork
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sandbox.host import BeginStream, CallHost

_PRELUDE = (  # each file sees those before it
    *("host", "fault", "remote", "json", "base64", "html", "url", "zones", "time", "crypto", "jwt", "template"),
    *("log", "kv", "events", "schedule", "secrets", "http", "invoke", "jobs", "stream"),
    *("request", "response", "environment", "bundle", "after", "main"),
)
_BODY = 8  # the body's place in a request (sandbox/protocol.py)
_REQUEST_SHARE = 4  # a request body may be a quarter of the memory limit: pushing it is not protected by the limit


def _nobody(*_: object) -> None:
    """Who does not stream: nothing is sent."""


class Result:
    """What a script answered: ``kind`` is one of a RESULT's but COMPILED; headers as name, value, …"""

    __slots__ = ("body", "headers", "kind", "memory_bytes", "status")

    def __init__(self, kind: bytes, status: int, headers: list[bytes], body: bytes, memory_bytes: int) -> None:
        self.kind = kind
        self.status = status
        self.headers = headers
        self.body = body
        self.memory_bytes = memory_bytes  # Lua's heap at the end


class Failure:
    """Why there is no answer; ``file`` is empty and ``line`` 0 where there is no position."""

    __slots__ = ("file", "kind", "line", "memory_bytes", "message", "traceback")

    def __init__(
        self, kind: bytes, message: bytes, traceback: bytes, file: bytes, line: int, memory_bytes: int
    ) -> None:
        self.kind = kind  # one of protocol.py's
        self.message = message
        self.traceback = traceback
        self.file = file
        self.line = line
        self.memory_bytes = memory_bytes  # Lua's heap at the end


class Engine:
    """One Lua runtime with the prelude loaded; good for one `compile` or one `run`.

    ``emit_log(level, message, fields)`` is called as each line is written; fields is a JSON object or empty.
    ``call_host(name, arguments)`` makes a host call and gives the fields of its REPLY.
    ``begin_stream(status, headers)`` begins an answer, and ``emit_chunk(piece)`` is called with each piece of its body.
    """

    def __init__(
        self,
        *,
        emit_log: Callable[[bytes, bytes, bytes], None],
        call_host: CallHost,
        begin_stream: BeginStream = _nobody,
        emit_chunk: Callable[[bytes], None] = _nobody,
    ) -> None:
        self._lua = lua54.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            attribute_handlers=(_refuse, _refuse),
            unpack_returned_tuples=True,
            max_memory=0,  # None would make a later limit impossible
        )
        self._host = Host(self._lua, emit_log, call_host, begin_stream, emit_chunk)
        self._check, self._set_files, self._set_env, self._run, self._warm_up = self._load_prelude()
        self.warm_up()

    def _load_prelude(self) -> tuple[Any, ...]:
        add, seal, exports = self._lua.execute(_source("loader"), self._host)
        for name in _PRELUDE:
            add(name.encode(), _source(name))
        functions: tuple[Any, ...] = exports()
        seal()
        return functions

    def warm_up(self) -> None:
        """Touch what a run will touch; leaves nothing behind.

        The constructor does it for what the C library does once; a child does it again before it waits, which takes
        three quarters of the page faults off its request's path.
        """
        self._host.begin(0, bytes(32))
        self._set_files()
        self._set_env()
        self._conclude(self._warm_up())
        self._host.end()

    def compile(self, files: list[bytes]) -> Failure | None:
        """Compile each Lua file of path, text, path, text, …; run nothing. The first that does not compile, or None."""
        try:
            found = self._check(*files)
        except (MemoryError, lua54.LuaError):  # compiling runs nothing: only memory can fail it
            return self._out_of_memory()
        if found is None:
            return None
        file, line, message = found
        return self._failure(SYNTAX_ERROR, message, b"", file, line)

    def run(
        self, *, files: list[bytes], env: list[bytes], request: list[bytes], limits: Any, seed: bytes
    ) -> Result | Failure:
        """Run ``main.lua``; the lists are laid out as in sandbox/protocol.py.

        ``limits`` has memory_bytes (the whole Lua heap: the prelude's 0.3 MB count), response_bytes, log_bytes,
        host_calls.
        ``seed`` is 32 secret bytes that no other run gets. An exception that is not the script's goes up.
        """
        body_bytes = len(request[_BODY])
        if body_bytes * _REQUEST_SHARE > limits.memory_bytes:
            message = b"the request body has %d bytes, over a quarter of the memory limit of %d"
            return self._failure(MEMORY_LIMIT, message % (body_bytes, limits.memory_bytes))
        self._host.begin(limits.memory_bytes, seed)
        try:
            self._set_files(*files)
            self._set_env(*env)
            flat = self._run(limits.response_bytes, limits.log_bytes, limits.host_calls, *request)
        except MemoryError:  # also lupa's
            return self._out_of_memory()
        finally:
            self._host.end()
        return self._conclude(flat)

    def _conclude(self, flat: tuple[Any, ...]) -> Result | Failure:
        kind = flat[0]
        if kind in (RESPONSE, ANSWER, FINAL_ANSWER, ENDED):
            _, status, body, *headers = flat
            return Result(kind, status, headers, body, self._memory_bytes())
        return self._out_of_memory() if kind == MEMORY_LIMIT else self._failure(*flat)

    def _out_of_memory(self) -> Failure:
        return self._failure(MEMORY_LIMIT, b"not enough memory: the limit is %d bytes" % self._host.memory_bytes)

    def _failure(
        self, kind: bytes, message: bytes, traceback: bytes = b"", file: bytes = b"", line: int = 0
    ) -> Failure:
        return Failure(kind, message, traceback, file, line, self._memory_bytes())

    def _memory_bytes(self) -> int:
        used: int = self._lua.get_memory_used(total=True)
        return used


def _source(name: str) -> bytes:
    with open(os.path.join(os.path.dirname(__file__), "prelude", name + ".lua"), "rb") as source:
        return source.read()


def _refuse(*_: object) -> object:
    raise AttributeError("no Python object has attributes for Lua")
