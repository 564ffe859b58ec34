"""Route patterns: which methods, hosts and paths a route may have.

Owns: the rules, and the nouns of a pattern. Pure; `picloud.orchestrator.tree` finds the route of a request.

A pattern is `/` and segments: a literal, `{name}` for one segment that is not empty, or as the last one `{name*}` for
one or more, which may be empty. Text of a request is as HTTP carries it, a character a byte (latin-1), split at `/`
before it is decoded, so that %2F stays inside its segment.
"""

import enum
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from picloud.errors import InvalidRequest

NOT_FOR_SCRIPTS = frozenset(("CONNECT", "TRACE"))  # methods: of proxies, and of who debugs them
ANY = "ANY"
RESERVED = frozenset({"api", "fn", "healthz", "readyz", "metrics", "openapi.json", "problems"})

_WELL_KNOWN = ".well-known"  # RFC 8615: who answers there speaks for the whole host, to certificate authorities too
_PATTERN_BYTES_MAX = 1024  # in UTF-8: an index of PostgreSQL takes no more than 2,700
_SEGMENTS_MAX = 32
_HOST_CHARACTERS_MAX = 253

_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PARAMETER = re.compile(r"\{([a-z_][a-z0-9_]*)(\*?)\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Kind(enum.IntEnum):
    """What a segment of a pattern is, the best first."""

    LITERAL = 0
    PARAMETER = 1
    REST = 2


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a pattern."""

    kind: Kind
    text: str  # of a literal: decoded, as HTTP carries it; else the parameter's name


@dataclass(frozen=True, slots=True)
class RouteWanted:
    """A route that may be: checked and normalised when it is made; InvalidRequest names the field that is wrong."""

    method: str  # upper case, or ANY
    host: str | None  # lower case, without port; None: every host
    path: str  # a pattern, as it was written

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", _checked_method(self.method))
        object.__setattr__(self, "host", None if self.host is None else _checked_host(self.host))
        if self.path == "/" and self.host is None:
            raise InvalidRequest.of("path", "'/' is the platform's own page: a route for it needs a host")
        parse(self.path)

    @property
    def shape(self) -> str:
        """The path's: see `shape`."""
        return shape(self.path)

    @property
    def is_modest(self) -> bool:
        """Whether it claims no more than paths below a word of its own: not `/`, not every first segment."""
        first = parse(self.path)[0]
        return first.kind is Kind.LITERAL and first.text not in ("", _WELL_KNOWN)

    def meets(self, other: "RouteWanted") -> bool:
        """Whether some path on some host is both's, whatever the methods."""
        if None not in (self.host, other.host) and self.host != other.host:
            return False
        return _meet(parse(self.path), parse(other.path))

    def __str__(self) -> str:
        return f"{self.method} {self.host or ''}{self.path}"


def parse(path: str) -> tuple[Segment, ...]:
    """The segments of a pattern; InvalidRequest says what is wrong with it."""
    _check_text(path)
    parts = path[1:].split("/")
    if len(parts) > _SEGMENTS_MAX:
        raise InvalidRequest.of("path", f"has {len(parts)} segments, at most {_SEGMENTS_MAX} are taken")
    if "" in parts[:-1]:
        raise InvalidRequest.of("path", "has an empty segment: '//'")
    segments = tuple(map(_segment, parts))
    _check_parameters(segments)
    if segments[0].kind is Kind.LITERAL and is_reserved([segments[0].text]):
        raise InvalidRequest.of(
            "path", f"'/{parts[0]}' is the platform's own; reserved are {', '.join(sorted(RESERVED))}"
        )
    return segments


def shape(path: str) -> str:
    """The same text for two patterns that differ in names of parameters and ways of writing a literal only."""
    return "".join("/" + _segment_shape(segment) for segment in parse(path))


def is_reserved(segments: Sequence[str]) -> bool:
    """Whether a path, decoded, is the platform's own: however many slashes stand before the word, and `fn%2Fx` too."""
    first = segments[0].partition("/")[0]
    if not first:
        first = "/".join(segments).lstrip("/").partition("/")[0]
    return first in RESERVED


def host_of(authority: str) -> str:
    """The host of a Host header, to be compared: lower case, without port and trailing dot."""
    host = authority.strip().lower()
    if host.startswith("["):
        return _bracketed(host.partition("]")[0].removeprefix("["))
    return host.partition(":")[0].removesuffix(".")


def _meet(one: Sequence[Segment], other: Sequence[Segment]) -> bool:
    for mine, theirs in zip(one, other, strict=False):
        if Kind.REST in (mine.kind, theirs.kind):
            return True
        if mine.kind is theirs.kind is Kind.LITERAL and mine.text != theirs.text:
            return False
        if "" in {it.text for it in (mine, theirs) if it.kind is Kind.LITERAL} and mine != theirs:
            return False  # a parameter is never empty
    return len(one) == len(other)


def _checked_method(given: str) -> str:
    method = given.upper()
    if not (given.isascii() and _METHOD.fullmatch(method)):
        raise InvalidRequest.of("method", f"{given[:100]!r} is no method: ANY, or upper-case letters such as GET")
    if method in NOT_FOR_SCRIPTS:
        raise InvalidRequest.of("method", f"{method} is not for scripts")
    return method


def _checked_host(given: str) -> str:
    host = given.lower().removesuffix(".")
    if not given.isascii():
        raise InvalidRequest.of("host", f"{given[:100]!r} has letters that DNS does not carry: write it as 'xn--…'")
    if host.startswith("[") or host.count(":") > 1:
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        good = _is_address(ipaddress.IPv6Address, bare) and "%" not in bare  # a zone is one machine's own
        host = _bracketed(bare)
    elif host.rpartition(".")[2].isdigit():  # no name of DNS ends in a number
        good = _is_address(ipaddress.IPv4Address, host)
    else:
        good = len(host) <= _HOST_CHARACTERS_MAX and all(map(_LABEL.fullmatch, host.split(".")))
    if not good:
        raise InvalidRequest.of(
            "host", f"{given[:100]!r} is no host: a DNS name or an IP address, without port, scheme and wildcard"
        )
    return host


def _is_address(kind: Callable[[str], object], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _bracketed(address: str) -> str:
    """An IPv6 address as URLs have it, in its one shortest form."""
    try:
        return f"[{ipaddress.IPv6Address(address)}]"
    except ValueError:
        return f"[{address}]"


def _check_text(path: str) -> None:
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise InvalidRequest.of("path", "has half of a surrogate pair, which is no character") from None
    if not path.startswith("/"):
        raise InvalidRequest.of("path", f"{path[:100]!r} must start with '/'")
    if size > _PATTERN_BYTES_MAX:
        raise InvalidRequest.of("path", f"has {size} bytes, at most {_PATTERN_BYTES_MAX} are taken")
    if "?" in path or "#" in path:
        raise InvalidRequest.of("path", "must not have '?' or '#', which end a path: write %3F or %23")
    if _LONE_PERCENT.search(path):
        raise InvalidRequest.of("path", "has a '%' without two hexadecimal digits behind it: write %25")


def _segment(part: str) -> Segment:
    if parameter := _PARAMETER.fullmatch(part):
        return Segment(Kind.REST if parameter[2] else Kind.PARAMETER, parameter[1])
    if "{" in part or "}" in part:
        raise InvalidRequest.of(
            "path", f"'{part}' is neither a literal nor '{{name}}' nor '{{name*}}', names being [a-z_][a-z0-9_]*"
        )
    raw = unquote_to_bytes(part)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise InvalidRequest.of("path", f"'{part}' is not UTF-8 once it is decoded") from None
    if text in (".", ".."):
        raise InvalidRequest.of("path", f"must not have '{part}' as a segment: clients resolve it before they ask")
    if _CONTROL.search(text):
        raise InvalidRequest.of("path", f"{part!r} has control characters")
    return Segment(Kind.LITERAL, raw.decode("latin-1"))


def _check_parameters(segments: Sequence[Segment]) -> None:
    names = [segment.text for segment in segments if segment.kind is not Kind.LITERAL]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidRequest.of("path", f"has the parameter '{twice}' twice")
    if early := next((segment.text for segment in segments[:-1] if segment.kind is Kind.REST), None):
        raise InvalidRequest.of("path", f"'{{{early}*}}' takes all that is left, so it must be last")


def _segment_shape(segment: Segment) -> str:
    """No literal looks like a parameter, and none is longer than it was written."""
    if segment.kind is not Kind.LITERAL:
        return "{*}" if segment.kind is Kind.REST else "{}"
    text = segment.text.encode("latin-1").decode()
    return re.sub(r"[%/{}]", lambda found: quote(found[0], safe=""), text)
