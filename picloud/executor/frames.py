"""Hostile bytes in, typed messages out: the only reader of what a sandbox writes.

Owns: what a legal message is, and how much of them one invocation may send. Knows nothing of sockets and deadlines.
Each packet comes from a process that ran somebody's program: wrong tags, sizes, orders, numbers and header fields are
expected. Nothing is repaired; what is wrong ends the conversation with one `BadFrame`.
"""

import re

import msgspec

from picloud.executor.said import Accepted, Answered, Call, Compiled, Died, Failed, Log, Message
from picloud.model import HeaderList, Level, Limits
from sandbox import protocol

HEADER_BYTES_MAX = 32 * 1024  # names and values together
_ALLOWANCE_BYTES = 64 * 1024  # of an answer, beside its body; of a failure's texts
_LOG_LINES_MIN = 16  # beside one for each byte that a script may log
_LOG_OVERHEAD_BYTES = 64  # of each line: length fields, level, the frame
_NUMBER_DIGITS_MAX = 18
_HEADER_FIELDS_BYTES_MAX = HEADER_BYTES_MAX + 2 * protocol.HEADERS_MAX * 4  # with the length of each
_STATUS_MIN, _STATUS_MAX = 200, 599

_CALL_NAME = re.compile(rb"[a-z_]{1,32}\.[a-z_]{1,32}")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")  # RFC 9110, 5.6.2
_FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")  # 5.5: no control characters
_HOP_BY_HOP = frozenset(
    b"connection keep-alive te trailer transfer-encoding upgrade proxy-connection "
    b"proxy-authenticate proxy-authorization proxy-authentication-info".split()
)
_OF_THE_ORIGIN = b"service-worker-allowed"  # a script has a path; this would put its page before all others of the host


class BadFrame(Exception):
    """A sandbox broke the protocol."""


class BadAnswer(BadFrame):
    """A sandbox kept to the protocol, but what it answers is no HTTP response."""


_FAILURES = frozenset(
    (
        protocol.SCRIPT_ERROR,
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

    def _answered(self, payload: bytes) -> Answered | Compiled:
        kind, status, packed, body, cpu_us, memory_bytes = _fields(payload, 6)
        if kind == protocol.COMPILED:
            return Compiled()
        if kind not in (protocol.RESPONSE, protocol.ANSWER):
            raise BadFrame("a kind of answer that is not known")
        if len(body) > self._limits.response_bytes:
            raise BadAnswer(f"the body has {len(body)} bytes; {self._limits.response_bytes} are allowed")
        if len(packed) > _HEADER_FIELDS_BYTES_MAX:  # before it is taken apart: many small fields take much memory
            raise BadAnswer(f"the headers have more than {HEADER_BYTES_MAX} bytes")
        headers = header_list(_fields(packed))
        return Answered(kind == protocol.RESPONSE, _status(status), headers, body, number(cpu_us), number(memory_bytes))


def header_list(fields: list[bytes]) -> HeaderList:
    """Names and values in turn, checked, to (lower-case name, value) in their order; BadAnswer says which is wrong.

    Content-Length is dropped, since the server counts the body; what belongs to one hop is the server's and refused,
    and so is what would reach beyond a script's own paths in a browser.
    """
    if len(fields) % 2:
        raise BadAnswer("the last header has no value")
    if len(fields) > 2 * protocol.HEADERS_MAX:
        raise BadAnswer(f"there are {len(fields) // 2} headers; {protocol.HEADERS_MAX} are allowed")
    if sum(map(len, fields)) > HEADER_BYTES_MAX:
        raise BadAnswer(f"the headers have more than {HEADER_BYTES_MAX} bytes")
    pairs = zip(fields[::2], fields[1::2], strict=True)
    checked = [_header(name.lower(), value) for name, value in pairs]
    return tuple(pair for pair in checked if pair[0] != "content-length")


def _header(name: bytes, value: bytes) -> tuple[str, str]:
    if not _TOKEN.fullmatch(name):
        raise BadAnswer(f"{_shown(name)} is no name of a header")
    if name in _HOP_BY_HOP:
        raise BadAnswer(f"the header {_shown(name)} is the server's to set")
    if name == _OF_THE_ORIGIN:
        raise BadAnswer(f"the header {_shown(name)} is refused: it would reach beyond this script's own paths")
    if not _FIELD_VALUE.fullmatch(value):
        raise BadAnswer(f"the header {_shown(name)} has a control character in its value")
    return name.decode("latin-1"), value.strip(b" \t").decode("latin-1")


def _shown(name: bytes) -> str:
    return ascii(name[:80].decode("latin-1"))


def _status(text: bytes) -> int:
    status = number(text)
    if not _STATUS_MIN <= status <= _STATUS_MAX:
        raise BadAnswer(f"the status is {status}; it must be {_STATUS_MIN} to {_STATUS_MAX}")
    return status


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
