"""URLs, in the few forms that are taken: http or https, a host, perhaps a port, a path and a query.

Owns: what a URL's text means. There is one reader, and what it read is what is connected to: two that differ on a text
are how checks are passed by. Anything unusual is refused and not repaired.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin

from picloud.errors import InvalidRequest
from picloud.model import host_and_port

_BYTES_MAX = 8 * 1024
_PORTS = {"http": 80, "https": 443}
_FORM = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?:#.*)?"
)
_PLAIN = re.compile(r"[!-\[\]-~]*")  # printable ASCII, but no backslash: browsers take it for a slash
_LEFT_AS_IT_IS = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True)
class Url:
    """Where a request goes; without the fragment, which is not sent."""

    scheme: str  # http or https
    host: str  # as `model.normal_host` spells it
    port: int
    target: str  # path and query

    @property
    def origin(self) -> tuple[str, str, int]:
        """Whose it is (RFC 6454)."""
        return self.scheme, self.host, self.port

    def __str__(self) -> str:
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.target}"


def parse(text: str) -> Url:
    """InvalidRequest says what is wrong with it."""
    if len(text) > _BYTES_MAX:
        raise InvalidRequest(f"a URL has at most {_BYTES_MAX} bytes")
    if not _PLAIN.fullmatch(text):
        raise InvalidRequest("a URL has printable ASCII only, and no backslash: url.encode what is none")
    parts = _FORM.fullmatch(text)
    if parts is None:
        raise InvalidRequest("a URL begins with http:// or https:// and a host")
    scheme = parts["scheme"].lower()
    if scheme not in _PORTS:
        raise InvalidRequest(f"'{scheme[:20]}' is not spoken here, only http and https")
    host, port = _authority(parts["authority"])
    return Url(scheme, host, port or _PORTS[scheme], (parts["path"] or "/") + (parts["query"] or ""))


def _authority(text: str) -> tuple[str, int | None]:
    if "@" in text:
        raise InvalidRequest("a URL must not carry a user: send the header 'authorization'")
    try:
        return host_and_port(text)
    except ValueError as error:
        raise InvalidRequest(f"the URL's host: {error}") from None


def joined(base: Url, location: str) -> Url:
    """Where a Location points to, seen from a URL; InvalidRequest."""
    return parse(urljoin(str(base), quote(location.strip(), safe=_LEFT_AS_IT_IS, encoding="latin-1")))
