"""Which of gunicorn's settings are ours. Nothing is read from its own files, arguments or environment."""

import contextlib
import errno
import gc
import logging
import math
import os
import resource
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gunicorn.http.wsgi
from gunicorn import util
from gunicorn.app.base import BaseApplication

from picloud.errors import ConfigurationError, PicloudError
from picloud.server.arbiter import Arbiter
from picloud.server.log import Logger
from picloud.server.refusals import RenderProblem
from picloud.server.worker import KEEPALIVE_S, MASTER_GRACE_S, Worker
from picloud.settings import ServerSettings

_SERVER_HEADER = "picloud"
_IDLE_CONNECTIONS = 1000  # kept open by a worker, beside those that its threads serve
_FILES_OF_OTHERS = 128  # that a worker may have open beside connections

_log = logging.getLogger(__name__)


class Application(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """What gunicorn runs: the service and our settings."""

    def __init__(
        self,
        settings: ServerSettings,
        service: Any,
        make: Callable[[], tuple[ServerSettings, Any]],
        render_problem: RenderProblem,
    ) -> None:
        self.settings = settings
        self.service = service
        self._make = make
        self.render_problem = render_problem
        gunicorn.http.wsgi.SERVER = _SERVER_HEADER  # read by each Response; there is no setting for it
        super().__init__()

    def load_config(self) -> None:
        """Called by BaseApplication, and again at SIGHUP."""
        for name, value in options(self.settings).items():
            self.cfg.set(name, value)
        self.cfg.set("post_fork", _in_worker)
        self.cfg.set("post_worker_init", _started)
        self.cfg.set("when_ready", _before_first_fork)

    def load(self) -> Any:
        """Called by `wsgi()` in the arbiter: see preload_app."""
        return self.service.wsgi

    def reload(self) -> None:
        """Called by the arbiter at SIGHUP, before it replaces the workers. What cannot be used changes nothing.

        gunicorn's would end the server for it.
        """
        gc.unfreeze()  # what is replaced may go
        try:
            settings, self.service = self._make()
        except (PicloudError, OSError) as error:
            _log.error("the configuration is not used, that of before goes on: %s", error)
        else:
            if settings.bind != self.settings.bind:
                _log.warning("bind: it changes when the server is restarted, and not before")
            self.settings = replace(settings, bind=self.settings.bind)
            self.callable = None  # the arbiter asks for it again
            self.load_config()
        _freeze()

    def run(self) -> None:
        """Replaces BaseApplication.run, which names gunicorn's Arbiter."""
        Arbiter(self).run()


def options(settings: ServerSettings) -> dict[str, Any]:
    """gunicorn's settings, by its names."""
    threads = settings.threads + settings.parked_max  # whose script waits for the network takes nobody's thread
    spare_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - threads - _FILES_OF_OTHERS
    return {
        "bind": settings.bind,
        "backlog": 2048,
        "umask": 0o007,  # of a unix socket: whoever may connect is a trusted proxy
        "workers": settings.workers,
        "threads": threads,
        "worker_class": Worker,
        "worker_connections": threads + max(1, min(_IDLE_CONNECTIONS, spare_files)),
        "preload_app": True,
        "timeout": 0,  # the arbiter need not watch: a request's limits are the application's
        "graceful_timeout": math.ceil(settings.drain_ms / 1000 + MASTER_GRACE_S),
        "keepalive": KEEPALIVE_S,
        "limit_request_line": 8190,
        "limit_request_fields": 100,
        "limit_request_field_size": 8190,
        "http_parser": "auto",  # the one in C, if its wheel is there; tests hold both to the same
        "forwarded_allow_ips": "",  # whose word to believe is the application's to know …
        "forwarder_headers": "",  # … and no header may set SCRIPT_NAME or PATH_INFO
        "secure_scheme_headers": {},
        "proxy_allow_ips": "",
        "header_map": "drop",  # a name with an underscore would be taken for one with a hyphen
        "control_socket_disable": True,
        "accesslog": None,
        "errorlog": "-",
        "loglevel": "warning",  # who starts it says so itself
        "logger_class": Logger,
        "proc_name": "picloud",
    }  # fmt: skip


def refuse_taken(bind: str) -> None:
    """ConfigurationError if somebody listens there: gunicorn would try for 5 s, or take over the unix socket."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        return
    address = util.parse_address(bind)
    try:
        _probe(address)
    except OSError as error:
        raise ConfigurationError(f"PICLOUD_BIND={bind}: {error.strerror or error}") from error


def _probe(address: Any) -> None:
    if isinstance(address, str):
        _probe_path(Path(address))
        return
    family = socket.AF_INET6 if util.is_ipv6(address[0]) else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)


def _probe_path(path: Path) -> None:
    if not path.parent.is_dir():
        raise OSError(errno.ENOENT, "its folder does not exist")
    if path.exists() and not path.is_socket():
        raise OSError(errno.EEXIST, "there is something that is no socket")
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        client.connect(str(path))
        raise OSError(errno.EADDRINUSE, "another process listens there")


def _before_first_fork(_arbiter: Any) -> None:
    _freeze()


def _freeze() -> None:
    """What the application is made of is not looked at again: its pages stay shared with the workers."""
    gc.collect()
    gc.freeze()


def _in_worker(arbiter: Any, worker: Any) -> None:
    worker.lifeline = arbiter.lifeline.in_child()


def _started(worker: Any) -> None:
    worker.app.service.start()
