"""`http`: requests to other servers, as a script's host call.

`http.fetch`: url, method, redirect mode, timeout in ms, body, then a name and a value for each header
→ status, url, body, then a name and a value for each header.

What is left out is empty. A request cannot be undone: that there will be one is marked on the invocation before it.
"""

import re
import time
from collections.abc import Mapping, Sequence

from picloud.errors import DeadlinePassed, InvalidRequest, NoAnswer
from picloud.model import HeaderList, HostPattern
from picloud.orchestrator.attempt import Attempt, Binding
from picloud.orchestrator.bindings.reading import optional_integer
from picloud.orchestrator.outbound import urls
from picloud.orchestrator.outbound.fetching import Allowed, Fetcher
from picloud.orchestrator.outbound.messages import Incoming, Outgoing, Redirects

CALLS_MAX = 100  # of one invocation
_TIMEOUT_MS = 5_000
_TIMEOUT_MS_MAX = 24 * 60 * 60 * 1000  # the invocation's own deadline comes first
_FIXED_FIELDS = 5
_HEADERS_MAX = 100
_HEADER_BYTES_MAX = 32 * 1024
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_REFUSED_METHODS = frozenset(("CONNECT", "TRACE", "TRACK"))  # the Fetch standard's
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")  # RFC 9110, 5.6.2
_FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")  # 5.5: no control characters
_OURS = frozenset(
    b"connection content-length expect host http2-settings keep-alive proxy-authenticate proxy-authorization "
    b"proxy-connection te trailer transfer-encoding upgrade".split()
)


def table(fetcher: Fetcher) -> Mapping[str, Binding]:
    """The host calls of `http`."""

    def fetch(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
        """http.fetch"""
        sent, mode, timeout_ms = _read(arguments)
        allowed = _allowed(attempt)
        _check(sent, allowed, attempt.shared.http_calls)
        attempt.call_out()
        deadline = min(attempt.deadline, time.monotonic() + timeout_ms / 1000)
        try:
            with attempt.waiting():
                return _packed(fetcher.fetch(sent, mode, allowed, deadline))
        except NoAnswer:
            if time.monotonic() >= attempt.deadline:
                raise DeadlinePassed(_over(attempt)) from None
            raise

    return {"http.fetch": fetch}


def outgoing(attempt: Attempt, arguments: Sequence[bytes], calls_before: int) -> Outgoing:
    """What `http.fetch` would send, if it may; InvalidRequest, Forbidden."""
    sent, _, _ = _read(arguments)
    _check(sent, _allowed(attempt), calls_before)
    return sent


def _check(sent: Outgoing, allowed: Allowed, calls_before: int) -> None:
    allowed.check(sent.url)
    if calls_before >= CALLS_MAX:
        raise InvalidRequest(f"one invocation makes at most {CALLS_MAX} requests")


def _over(attempt: Attempt) -> str:
    return f"exceeded the wall clock limit of {attempt.program.settings.limits.wall_ms} ms"


def _allowed(attempt: Attempt) -> Allowed:
    patterns = attempt.program.settings.allow_hosts
    return Allowed(None if patterns is None else tuple(map(HostPattern.parse, patterns)), attempt.program.script)


def _read(arguments: Sequence[bytes]) -> tuple[Outgoing, Redirects, int]:
    """What is to be sent, and how; InvalidRequest."""
    if len(arguments) < _FIXED_FIELDS or (len(arguments) - _FIXED_FIELDS) % 2:
        raise InvalidRequest(f"needs {_FIXED_FIELDS} fields, then names and values")
    url, method, redirect, timeout, body, *headers = arguments
    sent = Outgoing(_method(method, body), urls.parse(url.decode("latin-1")), _headers(headers), body)
    return sent, _mode(redirect), optional_integer(timeout, "timeout_ms", 1, _TIMEOUT_MS_MAX) or _TIMEOUT_MS


def _method(method: bytes, body: bytes) -> str:
    name = method.decode("latin-1").upper() or ("POST" if body else "GET")
    if not _METHOD.fullmatch(name) or name in _REFUSED_METHODS:
        raise InvalidRequest(f"{name[:40]!a} is no method that can be sent")
    if body and name in ("GET", "HEAD"):
        raise InvalidRequest(f"a {name} has no body")
    return name


def _mode(text: bytes) -> Redirects:
    try:
        return Redirects(text.decode("latin-1") or Redirects.FOLLOW)
    except ValueError:
        raise InvalidRequest(f"redirect must be one of {', '.join(Redirects)}") from None


def _headers(fields: Sequence[bytes]) -> HeaderList:
    if len(fields) > 2 * _HEADERS_MAX or sum(map(len, fields)) > _HEADER_BYTES_MAX:
        raise InvalidRequest(f"at most {_HEADERS_MAX} headers and {_HEADER_BYTES_MAX} bytes of them can be sent")
    return tuple(_header(name.lower(), value) for name, value in zip(fields[::2], fields[1::2], strict=True))


def _header(name: bytes, value: bytes) -> tuple[str, str]:
    shown = ascii(name[:80].decode("latin-1"))
    if not _TOKEN.fullmatch(name):
        raise InvalidRequest(f"{shown} is no name of a header")
    if name in _OURS or name.startswith(b"proxy-"):
        raise InvalidRequest(f"the header {shown} is not a script's to set")
    if not _FIELD_VALUE.fullmatch(value):
        raise InvalidRequest(f"the header {shown} has a control character in its value")
    return name.decode("latin-1"), value.strip(b" \t").decode("latin-1")


def _packed(answer: Incoming) -> Sequence[bytes]:
    headers = (text.encode("latin-1", "replace") for pair in answer.headers for text in pair)
    return [b"%d" % answer.status, str(answer.url).encode(), answer.body, *headers]
