"""What a caller sends to a sandbox, as the fields of `sandbox.protocol`'s REQUEST.

Owns: the layout of a program, its limits and its request. Knows nothing of sockets, or of what comes back.
"""

import os
from collections.abc import Mapping, Sequence

from picloud.model import HeaderList, Limits, Program, Request
from sandbox import protocol

_SEED_BYTES = 32


def run(program: Program, request: Request) -> bytes:
    """The payload of a REQUEST to run a program once."""
    settings = program.settings
    return _payload(protocol.MODE_RUN, settings.limits, program.files, settings.env, _request(request))


def compilation(files: Mapping[str, bytes], limits: Limits) -> bytes:
    """The payload of a REQUEST to compile files and run nothing."""
    return _payload(protocol.MODE_COMPILE, limits, files, {}, b"")


def reply(values: Sequence[bytes]) -> bytes:
    """The payload of a REPLY to a host call that was done."""
    return protocol.pack(protocol.DONE, *values)


def refusal(message: str) -> bytes:
    """The payload of a REPLY to one that was not, with a message for the script."""
    return protocol.pack(protocol.REFUSED, message.encode())


def _payload(mode: bytes, limits: Limits, files: Mapping[str, bytes], env: Mapping[str, str], request: bytes) -> bytes:
    numbers = (limits.cpu_ms, limits.memory_bytes, limits.response_bytes, limits.log_bytes, limits.host_calls)
    sources = [part for path, source in files.items() for part in (path.encode(), source)]
    variables = [part.encode() for pair in env.items() for part in pair]
    return protocol.pack(
        mode,
        protocol.pack(*(b"%d" % number for number in numbers)),
        os.urandom(_SEED_BYTES),
        protocol.pack(*sources),
        protocol.pack(*variables),
        request,
    )


def _request(request: Request) -> bytes:
    texts = (request.method, request.path, request.query_string, request.host, request.remote_addr, request.id)
    return protocol.pack(
        *map(_raw, texts),
        request.trigger.value.encode(),
        request.event,
        request.body,
        _pairs(request.params),
        _pairs(request.headers),
    )


def _pairs(pairs: HeaderList) -> bytes:
    return protocol.pack(*(_raw(part) for pair in pairs for part in pair))


def _raw(text: str) -> bytes:
    """Bytes as HTTP carried them; what is no latin-1 was never on a wire."""
    return text.encode("latin-1", "replace")
