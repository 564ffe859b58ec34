"""One request of a script to the world, from hop to hop.

Owns: where it may go, and what is said when it fails. Each hop is checked afresh: the URL against what the script may
call, then its addresses, once they are known. A name that is not public and one that does not exist get the same words:
a script cannot learn from them what there is in the network inside.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from urllib3 import BaseHTTPResponse, HTTPHeaderDict
from urllib3.exceptions import HTTPError

from picloud.errors import Forbidden, NoAnswer
from picloud.model import HostPattern
from picloud.orchestrator.outbound import bodies, connections, redirects
from picloud.orchestrator.outbound.addresses import Address, is_public
from picloud.orchestrator.outbound.connections import Connection, is_this_machine
from picloud.orchestrator.outbound.lookups import Lookup, Resolver
from picloud.orchestrator.outbound.messages import Incoming, Outgoing, Redirects
from picloud.orchestrator.outbound.urls import Url

REDIRECTS_MAX = 10
_HEADERS_MAX = 100
_HEADER_BYTES_MAX = 64 * 1024
_AGENT = "PiCloud"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a script may call."""

    hosts: tuple[HostPattern, ...] | None  # None: any that is public, and the operator's private ones
    script: str = ""  # whose it is

    def check(self, url: Url) -> None:
        """Forbidden."""
        if self.hosts is not None and not any(it.matches(url.host, url.port) for it in self.hosts):
            raise Forbidden(f"the script's settings do not allow {url.host} (allow_hosts)")


class Fetcher:
    """Asks other servers; threads share it. `private`: which hosts may be private."""

    def __init__(self, lookup: Lookup, private: Sequence[HostPattern]) -> None:
        connections.keep_quiet()
        self._resolver = Resolver(lookup)
        self._private = private
        self._mutex = threading.Lock()  # over what follows
        self._tls: ssl.SSLContext | None = None  # made when it is first needed: it reads a few hundred certificates
        self._open: set[socket.socket] = set()
        self._aborted = False

    def fetch(self, sent: Outgoing, mode: Redirects, allowed: Allowed, deadline: float) -> Incoming:
        """Ask, and follow where it leads, by a moment (monotonic, s). Forbidden, NoAnswer."""
        for _ in range(REDIRECTS_MAX + 1):
            allowed.check(sent.url)
            answer = self._asked(sent, mode, allowed.script, deadline)
            if isinstance(answer, Incoming):
                return answer
            sent = answer
        raise NoAnswer(f"there were more than {REDIRECTS_MAX} redirects")

    def abort(self) -> None:
        """End every request that is under way, and each that follows. For a server that stops."""
        with self._mutex:
            self._aborted = True
            for one in self._open:
                _hang_up(one)

    def _asked(self, sent: Outgoing, mode: Redirects, script: str, deadline: float) -> Incoming | Outgoing:
        """One hop: the answer, or what is to be asked next."""
        try:
            with self._connected(sent.url, script, deadline) as connection:
                connection.request(
                    sent.method,
                    sent.url.target,
                    sent.body or None,
                    _completed(sent.headers),
                    preload_content=False,
                    decode_content=False,
                )
                answer = connection.getresponse()
                with contextlib.closing(answer):  # it holds the socket, too
                    return _answer(sent, mode, answer)
        except (OSError, HTTPError, http.client.HTTPException, ValueError) as error:
            raise NoAnswer(f"{sent.url.host}: {_why(error)}") from None

    @contextlib.contextmanager
    def _connected(self, url: Url, script: str, deadline: float) -> Iterator[Connection]:
        addresses = self._checked_addresses(url, script, deadline)
        connection, own = connections.open_connection(url, addresses, deadline, self._tls_context())
        try:
            with self._mutex:
                self._open.add(own)
                if self._aborted:
                    _hang_up(own)
            yield connection
        finally:
            with self._mutex:
                self._open.discard(own)
            connection.close()

    def _checked_addresses(self, url: Url, script: str, deadline: float) -> Sequence[Address]:
        """Those that may be connected to."""
        found = self._resolver.addresses(url.host, deadline, script)
        if not any(it.matches(url.host, url.port) for it in self._private):
            found = [it for it in found if is_public(it) and not is_this_machine(it)]
        if not found:
            raise NoAnswer(f"there is no public host {url.host}")
        return found

    def _tls_context(self) -> ssl.SSLContext:
        with self._mutex:
            if self._tls is None:
                self._tls = connections.tls_context()
            return self._tls


def _completed(headers: Sequence[tuple[str, str]]) -> HTTPHeaderDict:
    """What is sent beside what the script wants to send."""
    given = {name for name, _ in headers}
    ours = (("accept", "*/*"), ("accept-encoding", bodies.ENCODINGS), ("user-agent", _AGENT))
    complete = HTTPHeaderDict([pair for pair in ours if pair[0] not in given])
    for name, value in (*headers, ("connection", "close")):
        complete.add(name, value)
    return complete


def _answer(sent: Outgoing, mode: Redirects, answer: BaseHTTPResponse) -> Incoming | Outgoing:
    headers = _headers(answer.headers)
    location = headers.get("location")
    if answer.status in redirects.STATUSES and location is not None and mode is not Redirects.MANUAL:
        if mode is Redirects.ERROR:
            raise NoAnswer(f"{sent.url.host} redirects, and redirect = 'error'")
        return redirects.following(sent, answer.status, location)
    encoding = headers.get("content-encoding", "")
    unpack = bodies.is_packed(encoding) and "accept-encoding" not in dict(sent.headers)
    body = bodies.read(lambda at_most: answer.read(at_most), encoding if unpack else "")
    if unpack:
        headers = {name: value for name, value in headers.items() if name not in ("content-encoding", "content-length")}
    return Incoming(answer.status, sent.url, tuple(headers.items()), body)


def _headers(found: HTTPHeaderDict) -> dict[str, str]:
    """Name → value, repeats joined; NoAnswer if they are too many."""
    joined: dict[str, str] = {}
    for name, value in found.items():
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    if len(joined) > _HEADERS_MAX or sum(map(len, (*joined, *joined.values()))) > _HEADER_BYTES_MAX:
        raise NoAnswer(f"the answer has more than {_HEADERS_MAX} headers, or {_HEADER_BYTES_MAX} bytes of them")
    return joined


def _why(error: Exception) -> str:
    """For the script; no address, no path, nothing of what is inside."""
    while isinstance(error, HTTPError) and isinstance(error.__context__, Exception):
        error = error.__context__  # urllib3's own words name its pools
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message.split(':')[0]}"
    if isinstance(error, ssl.SSLError):
        return "TLS failed"
    if isinstance(error, ConnectionRefusedError):
        return "it refused the connection"
    if isinstance(error, OSError):
        return "the connection failed"
    return "what it answered is no HTTP"


def _hang_up(one: socket.socket) -> None:
    """From another thread: whoever waits for it finds the end of the stream."""
    with contextlib.suppress(OSError):  # it has ended by itself
        socket.socket.shutdown(one, socket.SHUT_RDWR)  # and not TLS's own, which would touch what the other thread uses
