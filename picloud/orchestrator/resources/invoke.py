"""`/api/v1/scripts/NAME/invoke`: run a script by hand, now or later."""

import socket
from typing import Annotated, Any

import falcon
from msgspec import Meta

from picloud.auth import Scope
from picloud.errors import InvalidRequest
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.reading import Query, read_body
from picloud.messages.writing import send_json
from picloud.model import Job, Outcome, Program, Request, Trigger, new_id
from picloud.orchestrator.dispatch import Dispatcher, RequestSource
from picloud.orchestrator.dry_run import DryRuns
from picloud.orchestrator.enqueue import PREFERENCE, Enqueuing, accept, is_preferred
from picloud.orchestrator.idempotency import HEADER
from picloud.orchestrator.ingress import ScriptResolver
from picloud.orchestrator.request import Proxies, connection_of
from picloud.orchestrator.resources.dry_run import DryRunShape, dry_run_shape
from picloud.orchestrator.response import send

_HEADERS: dict[str, Any] = {
    "Picloud-Invocation": Annotated[str, Meta(extra_json_schema={"format": "uuid"}, description="its id")],
    "Server-Timing": Annotated[str, Meta(description="ms: queue, run, cpu, total")],
}


_RECORDED_WITHIN_S = 2.0  # unless the database is away


class InvokeQuery(Query):
    """How to run it."""

    recorded: Annotated[
        bool, Meta(description="answer once the record and the log can be read, at most 2 s after the run")
    ] = False
    dry_run: Annotated[
        bool, Meta(description="keep nothing, and answer with what it would do; needs the scope `read`, too")
    ] = False
    allow_http: Annotated[bool, Meta(description="with dry_run: call other servers, which nothing undoes")] = False


ANSWERS: dict[int | str, Answer] = {
    200: Answer(
        DryRunShape,
        or_any=True,
        media=("*/*",),
        meaning="The script's own answer; with `dry_run`, what it would do",
    ),
    204: Answer(headers=_HEADERS, meaning="The script answered with nothing"),
    "default": Answer(media=("*/*",), headers=_HEADERS, meaning="The script's own answer"),
}
"""Of what runs a script by hand."""

_LATER: dict[int | str, Answer] = {
    202: Answer(
        Job,
        or_any=True,
        media=("*/*",),
        meaning="With `Prefer: respond-async`, the job, at `Location`; else the script's own answer",
    )
}

_HEEDED: dict[str, Any] = {
    "Prefer": Annotated[str, Meta(description=f"`{PREFERENCE}`: store a job that runs later, and answer at once")],
    HEADER: Annotated[
        str, Meta(description="of a job, if the script's setting `idempotency` is on: there is one with this key")
    ],
}

PROBLEMS = tuple(outcome for outcome in Outcome if outcome not in (Outcome.OK, Outcome.CALLER_GONE))
"""Of the same: what no caller is told is none."""


class Runs:
    """What runs a script by hand, in earnest or not."""

    def __init__(self, dispatcher: Dispatcher, dry_runs: DryRuns) -> None:
        self._dispatcher = dispatcher
        self._dry_runs = dry_runs

    def answer(
        self, program: Program, source: RequestSource, query: InvokeQuery, req: falcon.Request, resp: falcon.Response
    ) -> None:
        """Run it as the query says, and answer. A dry run shows what is logged and kept: Forbidden to who may not."""
        if query.dry_run:
            principal = req.context.principal
            principal.require(Scope.READ, program.script)
            shown = self._dry_runs.run(program, source, allow_http=query.allow_http)
            send_json(resp, dry_run_shape(shown, principal.scripts))
            return
        finished = self._dispatcher.dispatch(program, new_id(), source)
        if query.recorded and finished.body:
            finished.body.then(self._wait_until_recorded)
        elif query.recorded:
            self._wait_until_recorded()
        send(finished, resp)

    def _wait_until_recorded(self) -> None:
        self._dispatcher.wait_until_recorded(_RECORDED_WITHIN_S)


class InvokeResource:
    """`/api/v1/scripts/NAME/invoke`"""

    def __init__(self, resolver: ScriptResolver, runs: Runs, enqueuing: Enqueuing, proxies: Proxies) -> None:
        self._resolver = resolver
        self._runs = runs
        self._enqueuing = enqueuing
        self._proxies = proxies

    @endpoint(
        Scope.INVOKE,
        query=InvokeQuery,
        media={"*/*": None},
        body_required=False,
        answers=ANSWERS | _LATER,
        headers=_HEEDED,
        problems=("not-found", *PROBLEMS),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, script: str, query: InvokeQuery) -> None:
        """Run the script once: it sees POST, path `/`, trigger `invoke`, this body and its type.

        The answer is the script's own, with `Picloud-Invocation` and `Server-Timing`. With `dry_run` it is rolled back,
        has no record, and the answer is what it said and would do. With `Prefer: respond-async` it runs later, with the
        trigger `job`: the answer is 202 and the job, which is stored then.
        """
        program, source = self._resolver.resolve(script), _Invoked(req, self._proxies)
        if not is_preferred(req.env):
            self._runs.answer(program, source, query, req, resp)
        elif query.dry_run:
            raise InvalidRequest.of("dry_run", f"does not go with 'Prefer: {PREFERENCE}'", "?")
        else:
            added = self._enqueuing.enqueue(program, source, req.env.get("HTTP_IDEMPOTENCY_KEY"))
            accept(added, added.job, resp)


class _Invoked:
    """The request of `invoke`, as a script sees it."""

    def __init__(self, req: falcon.Request, proxies: Proxies) -> None:
        self._req = req
        self._proxies = proxies

    @property
    def caller(self) -> socket.socket:
        """Who waits for the answer."""
        return connection_of(self._req.env)

    def read(self, invocation_id: str, body_bytes_max: int) -> Request:
        """BodyTooLarge, InvalidRequest."""
        content_type, environ = self._req.content_type, self._req.env
        return Request(
            id=invocation_id,
            method="POST",
            path="/",
            query_string="",
            headers=(("content-type", content_type),) if content_type else (),
            body=read_body(environ, body_bytes_max),
            host=environ.get("HTTP_HOST", ""),
            remote_addr=self._proxies.client(environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")),
            trigger=Trigger.INVOKE,
        )
