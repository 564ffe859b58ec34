"""PiCloud on a unix socket behind Debian's Caddy, with the site that `make install` puts in its place."""

import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest

from tests.acceptance.test_http_fetch import World, a_world
from tests.running import PATIENCE_S, ROOT, Running, eventually, free_port, furnish

CADDYFILE = ROOT / "config/Caddyfile"
SITE = "pi.test"


class Unix(Running):
    """A PiCloud that is reached by a path."""

    def __init__(self, data: Path, path: Path, **environment: str) -> None:
        super().__init__(data, {"PICLOUD_BIND": f"unix:{path}", **environment})
        self.path = path

    def connection(self) -> HTTPConnection:
        return _UnixConnection(self.path)


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _Secure(HTTPSConnection):
    """Connects to Caddy, whatever the name; the certificate must be for the name."""

    def __init__(self, name: str, port: int, trusted: ssl.SSLContext) -> None:
        super().__init__(name, port, timeout=PATIENCE_S, context=trusted)
        self._trusted = trusted

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), self.timeout)
        try:
            self.sock = self._trusted.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


@dataclass(frozen=True)
class Caddy:
    """A Caddy that runs, and what a client needs to know of it."""

    folder: Path
    http: int  # ports
    https: int

    @property
    def authority(self) -> Path:
        """Caddy's own, which made its certificates."""
        return self.folder / "storage/pki/authorities/local/root.crt"

    def connection(self, name: str = SITE) -> HTTPSConnection:
        return _Secure(name, self.https, ssl.create_default_context(cafile=str(self.authority)))

    def curl(self, path: str, *arguments: str, name: str = SITE) -> subprocess.CompletedProcess[bytes]:
        command = [
            "curl", "-sS", "--cacert", str(self.authority), "--resolve", f"*:{self.https}:127.0.0.1",
            *arguments, f"https://{name}:{self.https}{path}",
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, check=False)


def site(folder: Path, ports: tuple[int, int, int], upstream: Path) -> str:
    """The file as it is, but for where things are."""
    http, https, ask = ports
    text = CADDYFILE.read_text(encoding="utf-8")
    for theirs, here in {
        "admin unix//var/lib/caddy/admin.sock": (
            f"admin off\n\tstorage file_system {folder}/storage\n\tlocal_certs\n"
            f"\thttp_port {http}\n\thttps_port {https}\n\tdefault_bind 127.0.0.1"
        ),
        "127.0.0.1:2020": f"127.0.0.1:{ask}",
        "unix//run/picloud/http.sock": f"unix/{upstream}",
    }.items():
        assert theirs in text
        text = text.replace(theirs, here)
    return text


def private(folder: Path, **more: str) -> dict[str, str]:
    """An environment in which Caddy leaves nothing elsewhere."""
    own = {"HOME": str(folder), "XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config")}
    return {**os.environ, **own, "PICLOUD_SITE": SITE, **more}


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with a_world() as there:
        yield there


@pytest.fixture(scope="module")
def picloud(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unix]:
    folder = tmp_path_factory.mktemp("p")
    furnish(folder / "data")
    ours = Unix(folder / "data", folder / "s", PICLOUD_PRIVATE_HOSTS=world.host)
    ours.start()
    yield ours
    ours.stop()


@pytest.fixture(scope="module")
def caddy(picloud: Unix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caddy]:
    folder = tmp_path_factory.mktemp("caddy")
    http, https, ask = (free_port() for _ in range(3))
    (folder / "Caddyfile").write_text(site(folder, (http, https, ask), picloud.path))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["caddy", "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile"],
            env=private(folder), cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
    there = Caddy(folder, http, https)

    def is_up() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        return listens(https) and there.curl("/healthz").returncode == 0

    try:
        eventually(is_up, bool)
        yield there
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
