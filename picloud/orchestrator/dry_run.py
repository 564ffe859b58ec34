"""A dry run: the real script on real data, of which nothing is kept, whatever comes of it.

It takes the way of every invocation (`dispatch`), with three things in other places: its transaction is watched and
never committed (`watching`), its records go nowhere, and `http.fetch` notes what it is asked for. That calls nobody
unless who runs it says so, since a call cannot be undone. Nothing of a dry run is left in the database, but that `kv`
does not give the numbers of its versions again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from picloud.errors import Forbidden
from picloud.model import Invocation, LogLine, Outcome, Program, Record, Request, Run, new_id
from picloud.orchestrator.attempt import Attempt, Attempts, Binding, Runner, Surroundings
from picloud.orchestrator.bindings import http
from picloud.orchestrator.dispatch import Dispatcher, Finished, RequestSource
from picloud.orchestrator.effects import Effects
from picloud.orchestrator.journal import Journal
from picloud.orchestrator.masking import Mask
from picloud.orchestrator.streaming import whole
from picloud.orchestrator.watching import WatchedSource
from picloud.orchestrator.work import WorkSource

_FETCH, _INCREASE = "http.fetch", "kv.incr"
_CALLS_NOBODY = "a dry run calls nobody; --allow-http lets it"


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a dry run showed."""

    finished: Finished
    records: Sequence[Record]  # those that would be kept: of each script that it invoked, its own last
    effects: Effects
    mask: Mask  # over the secrets that any of them got

    @property
    def would_commit(self) -> bool:
        """Whether a real run would have kept what it wrote."""
        return self.finished.run.outcome is Outcome.OK and self.finished.run.committed


class DryRuns:
    """Makes them. `dispatcher` is the node's, which waits for them when it stops."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        source: WorkSource,
        bindings: Mapping[str, Binding],
        status_of: Callable[[Outcome], int],
    ) -> None:
        self._dispatcher = dispatcher
        self._source = source
        self._bindings = bindings
        self._status_of = status_of

    def run(self, program: Program, source: RequestSource, *, allow_http: bool) -> Rehearsed:
        """Run a program once, and roll back. BodyTooLarge, InvalidRequest, Overloaded: it did not run."""
        attempts = _Rehearsals(self._source, self._bindings, allow_http=allow_http)
        records = _Shown()
        rehearsing = self._dispatcher.with_others(attempts, Journal(records, self._status_of))
        with self._dispatcher.counted():
            finished = rehearsing.dispatch(program, new_id(), source)
        return Rehearsed(finished, records.taken, attempts.effects, attempts.mask)


class _Rehearsals(Attempts):
    """Attempts of one dry run; what is known of them is of the last."""

    def __init__(self, source: WorkSource, bindings: Mapping[str, Binding], *, allow_http: bool) -> None:
        self.effects = Effects()
        self.mask = Mask()
        super().__init__(WatchedSource(source, self.effects), _watched(bindings, self.effects, allow_http=allow_http))

    def begin(self, program: Program, request: Request, surroundings: Surroundings) -> Attempt:
        """An attempt that has done nothing yet."""
        self.effects.clear()
        attempt = super().begin(program, request, surroundings)
        self.mask = attempt.shared.mask
        return _Rehearsal(attempt.program, attempt.request, attempt.bindings, attempt.shared)


class _Rehearsal(Attempt):
    """An attempt whose answer is made whole, if it is a stream: it is shown, and not sent."""

    def run(self, runner: Runner, on_log: Callable[[LogLine], None]) -> Run:
        """Run the program in a sandbox."""
        run = super().run(runner, on_log)
        self.has_answered = self.has_answered or run.stream is not None
        return whole(self.request, run)


class _Shown:
    """Takes records to be shown, and keeps nothing."""

    def __init__(self) -> None:
        self.taken: list[Record] = []

    def add(self, record: Record) -> None:
        """Take one."""
        self.taken.append(record)

    def mark(self, invocation: Invocation) -> None:
        """Nothing: nobody is to know."""

    def wait_until_written(self, seconds: float) -> None:
        """Nothing is."""


def _watched(bindings: Mapping[str, Binding], effects: Effects, *, allow_http: bool) -> Mapping[str, Binding]:
    """The same host calls, which say whose they are; and one that asks others only if it may."""

    def call(name: str, attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
        effects.script, effects.is_increase = attempt.program.script, name == _INCREASE
        return bindings[name](attempt, arguments)

    def fetch(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
        sent = http.outgoing(attempt, arguments, calls_before=len(effects.requests))
        effects.asked(attempt.program.script, sent, made=allow_http)
        if not allow_http:
            raise Forbidden(_CALLS_NOBODY)
        return bindings[_FETCH](attempt, arguments)

    return {name: partial(call, name) for name in bindings} | {_FETCH: fetch}
