"""Who is measured: each says hello after a loop of 100 steps, so that all do the same work."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.running import ROOT, free_port, running

EXPECTED = b"hello 5050"
PROGRAMS = {"wrk": "wrk", "nginx": "nginx-light", "fcgiwrap": "fcgiwrap", "lua5.4": "lua5.4", "bwrap": "bubblewrap"}
"""What must be installed: program → Debian package."""

_PATIENCE_S = 30.0
_CGI_PROCESSES = 16  # as many as connections, so that CGI is not held back by a queue

_LOOP = "local total = 0\nfor step = 1, 100 do total = total + step end\n"
SCRIPT = f"{_LOOP}return 'hello ' .. total\n"
_CGI = f"#!{{lua}}\n{_LOOP}io.write('Status: 200 OK\\r\\nContent-Type: text/plain\\r\\n\\r\\nhello ', total)\n"
_CAGED = """#!/bin/sh
exec {bwrap} --unshare-all --die-with-parent --new-session --clearenv --cap-drop ALL --ro-bind /usr /usr \
--symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin --proc /proc --dev /dev --tmpfs /tmp \
--ro-bind {folder}/hello.lua /hello.lua {lua} /hello.lua
"""
_NGINX = """daemon off; {user} worker_processes auto; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 1000000000; default_type text/plain;
  client_body_temp_path {folder}/body; fastcgi_temp_path {folder}/fastcgi; proxy_temp_path {folder}/proxy;
  scgi_temp_path {folder}/scgi; uwsgi_temp_path {folder}/uwsgi;
  fastcgi_param REQUEST_METHOD $request_method; fastcgi_param QUERY_STRING $query_string;
  fastcgi_param REQUEST_URI $request_uri; fastcgi_param SERVER_PROTOCOL $server_protocol;
  fastcgi_param GATEWAY_INTERFACE CGI/1.1;
  server {{
    listen 127.0.0.1:{port};
    location = /plain {{ fastcgi_pass unix:{folder}/fcgi; fastcgi_param SCRIPT_FILENAME {folder}/hello.lua; }}
    location = /caged {{ fastcgi_pass unix:{folder}/fcgi; fastcgi_param SCRIPT_FILENAME {folder}/caged.sh; }}
  }}
}}
"""


@dataclass(frozen=True)
class Contender:
    """One that is running."""

    name: str
    about: str
    url: str


def find(program: str) -> str | None:
    """Its path; those of daemons are not on everybody's PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")


@contextlib.contextmanager
def picloud(folder: Path) -> Iterator[Contender]:
    """`picloud up` with one script."""
    with running(folder / "data") as ours:
        ours.deploy("hello", SCRIPT)
        yield Contender("picloud", "PiCloud: a fresh sandbox each request", f"{ours.url}/fn/hello")


@contextlib.contextmanager
def cgi(folder: Path) -> Iterator[list[Contender]]:
    """nginx and fcgiwrap, which start a process for each request."""
    port = free_port()
    words = {"folder": folder, "port": port, "lua": find("lua5.4"), "bwrap": find("bwrap")}
    words["user"] = "user root;" if os.geteuid() == 0 else ""
    for name, text in {"hello.lua": _CGI, "caged.sh": _CAGED, "nginx.conf": _NGINX}.items():
        (folder / name).write_text(text.format(**words))
        (folder / name).chmod(0o755)
    wrapper = [find("fcgiwrap") or "", "-c", str(_CGI_PROCESSES), "-s", f"unix:{folder}/fcgi"]
    nginx = [find("nginx") or "", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.log")]
    with process(wrapper, folder), process(nginx, folder):
        url = f"http://127.0.0.1:{port}"
        yield [
            Contender("cgi", "CGI: nginx, fcgiwrap, a fresh lua5.4", f"{url}/plain"),
            Contender("cgi-bwrap", "CGI in a fresh bubblewrap (by sh)", f"{url}/caged"),
        ]


@contextlib.contextmanager
def bare(folder: Path) -> Iterator[Contender]:
    """No script at all: what the server costs by itself."""
    bind = f"127.0.0.1:{free_port()}"
    argv = [sys.executable, "-m", "tests.bench.bare"]
    with process(argv, folder, PICLOUD_BIND=bind, PICLOUD_DATA=str(folder / "bare"), PYTHONPATH=str(ROOT)):
        yield Contender("bare", "Falcon alone on PiCloud's server", f"http://{bind}/")


@contextlib.contextmanager
def process(argv: list[str], folder: Path, **environment: str) -> Iterator[None]:
    """A program in a session of its own, which is ended as a whole."""
    with (folder / f"{Path(argv[0]).name}.log").open("ab") as log:
        started = subprocess.Popen(
            argv, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, cwd=ROOT,
        )  # fmt: skip
    try:
        yield
    finally:
        _signal(started.pid, signal.SIGTERM)
        try:
            started.wait(5)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _signal(started.pid, signal.SIGKILL)
            started.wait()


def await_hello(contender: Contender) -> str:
    """Until it answers as it should → '', or what it does instead."""
    seen, deadline = "nothing", time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(contender.url, timeout=5) as answer:
                body = answer.read().strip()
            if body == EXPECTED:
                return ""
            return f"it answers {body[:80]!r}"
        except urllib.error.HTTPError as error:
            error.close()
            return f"it answers {error.code}"
        except OSError as error:
            seen = str(error)
        time.sleep(0.05)
    return f"it does not answer: {seen}"


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
