"""Host calls of invocations in this very process, on a real database or without one: no server, no sandbox."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime

from picloud.cli.reaching import host_calls
from picloud.errors import NotFound
from picloud.executor.client import HostCallRefused, HostCalls
from picloud.model import Invocation, Outcome, Program, Request, Settings, Trigger, new_id
from picloud.orchestrator.attempt import Attempt, Attempts, Surroundings
from picloud.orchestrator.bindings import bindings
from picloud.orchestrator.outbound.fetching import Fetcher
from picloud.orchestrator.outbound.lookups import system_lookup
from picloud.settings import load
from picloud.storage.unit_of_work import UnitsOfWork
from sandbox.protocol import DONE, REFUSED

_PATIENCE_S = 60.0
_ALONE = Surroundings(
    mark=lambda: None, sandbox_parked=nullcontext, place_parked=lambda: nullcontext(enter_result=False)
)


class Stateful:
    """Begins attempts of a script that has this number."""

    def __init__(
        self,
        database: str,
        script_id: int = 1,
        settings: Settings | None = None,
        secret_values: Mapping[str, str] | None = None,
        others: Mapping[str, Settings] | None = None,
        ring: Callable[[], None] = lambda: None,
    ) -> None:
        self.units = UnitsOfWork(database, size=8, wait_ms=10_000, ring=ring)
        self._program = Program("test", 1, {}, settings or Settings(), script_id)
        programs = [Program(name, 1, {}, those) for name, those in (others or {}).items()]
        resolver = Known({it.script: it for it in (self._program, *programs)})
        self._attempts = Attempts(self.units, bindings(Fetcher(system_lookup, ()), secret_values or {}, resolver))

    def begin(self, script: str = "", event_depth: int = 0) -> Attempt:
        """One that rolls back at the end of its block unless `settle` was called; of another script, if it is named."""
        request = Request(new_id(), "POST", "/", "", (), b"", event_depth=event_depth)
        program = replace(self._program, script=script) if script else self._program
        return self._attempts.begin(program, request, _ALONE)

    @contextmanager
    def committing(self) -> Iterator["Calls"]:
        """The host calls of an invocation that commits at the end of the block."""
        with self.begin() as attempt:
            yield Calls(attempt)
            settle(attempt)

    def close(self) -> None:
        self.units.close()


class Known:
    """Scripts by name."""

    def __init__(self, programs: Mapping[str, Program]) -> None:
        self._programs = programs

    def resolve(self, name: str) -> Program:
        """NotFound."""
        if name not in self._programs:
            raise NotFound(f"there is no script '{name}'")
        return self._programs[name]


class Calls:
    """What a sandbox has of an attempt."""

    def __init__(self, attempt: HostCalls) -> None:
        self._attempt = attempt

    def __call__(self, name: bytes, arguments: Sequence[bytes]) -> list[bytes]:
        """As `Engine` asks."""
        try:
            return [DONE, *self._attempt.call(name.decode(), arguments, time.monotonic() + _PATIENCE_S)]
        except HostCallRefused as refusal:
            return [REFUSED, str(refusal).encode()]


def without_database() -> Calls:
    """Those that a script has in `picloud run`."""
    return Calls(host_calls(load({}), Program("test", 1, {}, Settings()), Request(new_id(), "POST", "/", "", (), b"")))


def settle(attempt: Attempt) -> None:
    """Make what it did last."""
    attempt.settle(
        Invocation(
            attempt.request.id, "test", 1, Trigger.HTTP, Outcome.OK, 200, datetime.now(UTC), 0.0, 0.0, 0.0, 0,
        )
    )  # fmt: skip
