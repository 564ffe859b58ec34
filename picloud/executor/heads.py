"""What a legal head of an answer is: its status and its headers, from bytes of a sandbox. Pure."""

import re

from picloud.executor.breaches import BadAnswer
from picloud.model import HeaderList
from sandbox import protocol

HEADER_BYTES_MAX = 32 * 1024  # names and values together
_STATUS_MIN, _STATUS_MAX = 200, 599

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")  # RFC 9110, 5.6.2
_FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")  # 5.5: no control characters
_HOP_BY_HOP = frozenset(
    b"connection keep-alive te trailer transfer-encoding upgrade proxy-connection "
    b"proxy-authenticate proxy-authorization proxy-authentication-info".split()
)
_OF_THE_ORIGIN = b"service-worker-allowed"  # a script has a path; this would put its page before all others of the host


def status_of(number: int) -> int:
    """The same, or BadAnswer."""
    if not _STATUS_MIN <= number <= _STATUS_MAX:
        raise BadAnswer(f"the status is {number}; it must be {_STATUS_MIN} to {_STATUS_MAX}")
    return number


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
