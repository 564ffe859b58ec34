"""HTTP served by a gunicorn that sleeps: at rest no thread of its arbiter or of its workers wakes up.

Owns: gunicorn, which nothing else imports. Knows nothing of what is served: a `Service` is a WSGI application with a
start and a stop.

    arbiter      the parent: blocks until a signal comes
    worker       one thread waits for events, the others serve requests
    connections  a connection and its request: how long each may take, what is held against it
    door         what a head says at a glance, and what a flood is turned away with
    requests     one request, in a thread
    refusals     what is answered before, or instead of, the application
    application  which of gunicorn's settings are ours
    entry        settings, then the service, then the server; `manager`, `orchestrator` and `__main__` (both in one)
                 say which service

gunicorn's internals are overridden, so it is pinned to a major version; each override names what it replaces in 27.0.1.

What holds for a client. A connection takes a thread only while a whole request head is answered: idle connections and
dribbled heads cost a file descriptor. A head has 10 s, a body 60 s, each piece of the answer 60 s, a kept-alive
connection 150 s. These deadlines are the poller's timeout: a timer exists only while such a connection does. A slow
body does hold a thread, which is why a public server has a proxy in front (Caddy's `timeouts.read_body`).
When every thread of a worker is busy, it leaves new connections to the other workers; what has come already waits
`queue_ms` for a thread and is then refused with 503, and so are new connections when that lasts. So nothing hangs.
A request that the service refuses already, as it does in a flood, is turned away in the loop: it takes no thread, and
its answer is held back for 50 to 60 ms, with all others of the same 10 ms.
At worker_connections open connections, the one that has been idle for longest is closed to make room.
"""

import resource
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

from picloud.server.application import Application, refuse_taken
from picloud.server.refusals import RenderProblem
from picloud.settings import ServerSettings

__all__ = ["RenderProblem", "Service", "run"]

_FILES = 65_536  # open at once: a connection is one


class Service(Protocol):
    """What is served."""

    @property
    def wsgi(self) -> Callable[..., Any]:
        """The WSGI application, built before fork: it holds no connection and no thread."""

    def refuse(self, asked: Mapping[str, str]) -> tuple[int, str, dict[str, str]] | None:
        """In the worker's loop, before a request takes a thread: status, detail and headers; None: let it take one.

        Must not wait. ``asked`` is what `door` gives: a few of a WSGI environ's names.
        """

    def start(self) -> None:
        """In each worker, after fork and before its first request. If it raises, the server ends with status 3."""

    def begin_stop(self) -> None:
        """In each worker, once, when it begins to stop: end what would hold a thread for as long as a client likes."""

    def stop(self) -> None:
        """In each worker, once, after its last request. What it does is cut short a second after that."""


Make = Callable[[], tuple[ServerSettings, Service]]  # at the start, and when the configuration is to be read again


def run(make: Make, render_problem: RenderProblem) -> NoReturn:
    """Serve until a signal says otherwise, then exit; ConfigurationError if the address is taken, or of `make`.

    SIGTERM finishes requests in flight for `drain_ms` at most, SIGINT and SIGQUIT do not; SIGHUP makes settings and
    service again and replaces the workers, each once it has finished its requests; SIGTTIN and SIGTTOU make them one
    more and one fewer. A listening socket that systemd passes on is used instead of `bind`; READY=1 is sent when the
    socket listens.
    """
    settings, service = make()
    refuse_taken(settings.bind)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES), hard))
    Application(settings, service, make, render_problem).run()
    raise AssertionError("gunicorn's arbiter ends by SystemExit")
