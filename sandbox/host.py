"""What Lua may ask of Python: hashes, random bytes, the time, a log line, a host call, a piece of an answer,
its own memory limit.

Owns: the one Python object that Lua holds, and how they cross: bytes, numbers and None both ways, never an exception.
Knows nothing of scripts; `prelude/host.lua` is its other end.
"""

from __future__ import annotations

import time

try:  # not hashlib: it would map libcrypto, megabytes of it, into every child
    from _sha2 import sha256, sha512  # type: ignore[import-not-found, unused-ignore]  # Python 3.12 and later
except ImportError:
    from _sha256 import sha256  # type: ignore[import-not-found, unused-ignore]  # Python 3.11
    from _sha512 import sha512  # type: ignore[import-not-found, unused-ignore]

from sandbox.protocol import DONE

TYPE_CHECKING = False  # importing typing would cost each fork
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    CallHost = Callable[[bytes, tuple[bytes, ...]], list[bytes]]
    BeginStream = Callable[[bytes, tuple[bytes, ...]], None]


class Host:
    """What the prelude can ask for. Never raises into Lua: it would be a Python object in a script's hands.

    Answers are (done, value): done is None if memory ran out, False if the operation failed; that is raised at the end.
    """

    def __init__(
        self,
        lua: Any,
        emit_log: Callable[[bytes, bytes, bytes], None],
        call_host: CallHost,
        begin_stream: BeginStream,
        emit_chunk: Callable[[bytes], None],
    ) -> None:
        self.memory_bytes = 0  # 0 is no limit
        self._lua = lua
        self._set_max_memory = lua.set_max_memory
        self._call_host = call_host
        self._begin_stream = begin_stream
        self._seed_bytes, self._blocks_taken = b"", 0
        self._reply: list[bytes] = []  # values of the last host call that Lua has not taken, in reverse
        self._broken: BaseException | None = None
        self._operations: dict[bytes, Callable[..., object]] = {
            b"limit": self._limit,
            b"lift": self._lift,
            b"room": self._room,
            b"log": emit_log,
            b"now": time.time,
            b"seed": self._seed,
            b"random": self._random_bytes,
            b"sha256": self._sha256,
            b"sha512": self._sha512,
            b"hmac_sha256": self._hmac_sha256,
            b"hmac_sha512": self._hmac_sha512,
            b"remote": self._remote,
            b"reply": self._next_of_reply,
            b"begin": self._begin,
            b"chunk": emit_chunk,
        }

    def begin(self, memory_bytes: int, seed: bytes) -> None:
        """Before a run: its limit (not in force yet) and its randomness."""
        self.memory_bytes = memory_bytes
        self._seed_bytes, self._blocks_taken = seed, 0

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
        except BaseException as problem:  # noqa: BLE001 - lupa would hand it to the script
            self._broken = self._broken or problem
            self._limit()
            return False, None

    def _limit(self) -> None:
        self._set_max_memory(self.memory_bytes, True)

    def _lift(self) -> None:
        self._set_max_memory(0)

    def _seed(self) -> int:
        return int.from_bytes(self._take(8), "little", signed=True)

    def _take(self, count: int) -> bytes:
        """SHA-256 in counter mode: nobody without the seed can tell these bytes, and Lua never sees it."""
        blocks = []
        for _ in range(-(-count // 32)):
            blocks.append(sha256(self._seed_bytes + self._blocks_taken.to_bytes(8, "little")).digest())
            self._blocks_taken += 1
        return b"".join(blocks)[:count]

    # Answers of bytes: lupa pushes them outside of any protected call, where the limit would abort the process.
    # So the limit is lifted first, and Lua asks for it again (`ask` in prelude/host.lua).

    def _with_room(self, answer: bytes) -> bytes:
        """Lift the limit for an answer that fits under it; MemoryError for one that does not."""
        self._room(len(answer))
        self._lift()
        return answer

    def _room(self, count: int) -> None:
        """MemoryError if so many bytes more, Lua's or a copy of ours, are over the limit; garbage is not counted."""
        if self.memory_bytes and not self._fits(count):
            self._lua.gccollect()
            if not self._fits(count):
                raise MemoryError

    def _fits(self, count: int) -> bool:
        used: int = self._lua.get_memory_used(total=True)
        return used + count <= self.memory_bytes

    def _random_bytes(self, count: int) -> bytes:
        return self._with_room(self._take(count))

    def _remote(self, name: bytes, *arguments: bytes) -> int:
        """A host call: how many values its reply has; -1 if it was refused, and the one value is why."""
        kind, *values = self._call_host(name, arguments)
        self._reply = values[::-1]
        return len(values) if kind == DONE else -1

    def _next_of_reply(self) -> bytes:
        return self._with_room(self._reply.pop())

    def _begin(self, status: int, *headers: bytes) -> None:
        self._begin_stream(b"%d" % status, headers)

    def _sha256(self, text: bytes) -> bytes:
        return self._with_room(sha256(text).digest())

    def _sha512(self, text: bytes) -> bytes:
        return self._with_room(sha512(text).digest())

    def _hmac_sha256(self, key: bytes, text: bytes) -> bytes:
        return self._with_room(_hmac(sha256, key, text))

    def _hmac_sha512(self, key: bytes, text: bytes) -> bytes:
        return self._with_room(_hmac(sha512, key, text))


_INNER = bytes(value ^ 0x36 for value in range(256))
_OUTER = bytes(value ^ 0x5C for value in range(256))


def _hmac(hashed: Callable[[bytes], Any], key: bytes, text: bytes) -> bytes:
    """RFC 2104; the hash knows how long its blocks are."""
    block_bytes = hashed(b"").block_size
    if len(key) > block_bytes:
        key = hashed(key).digest()
    key = key.ljust(block_bytes, b"\0")
    digest: bytes = hashed(key.translate(_OUTER) + hashed(key.translate(_INNER) + text).digest()).digest()
    return digest
