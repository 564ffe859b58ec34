"""Whether a PiCloud that listens somewhere is ready: what `/readyz` says."""

import json
import socket
from http.client import HTTPConnection, HTTPException

_TIMEOUT_S = 5


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Replaces HTTPConnection.connect, which knows TCP alone."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def why_not_ready(bind: str) -> str:
    """Why the PiCloud that listens on `host:port` or `unix:PATH` is not ready; empty if it is."""
    path = bind.removeprefix("unix:")
    connection = _UnixConnection(path) if bind.startswith("unix:") else HTTPConnection(bind, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, HTTPException) as error:
        return f"{bind} does not answer ({error})"
    finally:
        connection.close()
    return "" if answer.status == 200 else _said(text)


def _said(text: bytes) -> str:
    try:
        checks = json.loads(text)["checks"]
        return "; ".join(f"{name}: {result}" for name, result in checks.items() if result != "ok")
    except (ValueError, KeyError, TypeError, AttributeError):
        return text.decode(errors="replace")[:200]
