"""A PiCloud that was installed from this checkout, on a machine of its own: what README says, word for word.

The machine has no way to a package index: the wheels that an installation fetches are made before, on this one.
"""

import configparser
import functools
import http.client
import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.running import ROOT, Answer, eventually
from tests.systemd.guest import Guest

UNITS = ("picloud.service", "picloud-executor.service", "picloud-dispatcher.service")
SOCKETS = ("picloud.socket", "picloud-executor.socket")
CHECKOUT, WHEELS = "/root/picloud", "/root/wheels"
SITE = "picloud.localhost"  # Caddy makes its certificate itself
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELS, "PIP_CONFIG_FILE": "/dev/null"}
_NOT_OF_A_CHECKOUT = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "*.egg-info", "build", "var")
_HTTP_SOCKET = "/run/picloud/http.sock"


class Installed:
    """One installation; `install` again upgrades it."""

    def __init__(self, machine: Guest) -> None:
        self.machine = machine
        self.token = ""
        self.said = ""  # by the first installation

    def prepare(self) -> None:
        """A checkout, the wheels, and Debian's PostgreSQL: what is there before `make install`."""
        shutil.copytree(ROOT, self.machine.file(CHECKOUT), ignore=_NOT_OF_A_CHECKOUT)
        subprocess.run(["cp", "-r", str(wheels()), str(self.machine.file(WHEELS))], check=True)
        self.machine.file("/etc/hosts").write_text(f"127.0.0.1 localhost {SITE}\n")
        self.start_database()

    def start_database(self) -> None:
        """Debian's own, with the cluster that installing it makes."""
        if not self.machine.run("pg_lsclusters", "--no-header"):
            self.machine.run("sh", "-c", "pg_createcluster $(ls /usr/lib/postgresql | tail -n 1) main")
        self.machine.run("systemctl", "start", "postgresql")

    def install(self, *arguments: str) -> str:
        """`make install` → what it said; keeps the first token."""
        words = " ".join(["--site", SITE, "--yes", *arguments])
        said = self.machine.run("make", "install", f"ARGS={words}", env=OFFLINE, cwd=CHECKOUT)
        self.token = next((word for word in said.split() if word.startswith("pc_")), self.token)
        return said

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One exchange on PiCloud's own socket."""
        connection = _OnSocket(str(self.machine.path(_HTTP_SOCKET)))
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, [(k.lower(), v) for k, v in response.getheaders()], response.read())
        finally:
            connection.close()

    def api(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Answer:
        """One exchange with the control plane; a body that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.token}", **({"content-type": content_type} if data else {})}
        return self.call(method, f"/api/v1/{path}", data, headers)

    def deploy(self, name: str, source: str) -> None:
        """Upload a script."""
        answer = self.api("PUT", f"scripts/{name}", source.encode(), "text/x-lua")
        assert answer.status in (200, 201), answer

    def systemctl(self, *words: str) -> str:
        """→ what it says."""
        return self.machine.run("systemctl", *words)

    def main_pid(self, unit: str) -> int:
        """As the machine sees it."""
        return int(self.systemctl("show", "--property=MainPID", "--value", unit))

    def states(self, *units: str) -> dict[str, str]:
        """Each unit's."""
        said = self.machine.run("systemctl", "is-active", *units, check=False)
        return dict(zip(units, said.split(), strict=True))

    def await_ready(self) -> None:
        """Until everything serves."""
        eventually(lambda: self.states(*UNITS, *SOCKETS), lambda states: set(states.values()) == {"active"})
        eventually(self._is_ready, bool)

    def journal(self, *words: str) -> str:
        """What the units have said."""
        return self.machine.run("journalctl", "--no-pager", "--output=cat", *words)

    def _is_ready(self) -> bool:
        try:
            return self.call("GET", "/readyz").status == 200
        except OSError:
            return False


class _OnSocket(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__(SITE, timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@functools.cache
def wheels() -> Path:
    """A folder with all that pip wants for an installation; kept for as long as this process lives."""
    keeper = tempfile.TemporaryDirectory(prefix="picloud-wheels-")
    folder = Path(keeper.name) / "wheels"
    _KEPT.append(keeper)
    python = Path(keeper.name) / "venv/bin/python"  # of Debian's Python, which an installation takes
    subprocess.run(["/usr/bin/python3", "-m", "venv", str(python.parents[1])], check=True)
    constraints = ["-c", str(ROOT / "config/constraints.txt")]
    for words in (["setuptools>=77", "wheel"], [*constraints, *_requirements()]):
        command = [str(python), "-m", "pip", "wheel", "-q", "-w", str(folder), *words]
        subprocess.run(command, check=True, cwd="/")
    return folder


_KEPT: list["tempfile.TemporaryDirectory[str]"] = []


def _requirements() -> list[str]:
    """What setup.cfg says that PiCloud needs."""
    parsed = configparser.ConfigParser()
    parsed.read(ROOT / "setup.cfg")
    lines = parsed["options"]["install_requires"].splitlines()
    return [line for line in lines if line.strip() and not line.strip().startswith("#")]
