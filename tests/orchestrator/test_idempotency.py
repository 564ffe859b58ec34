"""Twins: of requests with the same key one runs at a time, and the others wait."""

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import pytest

from picloud.errors import AnswerNotKept, InvalidRequest, StillRunning
from picloud.model import Outcome, Program, Request, Response, Run, Settings
from picloud.orchestrator.idempotency import ANSWER_BYTES_MAX, Claim, Twins, claim_of, find, keep
from picloud.storage.unit_of_work import UnitOfWork
from tests.stateful import Stateful, settle

PATIENCE_S = 60.0
PROGRAM = Program("test", 1, {}, Settings(idempotency=True), 7)
REQUEST = Request("id", "POST", "/a", "b=1", (("content-type", "text/plain"),), b"body", idempotency_key="k")


def claim(key: str = "k", wait_s: float = PATIENCE_S, script_id: int = 1) -> Claim:
    return Claim(script_id, key, b"", time.monotonic() + wait_s)


def anyhow() -> nullcontext[None]:
    return nullcontext()


class Waiting:
    """Tells who waits."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.inside = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.inside += 1
        self.entered.release()
        try:
            yield
        finally:
            self.inside -= 1


def test_twins_take_turns_and_wait_where_they_are_told() -> None:
    twins, waiting, order = Twins(), Waiting(), list[str]()

    def second() -> None:
        with twins.turn(claim(), waiting):
            assert waiting.inside == 0  # who runs waits no more
            order.append("second")

    with ThreadPoolExecutor(1) as threads:
        with twins.turn(claim(), waiting):
            assert waiting.inside == 0  # who runs at once never waits
            done = threads.submit(second)
            assert waiting.entered.acquire(timeout=PATIENCE_S)
            order.append("first")
        done.result(PATIENCE_S)
    assert order == ["first", "second"]


def test_who_waits_too_long_is_told_so_and_takes_no_turn() -> None:
    twins = Twins()
    with twins.turn(claim(), anyhow), pytest.raises(StillRunning):  # noqa: SIM117 - the inner one raises
        with twins.turn(claim(wait_s=0.01), anyhow):
            raise AssertionError
    with twins.turn(claim(wait_s=0), anyhow):
        pass


def test_other_keys_other_scripts_and_no_key_wait_for_nobody() -> None:
    twins = Twins()
    with twins.turn(claim(), anyhow), twins.turn(claim("K"), anyhow), twins.turn(claim(script_id=2), anyhow):
        for _ in range(2):
            with twins.turn(None, anyhow), twins.turn(None, anyhow):
                pass


def test_a_turn_ends_with_its_block_whatever_becomes_of_it() -> None:
    twins = Twins()
    for _ in range(2):
        with pytest.raises(ValueError, match="x"), twins.turn(claim(wait_s=0), anyhow):
            raise ValueError("x")


def test_a_request_claims_its_key_if_the_settings_say_so() -> None:
    made = claim_of(PROGRAM, REQUEST)
    assert made is not None
    assert (made.script_id, made.key) == (7, "k")
    assert claim_of(replace(PROGRAM, settings=Settings()), REQUEST) is None
    assert claim_of(PROGRAM, replace(REQUEST, idempotency_key=None)) is None
    for wrong in ("", "é", "\x7f", "\t", "a" * 256, "a\n"):
        with pytest.raises(InvalidRequest, match="1 to 255 printable"):
            claim_of(PROGRAM, replace(REQUEST, idempotency_key=wrong))
        assert claim_of(replace(PROGRAM, settings=Settings()), replace(REQUEST, idempotency_key=wrong)) is None


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that invocations send to the database."""
    sent, read = list[str](), UnitOfWork.read

    def seen(work: UnitOfWork, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        sent.append(statement)
        return read(work, statement, parameters)

    monkeypatch.setattr(UnitOfWork, "read", seen)
    return sent


def test_a_replay_costs_one_statement_and_a_request_without_a_key_none(database: str, statements: list[str]) -> None:
    run = Run(Outcome.OK, Response(201, (("x-a", "1"),), b"made"))
    with closing(Stateful(database)) as stateful:
        with stateful.begin() as first:
            assert find(first, claim()) is None
            keep(first, claim(), run)
            settle(first)
        statements.clear()
        with stateful.begin() as second:
            assert find(second, claim()) == replace(run, replays=first.request.id)
        assert len(statements) == 1
        with stateful.begin() as without:
            assert find(without, None) is None
            keep(without, None, run)
            settle(without)
            assert without.shared.work is None
    assert len(statements) == 1


def test_an_answer_too_large_is_not_kept(database: str) -> None:
    with closing(Stateful(database)) as stateful, stateful.begin() as attempt:
        with pytest.raises(AnswerNotKept, match="1048577 bytes"):
            keep(attempt, claim(), Run(Outcome.OK, Response(200, (), b"x" * (ANSWER_BYTES_MAX + 1))))
        assert attempt.shared.work is None


def test_requests_are_the_same_by_method_path_query_type_and_body() -> None:
    same = [
        REQUEST,
        replace(REQUEST, id="other", host="elsewhere", remote_addr="::1", idempotency_key="l"),
        replace(REQUEST, headers=(("user-agent", "x"), ("content-type", "text/plain"))),
    ]
    others = [
        replace(REQUEST, method="PUT"),
        replace(REQUEST, path="/", query_string="ab=1"),
        replace(REQUEST, path="/ab=1", query_string=""),
        replace(REQUEST, query_string="b=2"),
        replace(REQUEST, headers=()),
        replace(REQUEST, headers=(("content-type", ""),), body=b"text/plainbody"),
        replace(REQUEST, body=b"body "),
        replace(REQUEST, path="/\xe9"),
    ]
    prints = [made.fingerprint for it in (*same, *others) if (made := claim_of(PROGRAM, it))]
    assert len(set(prints[: len(same)])) == 1
    assert len(set(prints)) == 1 + len(others)
