"""The Lua of one sandbox: an `Engine` is made before fork and lock-down, used once, and never closed.

Owns: the Lua runtime, its memory limit, and the few things that Lua asks of Python (`_Host`). What scripts see is
in `prelude/*.lua`. Knows nothing of sockets, frames, seccomp or processes. The only home of lupa.

The trust boundary: no Python object is reachable from a script. One function, `_Host.__call__`, is an upvalue of one
closure in `prelude/host.lua`; bytes, numbers, booleans and None cross, nothing else. ``encoding=None`` makes every Lua
string `bytes`: lossless, and no codec is involved.

After lock-down `compile` and `run` may only compute and allocate: no import, no file, no codec, no traceback.
"""

from __future__ import annotations

import os
import time

from lupa import lua54

from sandbox.protocol import ANSWER, MEMORY_LIMIT, RESPONSE, SYNTAX_ERROR

try:  # not hashlib: it would map libcrypto, megabytes of it, into every child
    from _sha2 import sha256  # type: ignore[import-not-found, unused-ignore]  # Python 3.12 and later
except ImportError:
    from _sha256 import sha256  # type: ignore[import-not-found, unused-ignore]  # Python 3.11

TYPE_CHECKING = False  # importing typing would cost each fork
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Limits(Protocol):
        """What `Engine.run` needs to know of a script's limits."""

        memory_bytes: int
        response_bytes: int
        log_bytes: int


_PRELUDE = ("host", "fault", "json", "base64", "html", "url", "time", "crypto", "log")
_PRELUDE += ("request", "response", "environment", "bundle", "main")  # each sees those before it

_LOADER = b"""
local modules, load, error = { raw_host = ... }, load, error
return function(name, text)
  local chunk, reason = load(text, "=prelude/" .. name, "t")
  if not chunk then error(reason, 0) end
  modules[name] = chunk(modules)
end, function(name, field) return modules[name][field] end
"""

# What the prelude needs it holds in locals. The real globals go, so that no mistake can hand them out, and Lua's
# tracebacks take function names from the script's own. A full collection under a high pause lets a child run through
# about 1 MB of garbage before its first collection, which would touch (and so copy) every page of the prelude;
# the pause itself is back to normal, so later collections come as usual.
_SEAL = b"""
local env, next, collectgarbage, package, real = ..., next, collectgarbage, package, _G
for name in next, package.loaded do package.loaded[name] = nil end
for name, value in next, env do
  if name ~= "_G" then package.loaded[name] = value end
end
package.loaded._G = env
for name in next, real do real[name] = nil end
collectgarbage() collectgarbage("setpause", 1000) collectgarbage() collectgarbage("setpause", 200)
"""

_BODY = 8  # the body's place in a request (sandbox/protocol.py)
_REQUEST_SHARE = 4  # a request body may be a quarter of the memory limit: pushing it is not protected by the limit
_BLOCK_BYTES = 64  # of SHA-256, for HMAC


class Result:
    """What a script answered: ``kind`` RESPONSE or ANSWER; headers as name, value, name, value, …"""

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
        self, kind: bytes, message: bytes, traceback: bytes = b"", file: bytes = b"", line: int = 0, memory_bytes: int = 0
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
    """

    def __init__(self, *, emit_log: Callable[[bytes, bytes, bytes], None]) -> None:
        self._lua = lua54.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            attribute_handlers=(_refuse, _refuse),
            unpack_returned_tuples=True,
            max_memory=0,  # None would make a later limit impossible
        )
        self._host = _Host(self._lua, emit_log)
        self._check, self._set_files, self._set_env, self._run, self._warm_up = self._load_prelude()
        self.warm_up()

    def _load_prelude(self) -> list[Any]:
        load, export = self._lua.execute(_LOADER, self._host)
        folder = os.path.join(os.path.dirname(__file__), "prelude")
        for name in _PRELUDE:
            with open(os.path.join(folder, name + ".lua"), "rb") as source:
                load(name.encode(), source.read())
        functions = [export(b"main", name) for name in (b"check", b"set_files", b"set_env", b"run", b"warm_up")]
        self._lua.execute(_SEAL, export(b"environment", b"env"))
        return functions

    def warm_up(self) -> None:
        """Touch what a run will touch; leaves nothing behind.

        The constructor does it for what the C library does once. A child that does it again before it waits takes
        the page faults off its request's path.
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
        except MemoryError:
            return self._out_of_memory()
        if found is None:
            return None
        file, line, message = found
        return Failure(SYNTAX_ERROR, message, b"", file, line, self._memory_bytes())

    def run(self, *, files: list[bytes], env: list[bytes], request: list[bytes], limits: Limits, seed: bytes) -> Result | Failure:
        """Run ``main.lua``; the lists are laid out as in sandbox/protocol.py.

        ``limits.memory_bytes`` bounds the whole Lua heap: the prelude (about 0.3 MB) and the request count.
        ``seed`` is 32 secret bytes that no other run gets. An exception that is not the script's goes up.
        """
        body_bytes = len(request[_BODY])
        if body_bytes * _REQUEST_SHARE > limits.memory_bytes:
            message = b"the request body has %d bytes, over a quarter of the memory limit of %d"
            return Failure(MEMORY_LIMIT, message % (body_bytes, limits.memory_bytes), b"", b"", 0, self._memory_bytes())
        self._host.begin(limits.memory_bytes, seed)
        try:
            self._set_files(*files)
            self._set_env(*env)
            flat = self._run(limits.response_bytes, limits.log_bytes, *request)
        except MemoryError:  # also lupa's
            return self._out_of_memory()
        finally:
            self._host.end()
        return self._conclude(flat)

    def _conclude(self, flat: tuple[Any, ...]) -> Result | Failure:
        kind = flat[0]
        if kind in (RESPONSE, ANSWER):
            _, status, body, *headers = flat
            return Result(kind, status, headers, body, self._memory_bytes())
        _, message, traceback, file, line = flat
        if kind == MEMORY_LIMIT:
            return self._out_of_memory()
        return Failure(kind, message, traceback, file, line, self._memory_bytes())

    def _out_of_memory(self) -> Failure:
        message = b"not enough memory: the limit is %d bytes" % self._host.memory_bytes
        return Failure(MEMORY_LIMIT, message, b"", b"", 0, self._memory_bytes())

    def _memory_bytes(self) -> int:
        used: int = self._lua.get_memory_used(total=True)
        return used


