"""One request, in a thread: from its head to the end of its answer.

Owns: what is asked of gunicorn's `handle_request`, and what becomes of everything that goes wrong in it.
"""

import contextlib
from typing import Any

from gunicorn.http.errors import InvalidHeader, NoMoreData, ParseException
from gunicorn.workers.gthread import ThreadWorker

from picloud.server.connections import Connection, WholeBody, guarded
from picloud.server.refusals import answer, judge

_REST_S = 5.0  # for the rest of a body that the application did not read
REST_BYTES_MAX = 64 * 1024


class Requests(ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """The half of a worker that its threads run."""

    def load_wsgi(self) -> None:
        """Bodies that are not valid are not the application's to answer for."""
        self.wsgi = guarded(self.app.wsgi(), lambda: not self.alive)

    def handle(self, conn: Connection) -> bool:
        """Serve one request → whether another may follow. Replaces gunicorn's, which also speaks TLS and HTTP/2."""
        request = None
        try:
            request = conn.next_request()
            _require_host(request)
            request.headers = _joined(request.headers)
            WholeBody(request, conn.sock)
            return bool(self.handle_request(request, conn)) and conn.finish_body(_REST_S, REST_BYTES_MAX)
        except (StopIteration, ConnectionError, TimeoutError, NoMoreData) as error:  # the client left, or takes nothing
            self.log.debug("Closing a connection: %r", error)
        except OSError:  # the answer may have begun: there is nothing left to say
            self.log.exception("A connection failed")
        except Exception as error:  # noqa: BLE001 - the last resort: nothing but a problem may reach the client
            self.handle_error(request, conn.sock, conn.client, error)
        return False

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer with a problem. gunicorn's answers with HTML that quotes the request, and logs its query."""
        status, detail = judge(exc)
        if isinstance(exc, ParseException):
            self.log.info("Refused a request from %s: %d, %s", addr[0] if addr else "the socket", status, detail)
        else:
            self.log.exception("A request failed: %s %s", getattr(req, "method", "?"), getattr(req, "path", "?"))
        with contextlib.suppress(OSError):
            with_body = getattr(req, "method", "") != "HEAD"
            client.sendall(answer(self.app.render_problem, status, detail, with_body=with_body))


def _joined(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """One field a name, as RFC 9110 section 5.3 and RFC 6265 section 5.4 join them; WSGI leaves out the space."""
    if len({name for name, _ in headers}) == len(headers):
        return headers
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = joined[name] + ("; " if name == "COOKIE" else ", ") + value if name in joined else value
    return list(joined.items())


def _require_host(request: Any) -> None:
    """RFC 9112 section 3.2; gunicorn serves requests without one."""
    if request.version >= (1, 1) and not any(name == "HOST" for name, _ in request.headers):
        raise InvalidHeader("HOST", req=request)
