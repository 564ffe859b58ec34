"""What a script that invokes another one hands on to it."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from picloud.model import Outcome, Program, Request, Response, Run, Settings, Trigger
from picloud.orchestrator.admission import Admission
from picloud.orchestrator.bindings.invoke import Invoking
from picloud.orchestrator.journal import Journal
from sandbox.protocol import DONE
from tests.stateful import Calls, Known, Stateful


class Heard:
    """Runs nothing, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def run(self, _program: Program, request: Request, *_: Any) -> Run:
        self.requests.append(request)
        return Run(Outcome.OK, Response(200, (), b"done"))


class Nowhere:
    """Keeps no records."""

    add = mark = wait_until_written = lambda *_: None


@pytest.fixture
def admission(tmp_path: Path) -> Iterator[Admission]:
    ours = Admission(tmp_path / "lock", node_slots=3, threads=64)
    ours.open()
    with closing(ours):
        yield ours


def test_it_is_as_many_events_deep_as_who_invokes_it(database: str, admission: Admission) -> None:
    heard, status_of = Heard(), lambda _: 500
    resolver = Known({"other": Program("other", 1, {}, Settings())})
    table = Invoking(resolver, admission, heard, Journal(Nowhere(), status_of)).table()
    with closing(Stateful(database)) as stateful, stateful.begin(event_depth=3) as attempt:
        attempt.bindings = table
        assert Calls(attempt)(b"script.invoke", [b"other", b"POST", b"/", b"", b"x"]) == [DONE, b"200", b"done"]
    (request,) = heard.requests
    assert (request.trigger, request.event_depth, request.event, request.body) == (Trigger.INVOKE, 3, b"", b"x")
