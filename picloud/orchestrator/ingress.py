"""HTTP in: /fn/NAME and everything below it becomes an invocation.

Owns: what a script sees of an HTTP request. Knows nothing of programs or sandboxes.
Text stays as WSGI carries it (latin-1), so every byte that a client sent reaches the script as it was.
"""

import ipaddress
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import falcon

from picloud.errors import NotFound
from picloud.messages.reading import has_body, read_body
from picloud.model import Request, Trigger, new_id
from picloud.orchestrator.dispatch import Dispatcher
from picloud.orchestrator.response import send

PREFIX = "/fn/"

_FORWARDED = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "forwarded", "x-real-ip")
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


class Ingress:
    """The sink of every path under /fn/."""

    def __init__(self, dispatcher: Dispatcher, proxies: Proxies) -> None:
        self._dispatcher = dispatcher
        self._proxies = proxies

    def __call__(self, req: falcon.Request, resp: falcon.Response, **_: object) -> None:
        """Run the script that the path names and answer with what it returns."""
        segments = _segments(req.env)
        if len(segments) < 3:  # /fn%2Fhello: the slash belongs to no name
            raise NotFound
        source = HttpRequest(req.env, segments, self._proxies)
        send(self._dispatcher.dispatch(segments[2], new_id(), source), resp)


class HttpRequest:
    """One HTTP request, not read yet."""

    def __init__(self, environ: dict[str, Any], segments: list[str], proxies: Proxies) -> None:
        self._environ = environ
        self._segments = segments
        self._proxies = proxies

    @property
    def has_body(self) -> bool:
        """Whether one was announced."""
        return has_body(self._environ)

    def read(self, invocation_id: str, body_bytes_max: int) -> Request:
        """Read the body and build the request; BodyTooLarge, InvalidRequest."""
        environ = self._environ
        headers = dict(_headers(environ))
        peer = environ.get("REMOTE_ADDR", "")
        forwarded = {name: headers.pop(name) for name in _FORWARDED if name in headers}
        host = headers.get("host", "")
        if self._proxies.trusts(peer):
            host = (
                forwarded.get("x-forwarded-host", host).rpartition(",")[2].strip()
            )  # the last is the proxy's own word
            headers.update(forwarded)
        rest = self._segments[3:]
        return Request(
            id=invocation_id,
            method=environ["REQUEST_METHOD"],
            path="/".join(self._segments),
            query_string=environ.get("QUERY_STRING", ""),
            headers=tuple(headers.items()),
            body=read_body(environ, body_bytes_max),
            host=host,
            remote_addr=self._proxies.client(peer, forwarded.get("x-forwarded-for", "")),
            trigger=Trigger.HTTP,
            params=(("rest", "/".join(rest)),) if rest else (),
        )


def _segments(environ: dict[str, Any]) -> list[str]:
    """The path split before it is decoded, so that %2F stays inside its segment: ['', 'fn', NAME, …]."""
    raw = environ.get("RAW_URI") or environ["PATH_INFO"]
    path = raw.partition("?")[0].partition("#")[0] if raw.startswith("/") else urlsplit(raw).path
    return [unquote_to_bytes(segment.encode("latin-1")).decode("latin-1") for segment in path.split("/")]


def _headers(environ: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """Lower-case names, one entry each, without what belongs to the connection alone."""
    for key, value in environ.items():
        name = key[5:] if key.startswith("HTTP_") else key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else ""
        name = name.replace("_", "-").lower()
        if name and value and name not in _HOP_BY_HOP:
            yield name, value
