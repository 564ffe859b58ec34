"""The closed set of messages between a caller and a sandbox, as bytes on a SOCK_SEQPACKET socket.

Owns: tags, chunking and field packing. Knows nothing of Lua, HTTP or pools.
Both ends import it; the trusted end (`picloud.executor.frames`) believes nothing that it reads.

A *frame* is one packet: tag (1 byte), more (1 byte: 1 if the message goes on), then a chunk of the payload.
A *message* is the payload of consecutive frames of one tag, up to the one whose ``more`` is 0.
A payload is a list of *fields*, each a little-endian u32 length and that many bytes; a field may itself be packed.
Numbers travel as ASCII decimals: no struct layout to agree on, nothing to overflow silently.

| tag      | way            | fields                                                                              |
|----------|----------------|-------------------------------------------------------------------------------------|
| REQUEST  | caller → child | mode, limits, seed (32 bytes), files, env, request                                   |
| ACCEPTED | child → caller | none; the wall clock starts                                                          |
| CALL     | child → caller | name of a host call (``kv.get``), its arguments; the child then waits for the REPLY     |
| REPLY    | caller → child | DONE and the values, or REFUSED and a message for the script                         |
| LOG      | child → caller | level (``debug info warn error``), message, fields (a JSON object, or empty)         |
| RESULT   | child → caller | kind (the first five below), status, headers, body, cpu_us, memory_bytes             |
| STREAM   | child → caller | status, headers: the answer begins; the child then waits for the REPLY                |
| CHUNK    | child → caller | a piece of its body, bare and in one frame; RESULT (ENDED) or FAILURE follows the last |
| FAILURE  | child → caller | kind, message, traceback, file, line, cpu_us, memory_bytes                           |
| DIED     | zygote → caller| signal (0 if it exited), exit status, cpu_us, memory_bytes (peak RSS): the last words |

Packed fields of REQUEST:
``mode``     MODE_RUN or MODE_COMPILE (compile every file, run nothing)
``limits``   cpu_ms, memory_bytes, response_bytes, log_bytes, host_calls
``files``    path, text, path, text, … (``main.lua`` is the entry)
``env``      name, value, …
``request``  method, path (decoded), query string (raw), host, remote_addr, id, trigger, event (JSON or empty),
             body, params (packed name, value, …), headers (packed lower-case name, value, …)
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost each fork
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FRAME_BYTES_MAX = 64 * 1024  # an unprivileged SEQPACKET socket refuses 208 KiB
CHUNK_BYTES_MAX = FRAME_BYTES_MAX - 2

REQUEST = b"Q"
ACCEPTED = b"A"
CALL = b"C"
REPLY = b"P"
LOG = b"L"
RESULT = b"R"
STREAM = b"S"
CHUNK = b"K"
FAILURE = b"F"
DIED = b"D"

MODE_RUN = b"run"
MODE_COMPILE = b"compile"

RESPONSE = b"response"  # the handler returned it: its effects commit
ANSWER = b"answer"  # error{status=…, body=…}: its effects roll back
FINAL_ANSWER = b"final-answer"  # error{retry=false, status=…, body=…}: and whoever runs it need not try again
ENDED = b"ended"  # the answer that began with STREAM is whole
COMPILED = b"compiled"

DONE = b"done"
REFUSED = b"refused"

SCRIPT_ERROR = b"script-error"
FINAL_ERROR = b"final-error"  # the same of error{retry=false}, where it is no answer
SYNTAX_ERROR = b"syntax-error"
MEMORY_LIMIT = b"memory-limit"
BAD_RESPONSE = b"bad-response"
INVALID_REQUEST = b"invalid-request"

CALL_BYTES_MAX = 2 * 1024 * 1024  # a host call's name and arguments; prelude/remote.lua has the same
CALL_ARGUMENTS_MAX = 10_000  # the same: each costs the trusted end far more than its bytes
REPLY_BYTES_MAX = 8 * 1024 * 1024  # its values; the trusted end sends no more
LINE_OVERHEAD_BYTES = 64  # what a log line counts against log_bytes beside its text; prelude/log.lua has the same

HEADERS_MAX = 100  # of an answer; prelude/response.lua has the same
CHUNKS_MAX = 100_000  # of a body: each costs the trusted end, too; prelude/stream.lua has the same

_LENGTH_BYTES = 4


def pack(*fields: bytes) -> bytes:
    """Join fields so that `unpack` gives the same list back."""
    parts = []
    for field in fields:
        parts.append(len(field).to_bytes(_LENGTH_BYTES, "little"))
        parts.append(field)
    return b"".join(parts)


def unpack(payload: bytes, fields_max: int | None = None) -> list[bytes]:
    """Split a payload into its fields; ValueError if a length points outside it, or if they are more than that."""
    fields: list[bytes] = []
    at, end = 0, len(payload)
    while at < end:
        if len(fields) == fields_max:
            raise ValueError(f"more than {fields_max} fields")
        start = at + _LENGTH_BYTES
        stop = start + int.from_bytes(payload[at:start], "little")
        if start > end or stop > end:
            raise ValueError(f"a field at byte {at} reaches outside its {end} byte payload")
        fields.append(payload[start:stop])
        at = stop
    return fields


def frames(tag: bytes, payload: bytes) -> list[bytes]:
    """Cut one message into frames of at most FRAME_BYTES_MAX."""
    if len(payload) <= CHUNK_BYTES_MAX:
        return [tag + b"\0" + payload]
    cuts = range(0, len(payload), CHUNK_BYTES_MAX)
    last = cuts[-1]
    return [tag + (b"\0" if at == last else b"\1") + payload[at : at + CHUNK_BYTES_MAX] for at in cuts]


def cut(tag: bytes, fields: Sequence[bytes]) -> Iterator[bytes | bytearray]:
    """The same frames of these fields, each made when it is asked for: a large field is not held once more."""
    frame = bytearray(tag + b"\0")
    for field in fields:
        for part in (len(field).to_bytes(_LENGTH_BYTES, "little"), field):
            at = 0
            while len(frame) + len(part) - at > FRAME_BYTES_MAX:
                stop = at + FRAME_BYTES_MAX - len(frame)
                frame += part[at:stop]
                frame[1] = 1
                yield frame
                frame, at = bytearray(tag + b"\0"), stop
            frame += part[at:]
    yield frame
