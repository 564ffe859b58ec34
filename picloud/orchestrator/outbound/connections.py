"""Sockets to addresses that were checked, each call of which ends by the deadline. The home of urllib3.

Owns: that a connection leads where it was allowed to lead. The name is resolved once, and what is connected to is one
of the addresses that were checked, so that a DNS which answers differently the next time is not asked. TLS is verified
against the name in the URL. No proxy, no environment, no connection that is used twice.
"""

import ipaddress
import logging
import math
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection

from picloud.errors import NoAnswer
from picloud.orchestrator.outbound.addresses import Address
from picloud.orchestrator.outbound.urls import Url

_ADDRESSES_TRIED = 4
_DISCARD = 9  # a port, for a socket that sends nothing

Connection = HTTPConnection
"""One connection for one request."""


def open_connection(
    url: Url, addresses: Sequence[Address], deadline: float, tls: ssl.SSLContext
) -> tuple[Connection, socket.socket]:
    """Connect to one of these addresses and nowhere else; every call that follows keeps to the deadline. OSError.

    The socket beside it is for those who want to end it from outside: an answer may take it away from the connection.
    """
    timeout_s = max(0.001, deadline - time.monotonic())

    def dial() -> socket.socket:
        return _dialled(addresses, url.port, deadline)

    host = url.host.strip("[]")
    connection: _Plain | _Tls
    if url.scheme == "https":
        connection = _Tls(host, url.port, timeout=timeout_s, ssl_context=tls)
    else:
        connection = _Plain(host, url.port, timeout=timeout_s)
    connection.dial = dial
    try:
        connection.connect()
    except BaseException:
        connection.close()
        raise
    own = connection.sock
    assert isinstance(own, _Timed)
    own.deadline = deadline
    return connection, own


def keep_quiet() -> None:
    """urllib3 warns of answers that are no HTTP: with the URL, secrets and all, and as much text as a server sends."""
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)


def tls_context() -> ssl.SSLContext:
    """What this machine trusts (SSL_CERT_FILE, SSL_CERT_DIR), hostname and chain verified, TLS 1.2 and later."""
    context = ssl.create_default_context()
    context.sslsocket_class = _TlsSocket
    return context


def is_this_machine(address: Address) -> bool:
    """Whether it is an address of our own: packets to it would not leave, and no firewall would see them."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), _DISCARD))  # asks the routing table, and sends nothing
            return ipaddress.ip_address(probe.getsockname()[0]) == address
    except OSError:
        return False  # there is no way there at all


class _Timed(socket.socket):
    """Every call ends by the deadline: a server that sends a byte a minute gains nothing."""

    deadline = math.inf  # monotonic, s

    def _keep_time(self) -> None:
        if self.deadline != math.inf:
            left_s = self.deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("timed out")
            self.settimeout(left_s)

    def recv_into(self, *arguments: Any) -> int:
        self._keep_time()
        return super().recv_into(*arguments)

    def send(self, *arguments: Any) -> int:
        self._keep_time()
        return super().send(*arguments)

    def sendall(self, *arguments: Any) -> None:
        self._keep_time()
        return super().sendall(*arguments)


class _TlsSocket(_Timed, ssl.SSLSocket):
    """The same under TLS."""


class _Plain(HTTPConnection):
    dial: Callable[[], socket.socket]

    def _new_conn(self) -> socket.socket:
        return self.dial()


class _Tls(HTTPSConnection):
    dial: Callable[[], socket.socket]

    def _new_conn(self) -> socket.socket:
        return self.dial()


def _dialled(addresses: Sequence[Address], port: int, deadline: float) -> socket.socket:
    """The first that answers; each gets its share of the time."""
    tried = addresses[:_ADDRESSES_TRIED]
    failure: OSError = TimeoutError("timed out")
    for at, address in enumerate(tried):
        share_s = (deadline - time.monotonic()) / (len(tried) - at)
        if share_s <= 0:
            break
        try:
            connection = _connected(address, port, share_s)
        except OSError as error:
            failure = error
        else:
            connection.settimeout(max(0.001, deadline - time.monotonic()))  # for a handshake
            return connection
    raise failure


def _require_peer(connection: socket.socket, address: Address) -> None:
    if ipaddress.ip_address(connection.getpeername()[0]) != address:
        raise NoAnswer("the connection leads elsewhere")


def _connected(address: Address, port: int, timeout_s: float) -> socket.socket:
    connection = _Timed(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect((str(address), port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _require_peer(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection
