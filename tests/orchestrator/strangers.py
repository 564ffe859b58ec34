"""Servers of all kinds on loopback, in threads: they keep what they heard, and answer as they are told."""

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PATIENCE_S = 30.0

Talk = Callable[[socket.socket, bytes], None]
"""What to do with a connection, once its request is there."""


def saying(*parts: bytes) -> Talk:
    """Send these, and close."""

    def talk(connection: socket.socket, _: bytes) -> None:
        for part in parts:
            connection.sendall(part)

    return talk


def response(body: bytes = b"", *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole one."""
    lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@dataclass
class Stranger:
    """A listener on every address of this machine."""

    listener: socket.socket
    talk: Talk
    tls: ssl.SSLContext | None = None
    heard: list[bytes] = field(default_factory=list)  # whole requests
    ended: threading.Event = field(default_factory=threading.Event)
    connections: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self.port = int(self.listener.getsockname()[1])

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            if self.ended.is_set():
                connection.close()
                return
            self.connections += 1
            threading.Thread(target=self._hear, args=(connection,), daemon=True).start()

    def _hear(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(PATIENCE_S)
            secured = self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
            with secured:
                request = _read(secured)
                self.heard.append(request)
                self.talk(secured, request)

    def connections_so_far(self) -> int:
        """How many came, all of those included that wait to be accepted: they are served in their order."""
        before = self.connections
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as marker:
            marker.settimeout(PATIENCE_S)
            marker.shutdown(socket.SHUT_WR)
            marker.recv(1)
        self.connections -= 1
        assert self.connections >= before
        return self.connections


def _read(connection: socket.socket) -> bytes:
    """A request, as far as it comes."""
    request, whole = b"", -1
    while len(request) != whole and (more := connection.recv(65536)):
        request += more
        head, ended, _ = request.lower().partition(b"\r\n\r\n")
        if ended:
            _, _, length = head.partition(b"content-length: ")
            whole = len(head) + 4 + int(length.partition(b"\r\n")[0] or 0)
    return request


@contextlib.contextmanager
def stranger(talk: Talk, tls: ssl.SSLContext | None = None) -> Iterator[Stranger]:
    """One for the length of a block; it listens on IPv4 and IPv6."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64) as listener:
        one = Stranger(listener, talk, tls)
        thread = threading.Thread(target=one.serve)
        thread.start()
        try:
            yield one
        finally:
            one.ended.set()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", one.port), PATIENCE_S).close()
            thread.join()


class Authority:
    """Signs certificates."""

    def __init__(self, folder: Path, name: str = "a test's authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.file = folder / f"{name.replace(' ', '-')}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, *hosts: str, days: int = 1) -> ssl.SSLContext:
        """Of a server that has a certificate for these hosts; with days below 0 it is not valid any more."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        certificate = self._signed(subject, key, names, days)
        chain = self._folder / f"{hosts[0]}.{days}.pem"
        chain.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType, days: int = 1
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        until = now + datetime.timedelta(days=days)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, until) - datetime.timedelta(days=1))
            .not_valid_after(until)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        )
        return builder.sign(self._key, hashes.SHA256())


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
