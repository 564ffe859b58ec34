"""Hostile bytes in, typed messages out: the only reader of what a sandbox writes.

Owns: what a legal message is, and how much of them one invocation may send. Knows nothing of sockets and deadlines.
Each packet comes from a process that ran somebody's program: wrong tags, sizes, orders, numbers and header fields are
expected. Nothing is repaired; what is wrong ends the conversation with one `BadFrame`.
"""

import re

import msgspec

from picloud.executor.breaches import BadAnswer, BadFrame
from picloud.executor.heads import HEADER_BYTES_MAX, header_list, status_of
from picloud.executor.said import (
    Accepted,
    Answered,
    Begun,
    Call,
    Chunk,
    Compiled,
    Died,
    Ended,
    Failed,
    Log,
    Message,
)
from picloud.model import HeaderList, Level, Limits
from sandbox import protocol

_ALLOWANCE_BYTES = 64 * 1024  # of an answer, beside its body; of a failure's texts
_LOG_LINES_MIN = 16  # beside one for each byte that a script may log
_LOG_OVERHEAD_BYTES = 64  # of each line: length fields, level, the frame
_NUMBER_DIGITS_MAX = 18
_HEADER_FIELDS_BYTES_MAX = HEADER_BYTES_MAX + 2 * protocol.HEADERS_MAX * 4  # with the length of each

_CALL_NAME = re.compile(rb"[a-z_]{1,32}\.[a-z_]{1,32}")

_FAILURES = frozenset(
    (
        protocol.SCRIPT_ERROR,
        protocol.FINAL_ERROR,
        protocol.SYNTAX_ERROR,
        protocol.MEMORY_LIMIT,
        protocol.BAD_RESPONSE,
        protocol.INVALID_REQUEST,
    )
)
_LEVELS = {level.value.encode(): level for level in Level}


class Decoder:
    """One conversation's packets; a message comes out once its last packet is in."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._tag = b""
        self._chunks: list[bytes] = []
        self._bytes = 0  # of the message so far
        self._accepted = False
        self._log_bytes_left = limits.log_bytes + _ALLOWANCE_BYTES + _log_lines(limits) * _LOG_OVERHEAD_BYTES
        self._log_lines_left = _log_lines(limits)
        self._calls_left = limits.host_calls
        self._begun = False
        self._body_bytes_left = limits.response_bytes
        self._pieces_left = protocol.CHUNKS_MAX

    def feed(self, packet: bytes) -> Message | None:
        """Take one packet; BadFrame, or BadAnswer, if it is not what the protocol allows here."""
        tag, more = packet[:1], packet[1:2]
        if len(packet) > protocol.FRAME_BYTES_MAX or more not in (b"\0", b"\1"):
            raise BadFrame("a packet without a proper head")
        if tag == protocol.DIED:  # the zygote's: it may interrupt any message
            return _died(packet[2:])
        if self._tag not in (b"", tag):
            raise BadFrame("a message inside another")
        if more == b"\1" and len(packet) < protocol.FRAME_BYTES_MAX:
            raise BadFrame("a message in pieces smaller than they could be")
        self._collect(tag, packet[2:])
        if more == b"\1":
            return None
        payload, self._tag, self._chunks, self._bytes = b"".join(self._chunks), b"", [], 0
        return self._message(tag, payload)

    def _collect(self, tag: bytes, chunk: bytes) -> None:
        if (tag == protocol.ACCEPTED) == self._accepted:
            raise BadFrame("a message out of order")
        self._tag = tag
        self._chunks.append(chunk)
        self._bytes += len(chunk)
        if self._bytes > self._room(tag):
            raise BadFrame("a message larger than its kind may be")

    def _room(self, tag: bytes) -> int:
        rooms = {
            protocol.ACCEPTED: 0,
            protocol.CALL: protocol.CALL_BYTES_MAX,
            protocol.LOG: self._log_bytes_left,
            protocol.RESULT: self._limits.response_bytes + _ALLOWANCE_BYTES,
            protocol.STREAM: _ALLOWANCE_BYTES,
            protocol.CHUNK: min(self._body_bytes_left, protocol.CHUNK_BYTES_MAX),
            protocol.FAILURE: _ALLOWANCE_BYTES,
        }
        if tag not in rooms:
            raise BadFrame("a tag that is not known")
        return rooms[tag]

    def _message(self, tag: bytes, payload: bytes) -> Message:
        if tag == protocol.ACCEPTED:
            self._accepted = True
            return Accepted()
        if tag == protocol.CALL:
            return self._call(payload)
        if tag == protocol.LOG:
            return self._log(payload)
        if tag == protocol.STREAM:
            return self._begin(payload)
        if tag == protocol.CHUNK:
            return self._chunk(payload)
        if tag == protocol.FAILURE:
            return _failed(payload)
        return self._answered(payload)

    def _call(self, payload: bytes) -> Call:
        self._calls_left -= 1
        if self._calls_left < 0:
            raise BadFrame("more host calls than one invocation may make")
        fields = _fields(payload, at_most=1 + protocol.CALL_ARGUMENTS_MAX)
        if not fields or not _CALL_NAME.fullmatch(fields[0]):
            raise BadFrame("a host call without a proper name")
        return Call(fields[0].decode(), tuple(fields[1:]))

    def _log(self, payload: bytes) -> Log:
        self._log_bytes_left -= len(payload)
        self._log_lines_left -= 1
        if self._log_lines_left < 0:
            raise BadFrame("more log lines than one invocation may write")
        level, message, fields = _fields(payload, 3)
        if level not in _LEVELS:
            raise BadFrame("a log level that is not known")
        return Log(_LEVELS[level], *_log_texts(message, fields))

    def _begin(self, payload: bytes) -> Begun:
        if self._begun:
            raise BadFrame("an answer that begins twice")
        self._begun = True
        status, packed = _fields(payload, 2)
        return Begun(status_of(number(status)), _headers(packed))

    def _chunk(self, piece: bytes) -> Chunk:
        self._body_bytes_left -= len(piece)
        self._pieces_left -= 1
        if not self._begun or not piece or self._pieces_left < 0:
            raise BadFrame("a piece of an answer that has not begun, without a byte, or one too many")
        return Chunk(piece)

    def _answered(self, payload: bytes) -> Answered | Ended | Compiled:
        kind, status, packed, body, cpu_us, memory_bytes = _fields(payload, 6)
        if (kind == protocol.ENDED) != self._begun:
            raise BadFrame("an answer that ended before it began, or came twice")
        if kind == protocol.ENDED:
            return Ended(number(cpu_us), number(memory_bytes))
        if kind == protocol.COMPILED:
            return Compiled()
        if kind not in (protocol.RESPONSE, protocol.ANSWER, protocol.FINAL_ANSWER):
            raise BadFrame("a kind of answer that is not known")
        if len(body) > self._limits.response_bytes:
            raise BadAnswer(f"the body has {len(body)} bytes; {self._limits.response_bytes} are allowed")
        committed, retry = kind == protocol.RESPONSE, kind != protocol.FINAL_ANSWER
        answer = (status_of(number(status)), _headers(packed), body)
        return Answered(committed, retry, *answer, number(cpu_us), number(memory_bytes))


def _headers(packed: bytes) -> HeaderList:
    if len(packed) > _HEADER_FIELDS_BYTES_MAX:  # before it is taken apart: many small fields take much memory
        raise BadAnswer(f"the headers have more than {HEADER_BYTES_MAX} bytes")
    return header_list(_fields(packed))


def number(text: bytes) -> int:
    """A whole number in ASCII decimals without a sign; BadFrame otherwise."""
    if not 0 < len(text) <= _NUMBER_DIGITS_MAX or not text.isdigit():
        raise BadFrame("a number that is none")
    return int(text)


def _failed(payload: bytes) -> Failed:
    kind, message, traceback, file, line, cpu_us, memory_bytes = _fields(payload, 7)
    if kind not in _FAILURES:
        raise BadFrame("a kind of failure that is not known")
    texts = (text(message), text(traceback), text(file))
    return Failed(kind, *texts, number(line), number(cpu_us), number(memory_bytes))


def _died(payload: bytes) -> Died:
    signal, status, cpu_us, memory_bytes = (number(field) for field in _fields(payload, 4))
    return Died(signal, status, cpu_us, memory_bytes)


def _fields(payload: bytes, count: int | None = None, *, at_most: int | None = None) -> list[bytes]:
    """``count`` fields, or ``at_most`` so many: a payload of tiny ones would take many times its bytes."""
    try:
        fields = protocol.unpack(payload, at_most if count is None else count)
    except ValueError as error:
        raise BadFrame(f"a payload that does not add up: {error}") from error
    if count is not None and len(fields) != count:
        raise BadFrame(f"{len(fields)} fields where {count} belong")
    return fields


def _log_texts(message: bytes, fields: bytes) -> tuple[str, str]:
    """The message, and the fields if they are a JSON object; else they join the message as they are."""
    if not fields:
        return text(message), ""
    try:
        msgspec.json.decode(fields, type=msgspec.Raw)  # looked through, and nothing made of it
        is_object = fields.lstrip(b" \t\r\n").startswith(b"{")
    except (msgspec.DecodeError, RecursionError):
        is_object = False
    return (text(message), text(fields)) if is_object else (f"{text(message)} {text(fields)}", "")


def text(raw: bytes) -> str:
    """Words for people: UTF-8, what is none replaced; no NUL, which PostgreSQL refuses."""
    return raw.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _log_lines(limits: Limits) -> int:
    return _LOG_LINES_MIN + limits.log_bytes // protocol.LINE_OVERHEAD_BYTES
