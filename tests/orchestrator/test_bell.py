"""The bell tells once for many things, and goes on trying while the database is away."""

import logging
import threading
from collections.abc import Iterator

import pytest

from picloud.errors import DatabaseUnavailable
from picloud.orchestrator import bell as module
from picloud.orchestrator.bell import Bell
from tests.running import PATIENCE_S, eventually


class Told:
    """Who is told; may be away, and may take long to hear."""

    def __init__(self) -> None:
        self.count = 0
        self.vain = 0
        self.away = False
        self.may_hear = threading.Event()
        self.may_hear.set()
        self.hearing = threading.Event()

    def tell(self) -> None:
        self.hearing.set()
        self.may_hear.wait(PATIENCE_S)
        if self.away:
            self.vain += 1
            raise DatabaseUnavailable("the database is away")
        self.count += 1


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def bell(told: Told) -> Iterator[Bell]:
    it = Bell(told.tell)
    it.start()
    eventually(lambda: told.count, lambda count: count == 1)  # it rings by itself when it starts
    yield it
    it.stop()


def test_each_ring_is_told(bell: Bell, told: Told) -> None:
    for count in (2, 3, 4):
        bell.ring()
        eventually(lambda: told.count, count.__eq__)


def test_all_that_is_rung_for_while_it_tells_is_told_once(bell: Bell, told: Told) -> None:
    told.may_hear.clear()
    told.hearing.clear()
    bell.ring()
    assert told.hearing.wait(PATIENCE_S)
    for _ in range(5):
        bell.ring()
    told.may_hear.set()
    bell.stop()
    assert told.count == 3


def test_what_was_rung_for_last_is_told_before_the_end(bell: Bell, told: Told) -> None:
    bell.ring()
    bell.stop()
    assert told.count == 2


def test_while_the_database_is_away_it_tries_again(bell: Bell, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRY_S", 0.01)
    told.away = True
    bell.ring()
    eventually(lambda: told.vain, lambda vain: vain > 2)
    told.away = False
    eventually(lambda: told.count, lambda count: count == 2)


def test_a_stop_does_not_wait_for_a_database_that_is_away(
    bell: Bell, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    told.away = True
    bell.ring()
    eventually(lambda: told.vain, bool)
    with caplog.at_level(logging.WARNING):
        bell.stop()
    assert "the bell was rung in vain: the database is away" in caplog.text


def test_one_that_was_never_started_can_be_stopped(told: Told) -> None:
    Bell(told.tell).stop()
    assert told.count == 0
