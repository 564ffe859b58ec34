"""A finished invocation as an HTTP answer.

Owns: the headers that every answer carries, and what becomes of an outcome that is no answer.
"""

import falcon

from picloud.auth import SESSION_COOKIE
from picloud.errors import PicloudError
from picloud.model import Cors, Outcome
from picloud.orchestrator.cors import ALLOW, EXPOSED, allow_origin, vary_by_origin
from picloud.orchestrator.dispatch import Finished

_BUFFERING = "x-accel-buffering"  # "no": a proxy that collects answers (nginx) must not collect this one
_HIDDEN = "the script failed; its log says why"


class InvocationFailed(PicloudError):
    """The script ran and gave no answer; `outcome` is the name of the problem that the caller gets."""

    def __init__(self, finished: Finished) -> None:
        hide = finished.run.outcome is Outcome.SCRIPT_ERROR and not finished.expose_errors
        super().__init__(_HIDDEN if hide else finished.run.detail)
        self.outcome = finished.run.outcome
        self.headers = headers(finished)


def headers(finished: Finished) -> dict[str, str]:
    """What every answer to an invocation says of it; times in ms."""
    run = finished.run
    timing = (("queue", run.queue_ms), ("run", run.run_ms), ("cpu", run.cpu_ms), ("total", finished.total_ms))
    return {
        "picloud-invocation": finished.id,
        "server-timing": ", ".join(f"{name};dur={ms:.2f}" for name, ms in timing),
        **({"idempotent-replayed": "true"} if run.replays else {}),
    }


def send(finished: Finished, resp: falcon.Response) -> None:
    """Write the script's answer; InvocationFailed if there is none. Falcon leaves 204, 304 and HEAD without a body."""
    answer = finished.run.response
    if answer is None:
        raise InvocationFailed(finished)
    resp.status = answer.status
    for name, value in answer.headers:
        if name == "set-cookie" and value.partition("=")[0].strip() == SESSION_COOKIE:
            continue  # the page at / alone sets it
        resp.append_header(name, value)
    resp.set_headers(headers(finished))
    if not answer.is_streamed:
        resp.data = answer.body
        return
    resp.stream = finished.body or ()
    if resp.get_header(_BUFFERING) is None:
        resp.set_header(_BUFFERING, "no")


def share(resp: falcon.Response, cors: Cors, origin: str | None) -> None:
    """Let pages of other origins see an answer or a problem as the settings say, whatever the script said itself."""
    for name in resp.headers:
        if name.startswith(ALLOW):
            resp.delete_header(name)
    resp.set_header("vary", vary_by_origin(resp.get_header("vary")))
    allowed = allow_origin(cors, origin)
    if allowed:
        resp.set_headers(allowed)
        resp.append_header("access-control-expose-headers", EXPOSED)
