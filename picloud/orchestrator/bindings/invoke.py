"""`invoke`: a script runs another one, in a sandbox of its own and in the transaction that both share.

| call          | arguments                                          | values                         |
|---------------|----------------------------------------------------|--------------------------------|
| script.invoke | script, method, path, query, body, name, value, …  | status, body, name, value, …   |

What the invoked script did is kept if it returns a response, and else undone, to a savepoint: who invokes goes on
either way, and if it fails both are undone. Two transactions could wait for each other where no database can see it.

It runs until the deadline of who invokes, or its own if that is sooner, and counts against its own `concurrency`.

Its sandbox is one of a reserve: in the pool's queue it would stand behind others, who hold every sandbox and wait for
what its caller has locked. The reserve is never empty: the transaction begins here at the latest, so that no more
invocations than there are connections invoke at once, and the depth is bounded, too.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from picloud.errors import ConcurrencyLimit, DeadlinePassed, InvalidRequest, Overloaded
from picloud.model import (
    HeaderList,
    LogLine,
    Outcome,
    Program,
    Request,
    Response,
    Run,
    Trigger,
    new_id,
)
from picloud.orchestrator.admission import Admission
from picloud.orchestrator.attempt import Attempt, Binding, Runner
from picloud.orchestrator.bindings.granting import Resolver, granted
from picloud.orchestrator.bindings.reading import latin, text
from picloud.orchestrator.journal import Journal
from picloud.orchestrator.streaming import whole
from picloud.settings import INVOKE_DEPTH_MAX

_HEADERS_MAX = 100
_METHOD_BYTES_MAX = 20


class Invoking:
    """Runs scripts for scripts."""

    def __init__(self, resolver: Resolver, admission: Admission, runner: Runner, journal: Journal) -> None:
        self._resolver = resolver
        self._admission = admission
        self._runner = runner
        self._journal = journal

    def table(self) -> Mapping[str, Binding]:
        """Its host calls."""
        return {"script.invoke": self._invoke}

    def _invoke(self, attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
        if attempt.depth >= INVOKE_DEPTH_MAX:
            raise InvalidRequest(f"scripts invoke each other at most {INVOKE_DEPTH_MAX} deep")
        name, request = _request(attempt.request, arguments)
        program = _until(granted(self._resolver, name, attempt.program), attempt.deadline)
        if len(request.body) > program.settings.limits.request_bytes:
            raise InvalidRequest(f"'{name}' takes at most {program.settings.limits.request_bytes} bytes")
        started_at, lines = datetime.now(UTC), list[LogLine]()
        try:
            with self._admission.script(name, program.settings.limits.concurrency):
                run = self._run(attempt, program, request, lines)
        except (ConcurrencyLimit, Overloaded) as error:
            raise InvalidRequest(str(error)) from None
        record = self._journal.record(program, request, run, started_at, lines, attempt.shared.mask)
        attempt.shared.invoked.add(record)
        return _answer(name, run)

    def _run(self, attempt: Attempt, program: Program, request: Request, lines: list[LogLine]) -> Run:
        with attempt.savepoint() as before:
            invoked = attempt.invoking(program, request)
            run = invoked.run(self._runner, lines.append)
            invoked.has_answered = True  # to whom its stream belongs as to any other
            run = whole(request, run)
            if run.outcome is not Outcome.OK or not run.committed:
                before.restore()
            return run


def _request(caller: Request, arguments: Sequence[bytes]) -> tuple[str, Request]:
    if len(arguments) < 5 or len(arguments) % 2 == 0 or len(arguments) > 5 + 2 * _HEADERS_MAX:
        raise InvalidRequest(f"needs a script, a method, a path, a query, a body and at most {_HEADERS_MAX} headers")
    name, method, path, query, body, *fields = arguments
    if not (method.isalpha() and method.isupper() and len(method) <= _METHOD_BYTES_MAX):
        raise InvalidRequest("method must be a word in capitals")
    request = Request(
        id=new_id(),
        method=latin(method),
        path=latin(path),
        query_string=latin(query),
        headers=_headers(fields),
        body=body,
        host=caller.host,
        remote_addr=caller.remote_addr,
        trigger=Trigger.INVOKE,
        event_depth=caller.event_depth,
    )
    return text(name, "a script's name"), request


def _headers(fields: Sequence[bytes]) -> HeaderList:
    joined: dict[str, str] = {}
    for name, value in zip(map(latin, fields[::2]), map(latin, fields[1::2]), strict=True):
        joined[name.lower()] = f"{joined[name.lower()]}, {value}" if name.lower() in joined else value
    return tuple(joined.items())


def _until(program: Program, deadline: float) -> Program:
    limits = program.settings.limits
    wall_ms = min(limits.wall_ms, int((deadline - time.monotonic()) * 1000))
    if wall_ms <= 0:
        raise DeadlinePassed
    return replace(program, settings=replace(program.settings, limits=replace(limits, wall_ms=wall_ms)))


def _answer(name: str, run: Run) -> Sequence[bytes]:
    response: Response | None = run.response
    if response is None:
        raise InvalidRequest(f"'{name}' ended with {run.outcome}: {run.detail}")
    headers = [part.encode("latin-1") for pair in response.headers for part in pair]
    return [b"%d" % response.status, response.body, *headers]