class _Host:
    """What the prelude can ask for. Never raises into Lua: an exception there would be a Python object in a script's hands.

    Answers are pairs (done, value): done is None if memory ran out, False if the operation failed. The first failure
    is kept, and raised when Lua is done.
    """

    def __init__(self, lua: Any, emit_log: Callable[[bytes, bytes, bytes], None]) -> None:
        self.memory_bytes = 0  # 0 is no limit
        self._set_max_memory = lua.set_max_memory
        self._emit_log = emit_log
        self._random = _Random(bytes(32))
        self._broken: BaseException | None = None
        self._operations: dict[bytes, Callable[..., object]] = {
            b"limit": self._limit,
            b"lift": self._lift,
            b"log": self._log,
            b"now": time.time,
            b"seed": self._seed,
            b"random": self._random_bytes,
            b"sha256": self._sha256,
            b"hmac_sha256": self._hmac_sha256,
        }

    def begin(self, memory_bytes: int, seed: bytes) -> None:
        """Before a run: its limit (not in force yet) and its randomness."""
        self.memory_bytes = memory_bytes
        self._random = _Random(seed)

    def end(self) -> None:
        """After a run: the limit is off, and what went wrong in Python meanwhile goes up."""
        self._lift()
        if self._broken is not None:
            raise self._broken

    def __call__(self, operation: bytes, *arguments: Any) -> tuple[bool | None, object]:
        """Do what Lua asks."""
        try:
            return True, self._operations[operation](*arguments)
        except MemoryError:
            self._limit()
            return None, None
        except BaseException as problem:  # noqa: BLE001: lupa would hand it to the script
            self._broken = self._broken or problem
            self._limit()
            return False, None

    def _limit(self) -> None:
        self._set_max_memory(self.memory_bytes, True)

    def _lift(self) -> None:
        self._set_max_memory(0)

    def _log(self, level: bytes, message: bytes, fields: bytes) -> None:
        self._emit_log(level, message, fields)

    def _seed(self) -> int:
        return int.from_bytes(self._random.take(8), "little", signed=True)

    # The answers below are bytes: lupa pushes them outside of any protected call, where the limit would abort the
    # process. So the limit is lifted first, and Lua asks for it again (`ask` in prelude/host.lua).

    def _random_bytes(self, count: int) -> bytes:
        self._lift()
        return self._random.take(count)

    def _sha256(self, text: bytes) -> bytes:
        self._lift()
        return _hex(sha256(text).digest())

    def _hmac_sha256(self, key: bytes, text: bytes) -> bytes:
        self._lift()
        if len(key) > _BLOCK_BYTES:
            key = sha256(key).digest()
        key = key.ljust(_BLOCK_BYTES, b"\0")
        inner = sha256(key.translate(_INNER) + text).digest()
        return _hex(sha256(key.translate(_OUTER) + inner).digest())


class _Random:
    """Bytes that nobody without the 32-byte seed can tell: SHA-256 in counter mode."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._counter = 0

    def take(self, count: int) -> bytes:
        blocks = []
        for _ in range(-(-count // 32)):
            blocks.append(sha256(self._seed + self._counter.to_bytes(8, "little")).digest())
            self._counter += 1
        return b"".join(blocks)[:count]


_INNER = bytes(value ^ 0x36 for value in range(256))
_OUTER = bytes(value ^ 0x5C for value in range(256))
_DIGITS = b"0123456789abcdef"


def _hex(digest: bytes) -> bytes:
    """`bytes.hex` as bytes: no codec."""
    return bytes([_DIGITS[half] for byte in digest for half in (byte >> 4, byte & 15)])


def _refuse(*_: object) -> object:
    raise AttributeError("no Python object has attributes for Lua")
