"""A tiny service on our server: `python -m tests.server.app`. What it is told to do is in the path."""

import errno
import json
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

if os.environ.get("TEST_PARSER") == "python":
    sys.modules["gunicorn_h1c"] = None  # type: ignore[assignment] # as if its wheel were not there

from picloud.errors import ConfigurationError
from picloud.server import application, run, worker
from picloud.settings import load

for name in ("_HEAD_S", "_LINGER_S", "KEEPALIVE_S", "_IN_TURN_S"):  # shorter than for real, or longer
    if given := os.environ.get(f"TEST_{name.lstrip('_')}"):
        setattr(worker, name, float(given))
if "TEST_IDLE_CONNECTIONS" in os.environ:
    application._IDLE_CONNECTIONS = int(os.environ["TEST_IDLE_CONNECTIONS"])

StartResponse = Callable[..., Any]


class Journalling:
    """Writes a line to TEST_JOURNAL when a worker starts and stops."""

    def __init__(self) -> None:
        if (refused := os.environ.get("TEST_CANNOT_MAKE")) and Path(refused).exists():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), refused)
        self._mutex = threading.Lock()
        self._inside = 0
        self._meetings: dict[str, threading.Barrier] = {}

    def start(self) -> None:
        if "TEST_FAIL_START" in os.environ:
            raise RuntimeError("cannot start")
        self._note("start")
        if "TEST_FILES" in os.environ:
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(os.environ["TEST_FILES"]),) * 2)

    def refuse(self, asked: Mapping[str, str]) -> tuple[int, str, dict[str, str]] | None:
        """What is asked of /full, as if a flood were there."""
        if not asked["RAW_URI"].startswith("/full"):
            return None
        return 429, "full", {"X-Asked": json.dumps(asked)}

    def begin_stop(self) -> None:
        self._note("begin_stop")

    def stop(self) -> None:
        self._note("stop")

    def wsgi(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        name = environ["PATH_INFO"].split("/")[1] or "hello"
        return getattr(self, f"on_{name}", self.on_hello)(environ, start_response)

    def on_hello(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        return _answer(start_response, b"hello")

    def on_pid(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        return _answer(start_response, str(os.getpid()).encode())

    def on_environ(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        shown = {key: value for key, value in environ.items() if isinstance(value, str)}
        return _answer(start_response, json.dumps(shown).encode())

    def on_echo(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        return _answer(start_response, environ["wsgi.input"].read())

    def on_swallow(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """An application that makes the best of a body it cannot read."""
        try:
            body = environ["wsgi.input"].read()
        except Exception as error:  # noqa: BLE001 - any of them
            body = repr(error).encode()
        return _answer(start_response, body)

    def on_block(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Says that it has begun, and answers when the test closes its end: /block/SOCKET."""
        with socket.socket(socket.AF_UNIX) as gate:
            gate.connect(environ["QUERY_STRING"])
            gate.sendall(str(os.getpid()).encode())
            gate.recv(1)
        return _answer(start_response, b"done")

    def on_crowd(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """How many were in here at once, the last time that it was left."""
        with self._mutex:
            self._inside += 1
        time.sleep(0.01)
        with self._mutex:
            inside, self._inside = self._inside, self._inside - 1
        return _answer(start_response, str(inside).encode())

    def on_meet(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answers when so many are in here at once."""
        with self._mutex:
            meeting = self._meetings.setdefault(
                environ["QUERY_STRING"], threading.Barrier(int(environ["QUERY_STRING"]))
            )
        meeting.wait(60)
        return _answer(start_response, b"met")

    def on_sleep(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        time.sleep(60)
        return _answer(start_response, b"slept")

    def on_status(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response(f"{environ['QUERY_STRING']} X", [("Content-Length", "5")])
        return [b"hello"]

    def on_status_without_body(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response(f"{environ['QUERY_STRING']} X", [])
        return []

    def on_stream(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"one", b"", b"two"]

    def on_large(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        return _answer(start_response, b"x" * (6 << 20))

    def on_raise(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        raise OSError(f"secret {environ['PATH_INFO']}")

    def on_midway(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        yield b"one"
        raise ValueError("midway")

    def on_header(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("X-Bad", "a\r\nb: c")])
        return []

    def on_threads(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        return _answer(start_response, str(threading.active_count()).encode())

    def _note(self, word: str) -> None:
        with Path(os.environ["TEST_JOURNAL"]).open("a") as journal:
            journal.write(f"{word} {os.getpid()}\n")


def render(status: int, detail: str) -> tuple[int, str, bytes]:
    """Like picloud.api.problems.of_server."""
    return status, "application/problem+json", json.dumps({"status": status, "detail": detail}).encode()


def _answer(start_response: StartResponse, body: bytes) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


if __name__ == "__main__":
    try:
        run(lambda: (load(), Journalling()), render)
    except ConfigurationError as error:
        sys.exit(f"error: {error}")
