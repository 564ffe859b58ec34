"""Which requests are kept, how much of them, and that no secret is written with one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from picloud.errors import DatabaseUnavailable
from picloud.model import (
    Invocation,
    KeptRequest,
    Outcome,
    Program,
    Record,
    Recording,
    Request,
    Response,
    Run,
    Settings,
    Trigger,
    new_id,
)
from picloud.orchestrator.masking import Mask
from picloud.orchestrator.recording import BODY_BYTES_MAX, GrantsMasked, kept_request
from picloud.sealing import CannotOpen

REQUEST = Request(new_id(), "POST", "/", "", (("x-a", "1"),), b"body")


def of(
    run: Run, request: Request = REQUEST, setting: Recording = Recording.ALL, mask: Mask | None = None
) -> KeptRequest | None:
    return kept_request(Program("test", 1, {}, Settings(record=setting)), request, run, mask or Mask())


def answered(status: int) -> Run:
    return Run(Outcome.OK, Response(status, (), b""))


def whole(request: Request) -> KeptRequest:
    kept = of(answered(200), request)
    assert kept
    return kept


@pytest.mark.parametrize(
    ("run", "is_failure"),
    [
        (answered(200), False),
        (answered(499), False),
        (answered(500), True),
        (Run(Outcome.SCRIPT_ERROR), True),
        (Run(Outcome.TIMEOUT), True),
        (Run(Outcome.INVALID_REQUEST), True),
    ],
)
def test_the_setting_says_whose_are_kept(run: Run, is_failure: bool) -> None:
    assert of(run, setting=Recording.NONE) is None
    assert (of(run, setting=Recording.FAILURES) is not None) is is_failure
    assert of(run, setting=Recording.ALL) is not None


@pytest.mark.parametrize("outcome", [Outcome.OVERLOADED, Outcome.CONCURRENCY_LIMIT])
def test_what_was_turned_away_is_not_kept(outcome: Outcome) -> None:
    assert of(Run(outcome)) is None


def test_nothing_is_masked_without_a_reason() -> None:
    assert whole(REQUEST) == KeptRequest(REQUEST, 4, cut=False, masked=False)


def test_a_body_is_kept_whole_or_not_at_all() -> None:
    assert not whole(replace(REQUEST, body=b"x" * BODY_BYTES_MAX)).cut
    over = whole(replace(REQUEST, body=b"x" * (BODY_BYTES_MAX + 1)))
    assert (over.cut, over.request.body, over.body_bytes) == (True, b"", BODY_BYTES_MAX + 1)
    assert over.request.headers == REQUEST.headers


def test_headers_without_end_are_left_out() -> None:
    many = whole(replace(REQUEST, headers=tuple((f"x-{n}", "v" * 8000) for n in range(9))))
    assert (many.cut, many.request.headers, many.request.body) == (True, (), b"body")


def test_credentials_are_masked_in_every_request() -> None:
    fields = (("authorization", "Basic x"), ("cookie", "a=b"), ("proxy-authorization", "y"), ("x-a", "1"))
    kept = whole(replace(REQUEST, headers=fields))
    assert [value for _, value in kept.request.headers] == ["***", "***", "***", "1"]
    assert kept.masked


def test_secrets_that_were_got_are_masked_wherever_they_stand() -> None:
    mask = Mask()
    mask.add("gehéim")
    latin = "gehéim".encode().decode("latin-1")
    request = replace(
        REQUEST, path=f"/{latin}", query_string="k=geh%C3%A9im", headers=(("x-a", latin),),
        params=(("rest", latin),), body=b"\xff" + "gehéim".encode(), event=f'"{latin}"'.encode("latin-1"),
    )  # fmt: skip
    kept = of(answered(200), request, mask=mask)
    assert kept
    it = kept.request
    assert (it.path, it.query_string, it.headers, it.params, it.body, it.event) == (
        "/***", "k=***", (("x-a", "***"),), (("rest", "***"),), b"\xff***", b'"***"',
    )  # fmt: skip
    assert kept.masked


class Table:
    """Where records arrive."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def add(self, records: Sequence[Record]) -> None:
        self.records += records

    def mark(self, invocation: Invocation) -> None:
        raise AssertionError(invocation)


class Secrets:
    """One that is known, one that is not there, one that cannot be opened, one whose database is away."""

    def get(self, name: str) -> str | None:
        if name == "SEALED":
            raise CannotOpen(name)
        if name == "AWAY":
            raise DatabaseUnavailable
        return {"KEY": "the key"}.get(name)


def record(*granted: str, kept: KeptRequest | None) -> Record:
    now = datetime.now(UTC)
    return Record(Invocation(new_id(), "a", 1, Trigger.HTTP, Outcome.OK, 200, now, 0, 0, 0, 0), (), kept, granted)


def test_secrets_that_are_granted_are_masked_before_a_request_is_written() -> None:
    table = Table()
    kept = whole(replace(REQUEST, body=b"it is the key"))
    GrantsMasked(table, Secrets()).add(
        [record("KEY", "MISSING", kept=kept), record(kept=kept), record("KEY", kept=None)]
    )
    bodies = [it.request and it.request.request.body for it in table.records]
    assert bodies == [b"it is ***", b"it is the key", None]
    assert [it.request and it.request.masked for it in table.records] == [True, False, None]


def test_a_request_is_not_written_if_nobody_knows_what_to_mask(caplog: pytest.LogCaptureFixture) -> None:
    table = Table()
    one = record("KEY", "SEALED", kept=whole(REQUEST))
    GrantsMasked(table, Secrets()).add([one])
    assert [(it.invocation, it.request) for it in table.records] == [(one.invocation, None)]
    assert f"the request of {one.invocation.id} is not kept" in caplog.text


def test_a_batch_waits_for_the_database_that_knows_what_to_mask() -> None:
    table = Table()
    with pytest.raises(DatabaseUnavailable):
        GrantsMasked(table, Secrets()).add([record("AWAY", kept=whole(REQUEST))])
    assert table.records == []
