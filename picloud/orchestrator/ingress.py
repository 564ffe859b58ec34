"""HTTP in: which script a request is for, whether it may pass, and what is answered if none runs.

Two entries: /fn/NAME with all below it, and every path that is nobody else's, by the routes. Then one way for both:
the CORS preflight is answered here, access is checked, and `dispatch` runs the program, or `enqueue` stores a job; of
webhooks, which are signed, `deliveries` makes jobs.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import falcon

from picloud.errors import Forbidden, NotFound
from picloud.model import HeaderList, Program, Run, new_id
from picloud.orchestrator.access import Door, withheld
from picloud.orchestrator.cors import Preflight, answer_preflight, preflight_of, share_headers
from picloud.orchestrator.deliveries import Deliveries
from picloud.orchestrator.dispatch import Dispatcher
from picloud.orchestrator.enqueue import Enqueuing, accept, is_preferred, job_url
from picloud.orchestrator.request import HttpRequest, Proxies, segments
from picloud.orchestrator.response import send, share
from picloud.orchestrator.routes import Routes
from picloud.patterns import NOT_FOR_SCRIPTS, host_of

PREFIX = "/fn/"

_USUAL = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")  # of those that a script takes: nearly any


class ScriptResolver(Protocol):
    """What knows the active version of a script."""

    def resolve(self, name: str) -> Program:
        """NotFound, DatabaseUnavailable."""

    def known(self, name: str) -> Program | None:
        """The same if it is at hand; never waits."""


class Ingress:
    """The sinks of all paths that may be a script's."""

    def __init__(
        self,
        resolver: ScriptResolver,
        routes: Routes,
        door: Door,
        dispatcher: Dispatcher,
        enqueuing: Enqueuing,
        deliveries: Deliveries,
        proxies: Proxies,
    ) -> None:
        self._resolver = resolver
        self._routes = routes
        self._door = door
        self._dispatcher = dispatcher
        self._enqueuing = enqueuing
        self._deliveries = deliveries
        self._proxies = proxies

    def function(self, req: falcon.Request, resp: falcon.Response, **_: object) -> None:
        """Run the script that a path below /fn/ names, and answer with what it returns."""
        path = segments(req.env)
        if len(path) < 2 or path[0] != "fn":  # /fn%2Fhello: the slash belongs to no name
            raise NotFound
        if len(path) == 2:
            _refuse_service_worker(req)
        program = self._resolver.resolve(path[1])
        preflight = preflight_of(req.env)
        if preflight is None or not _answered(preflight, program, resp):
            rest = path[2:]
            self._run(program, path, (("rest", "/".join(rest)),) if rest else (), req, resp)

    def route(self, req: falcon.Request, resp: falcon.Response, **_: object) -> None:
        """Run the script that a route leads to, and answer with what it returns; NotFound, 405 with Allow."""
        path, host, tree = segments(req.env), self._host(req), self._routes.tree()
        preflight = preflight_of(req.env)
        asked = tree.find(host, preflight.method, path) if preflight else None
        if preflight and asked and _answered(preflight, self._resolver.resolve(asked.route.script), resp):
            return
        match = tree.find(host, req.method, path)
        if match:
            if len(path) == 1 and match.route.host is None:
                _refuse_service_worker(req)
            self._run(self._resolver.resolve(match.route.script), path, match.params, req, resp)
        else:
            _unclaimed(req.method, tree.allow(host, path), resp)

    def refusal(self, asked: Mapping[str, str]) -> tuple[Run, dict[str, str]] | None:
        """How a request ends that a flood of others has no place for, with headers for its page; None: answer it.

        ``asked`` is the part of WSGI's environ that says what is wanted. Never waits, and knows only what is cached:
        who is turned away is not asked for a token, and leaves no record.
        """
        program = self._known(asked)
        if program is None or program.settings.webhook or (program.settings.cors and preflight_of(asked)):
            return None  # a delivery takes no place of a run's
        run = self._dispatcher.refusal(program.script)
        if run is None:
            return None
        return run, share_headers(program.settings.cors, asked.get("HTTP_ORIGIN")) if program.settings.cors else {}

    def claims_root(self, req: falcon.Request) -> bool:
        """Whether the host that is asked has a route for `/`."""
        return bool(self._routes.tree().allow(self._host(req), [""]))

    def _run(
        self, program: Program, path: Sequence[str], params: HeaderList, req: falcon.Request, resp: falcon.Response
    ) -> None:
        """Check access, run or queue, and answer; whatever comes of it, the page that sent the request may see it."""
        if req.method in NOT_FOR_SCRIPTS:
            raise falcon.HTTPMethodNotAllowed(_USUAL)
        try:
            authorization, webhook = req.env.get("HTTP_AUTHORIZATION"), program.settings.webhook
            kept_back = withheld(authorization) if webhook else self._door.admit(program, authorization)
            source = HttpRequest(req.env, path, params, self._proxies, kept_back)
            if webhook:
                self._deliveries.take(program, webhook, source, req, resp)
            elif is_preferred(req.env):
                self._enqueue(program, source, req, resp)
            else:
                send(self._dispatcher.dispatch(program, new_id(), source), resp)
        finally:
            if program.settings.cors:
                share(resp, program.settings.cors, req.env.get("HTTP_ORIGIN"))

    def _enqueue(self, program: Program, source: HttpRequest, req: falcon.Request, resp: falcon.Response) -> None:
        added = self._enqueuing.enqueue(program, source, req.env.get("HTTP_IDEMPOTENCY_KEY"))
        accept(added, {"job": added.job.id, "status_url": job_url(added.job.id)}, resp)

    def _known(self, asked: Mapping[str, str]) -> Program | None:
        path, tree = segments(asked), self._routes.known()
        if path[0] == PREFIX.strip("/"):
            return self._resolver.known(path[1]) if len(path) > 1 else None
        match = tree.find(host_of(self._proxies.host(asked)), asked["REQUEST_METHOD"], path) if tree else None
        return self._resolver.known(match.route.script) if match else None

    def _host(self, req: falcon.Request) -> str:
        return host_of(self._proxies.host(req.env))


def _refuse_service_worker(req: falcon.Request) -> None:
    """Of a path whose folder is not one script's alone: it would stand before others' pages, and before the page at /.

    A browser says what it is asking for, and a page cannot make it say otherwise (Service Workers, "Service-Worker").
    """
    if req.env.get("HTTP_SERVICE_WORKER") == "script":
        raise Forbidden("a service worker from here would stand before other scripts: serve it below /fn/NAME/")


def _answered(preflight: Preflight, program: Program, resp: falcon.Response) -> bool:
    """Answer a preflight for a script that has CORS settings; the others get it as any other request."""
    if program.settings.cors is None:
        return False
    resp.status = 204
    resp.set_headers(answer_preflight(program.settings.cors, preflight))
    return True


def _unclaimed(method: str, allowed: Sequence[str], resp: falcon.Response) -> None:
    """What no route claims: the methods of those that match otherwise, if there are any."""
    if not allowed:
        raise NotFound
    if method != "OPTIONS":
        raise falcon.HTTPMethodNotAllowed(allowed)
    resp.status = 204
    resp.set_header("allow", ", ".join(allowed))
