"""One Lua run in this very process: no fork, no lock-down, logs in a list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from sandbox.lua import Engine, Failure, Result
from sandbox.protocol import REFUSED, pack


@dataclass(frozen=True, slots=True)
class LuaLimits:
    """Limits of a run, small enough to reach."""

    memory_bytes: int = 16 * 1024 * 1024
    response_bytes: int = 1024 * 1024
    log_bytes: int = 64 * 1024
    host_calls: int = 10


@dataclass(frozen=True, slots=True)
class LuaRequest:
    """What `request` is made of."""

    method: bytes = b"GET"
    path: bytes = b"/fn/test/x"
    query: bytes = b""
    host: bytes = b"example.test"
    remote_addr: bytes = b"192.0.2.1"
    id: bytes = b"0190-id"
    trigger: bytes = b"http"
    event: bytes = b""
    body: bytes = b""
    params: dict[bytes, bytes] = field(default_factory=dict)
    headers: dict[bytes, bytes] = field(default_factory=dict)

    def fields(self) -> list[bytes]:
        """As sandbox/protocol.py lays them out."""
        params = pack(*(text for pair in self.params.items() for text in pair))
        headers = pack(*(text for pair in self.headers.items() for text in pair))
        texts = [self.method, self.path, self.query, self.host, self.remote_addr, self.id, self.trigger, self.event]
        return [*texts, self.body, params, headers]


class Line(NamedTuple):
    """A log line as the child would send it."""

    level: bytes
    message: bytes
    fields: bytes


class Head(NamedTuple):
    """The head of a stream as the child would send it."""

    status: bytes
    headers: tuple[bytes, ...]


SEED = bytes(range(32))


CallHost = Callable[[bytes, tuple[bytes, ...]], list[bytes]]


def refuse(name: bytes, _arguments: tuple[bytes, ...]) -> list[bytes]:
    """Nobody is there to call."""
    return [REFUSED, name + b" is not available"]


def run(
    script: str | bytes,
    *,
    request: LuaRequest | None = None,
    limits: LuaLimits | None = None,
    files: dict[bytes, bytes] | None = None,
    env: dict[bytes, bytes] | None = None,
    logs: list[Line] | None = None,
    seed: bytes = SEED,
    host: CallHost = refuse,
    sent: list[Head | bytes] | None = None,
) -> Result | Failure:
    """Run a script once in an engine of its own; what a stream sends comes into `sent`: a head, then pieces."""
    lines: list[Line] = [] if logs is None else logs
    stream: list[Head | bytes] = [] if sent is None else sent
    engine = Engine(
        emit_log=lambda level, message, fields: lines.append(Line(level, message, fields)),
        call_host=host,
        begin_stream=lambda status, fields: stream.append(Head(status, fields)),
        emit_chunk=stream.append,
    )
    sources = {b"main.lua": script.encode() if isinstance(script, str) else script, **(files or {})}
    return engine.run(
        files=[text for pair in sources.items() for text in pair],
        env=[text for pair in (env or {}).items() for text in pair],
        request=(request or LuaRequest()).fields(),
        limits=limits or LuaLimits(),
        seed=seed,
    )


def answer(script: str | bytes, **how: object) -> Result:
    """The result of a script that must not fail."""
    result = run(script, **how)  # type: ignore[arg-type]
    assert isinstance(result, Result), (result.kind, result.message, result.traceback)
    return result


def body(script: str | bytes, **how: object) -> bytes:
    """The body of a script that must not fail."""
    return answer(script, **how).body


def failure(script: str | bytes, **how: object) -> Failure:
    """The failure of a script that must fail."""
    result = run(script, **how)  # type: ignore[arg-type]
    assert isinstance(result, Failure), (result.status, result.body[:1000])
    return result


def headers(result: Result) -> list[tuple[bytes, bytes]]:
    """Header pairs in order."""
    return list(zip(result.headers[::2], result.headers[1::2], strict=True))
