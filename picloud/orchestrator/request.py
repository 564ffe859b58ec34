"""What a script sees of an HTTP request, and whose word on it is believed.

Owns: the reading of WSGI's environ. Knows nothing of programs or sandboxes.
Text stays as WSGI carries it (latin-1), so every byte that a client sent reaches the script as it was.
"""

import ipaddress
import re
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from picloud.auth import SESSION_COOKIE
from picloud.messages.reading import read_body
from picloud.model import HeaderList, Request, Trigger

_FORWARDED = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "forwarded", "x-real-ip")
_ABSOLUTE = re.compile(r"[^:/?#]+://([^/?#]*)(/[^?#]*)?")
_HOP_BY_HOP = ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")


class Proxies:
    """Whose word on the client's address and host is believed: `unix` and IP networks, comma-separated."""

    def __init__(self, trusted: str) -> None:
        words = {word.strip() for word in trusted.split(",")} - {""}
        self._unix = "unix" in words
        self._networks = [ipaddress.ip_network(word, strict=False) for word in words - {"unix"}]

    def trusts(self, peer: str) -> bool:
        """Whether a peer is one; the address of a unix socket's peer is empty."""
        if not peer:
            return self._unix
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def client(self, peer: str, forwarded_for: str) -> str:
        """The address of the client: from the right, the first hop that is no trusted proxy."""
        if not self.trusts(peer):
            return peer
        hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()]
        return next((hop for hop in reversed(hops) if not self.trusts(hop)), hops[0] if hops else peer)

    def host(self, environ: Mapping[str, Any]) -> str:
        """The host that the client asked, perhaps with a port."""
        forwarded = environ.get("HTTP_X_FORWARDED_HOST")
        if forwarded is not None and self.trusts(environ.get("REMOTE_ADDR", "")):
            return str(forwarded).rpartition(",")[2].strip()  # the last is the proxy's own word
        return _target(environ)[0] or str(environ.get("HTTP_HOST", ""))

    def is_https(self, environ: Mapping[str, Any]) -> bool:
        """Whether the client speaks HTTPS, by the word of a trusted proxy."""
        said = environ.get("HTTP_X_FORWARDED_PROTO", "") if self.trusts(environ.get("REMOTE_ADDR", "")) else ""
        return str(said).rpartition(",")[2].strip().lower() == "https"


class HttpRequest:
    """One HTTP request, not read yet."""

    def __init__(
        self,
        environ: dict[str, Any],
        path: Sequence[str],  # its segments
        params: HeaderList,
        proxies: Proxies,
        withheld: Collection[str] = (),  # names of headers that are not for the script
    ) -> None:
        self._environ = environ
        self._path = path
        self._params = params
        self._proxies = proxies
        self._withheld = withheld

    @property
    def caller(self) -> socket.socket:
        """Who waits for the answer."""
        return connection_of(self._environ)

    def read(self, invocation_id: str, body_bytes_max: int) -> Request:
        """Read the body and build the request; BodyTooLarge, InvalidRequest."""
        environ = self._environ
        headers = dict(_headers(environ))
        peer = environ.get("REMOTE_ADDR", "")
        forwarded = {name: headers.pop(name) for name in _FORWARDED if name in headers}
        if self._proxies.trusts(peer):
            headers.update(forwarded)
        for name in self._withheld:
            headers.pop(name, None)
        return Request(
            id=invocation_id,
            method=environ["REQUEST_METHOD"],
            path="/" + "/".join(self._path),
            query_string=environ.get("QUERY_STRING", ""),
            headers=tuple(headers.items()),
            body=read_body(environ, body_bytes_max),
            host=self._proxies.host(environ),
            remote_addr=self._proxies.client(peer, forwarded.get("x-forwarded-for", "")),
            trigger=Trigger.HTTP,
            params=self._params,
            idempotency_key=environ.get("HTTP_IDEMPOTENCY_KEY"),
        )


def connection_of(environ: Mapping[str, Any]) -> socket.socket:
    """The connection that a request came on, as gunicorn gives it."""
    connection: socket.socket = environ["gunicorn.socket"]
    return connection


def segments(environ: Mapping[str, Any]) -> list[str]:
    """The path split before it is decoded, so that %2F stays inside its segment: ['fn', NAME, …]; [''] for `/`."""
    path = _target(environ)[1]
    if "%" not in path:
        return path.split("/")[1:]
    return [unquote_to_bytes(segment.encode("latin-1")).decode("latin-1") for segment in path.split("/")[1:]]


def _target(environ: Mapping[str, Any]) -> tuple[str, str]:
    """(authority, path): the first is of an absolute-form target (RFC 9112, 3.2.2), where it beats the Host header."""
    raw = str(environ.get("RAW_URI") or environ["PATH_INFO"])
    if raw.startswith("/"):
        return "", raw.partition("?")[0].partition("#")[0]
    absolute = _ABSOLUTE.match(raw)
    return (absolute[1].rpartition("@")[2], absolute[2] or "/") if absolute else ("", "/")


def _headers(environ: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Lower-case names, one entry each, without what belongs to the connection or to PiCloud alone."""
    for key, value in environ.items():
        name = key[5:] if key.startswith("HTTP_") else key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else ""
        name = name.replace("_", "-").lower()
        if name == "cookie":
            value = _cookies_of_scripts(value)
        if name and value and name not in _HOP_BY_HOP:
            yield name, value


def _cookies_of_scripts(cookies: str) -> str:
    """Without the session of whoever is signed in at `/`: scripts share that page's origin, and must not see it."""
    if SESSION_COOKIE not in cookies:
        return cookies
    return ";".join(it for it in cookies.split(";") if it.partition("=")[0].strip() != SESSION_COOKIE).strip()
