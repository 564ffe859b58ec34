"""When a refusal stands for those that come after it, by a clock of our own."""

import pytest

from picloud.errors import ConcurrencyLimit
from picloud.orchestrator.flood import FEW, Flood

REFUSAL = ConcurrencyLimit("'a' is full")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def flood(clock: Clock) -> Flood:
    """One that stands at `a`."""
    flood = Flood(clock)
    for _ in range(FEW):
        flood.refused("a", REFUSAL)
    return flood


def test_a_few_refusals_are_no_flood(clock: Clock) -> None:
    flood = Flood(clock)
    for _ in range(FEW - 1):
        flood.refused("a", REFUSAL)
        assert flood.standing("a") is None


def test_in_a_flood_the_last_refusal_stands_for_all_at_that_place_and_for_nobody_else(flood: Flood) -> None:
    assert [flood.standing("a") for _ in range(100)] == [REFUSAL] * 100
    assert flood.standing("b") is None


def test_as_many_are_let_through_as_leave(flood: Flood) -> None:
    flood.freed("a")
    flood.freed("a")
    assert [flood.standing("a") for _ in range(4)] == [None, None, REFUSAL, REFUSAL]


def test_who_is_let_through_in_vain_ends_it_for_the_others(flood: Flood) -> None:
    flood.freed("a")
    flood.freed("a")
    assert flood.standing("a") is None
    flood.refused("a", REFUSAL)
    assert flood.standing("a") is REFUSAL


def test_one_tries_now_and_then_whatever_happens(flood: Flood, clock: Clock) -> None:
    for _ in range(3):
        clock.now += 0.03
        assert [flood.standing("a") for _ in range(3)] == [None, REFUSAL, REFUSAL]
        flood.refused("a", REFUSAL)


def test_while_nobody_is_let_through_in_vain_more_and_more_are(flood: Flood, clock: Clock) -> None:
    let_through = []
    for _ in range(5):
        clock.now += 0.03
        let_through.append([flood.standing("a") for _ in range(20)].count(None))
    assert let_through == [1, 2, 4, 8, 16]
    flood.refused("a", REFUSAL)
    clock.now += 0.03
    assert [flood.standing("a") for _ in range(3)] == [None, REFUSAL, REFUSAL]


def test_it_ends_though_places_are_left_and_taken_all_the_time(flood: Flood, clock: Clock) -> None:
    inside, refusals = 3, 0  # of ten that could be, and want to be
    for _ in range(100):
        clock.now += 0.005
        inside -= 1
        flood.freed("a")
        refused = 0
        while inside + refused < 10:
            if flood.standing("a"):
                refused += 1
            else:
                inside += 1
        refusals = refusals + refused if refused else 0
    assert (inside, refusals) == (10, 0)


def test_after_a_quiet_second_it_is_over(flood: Flood, clock: Clock) -> None:
    clock.now += 1.1
    assert flood.standing("a") is None
    flood.refused("a", REFUSAL)
    assert flood.standing("a") is None


def test_while_refusals_go_on_it_is_not_over(flood: Flood, clock: Clock) -> None:
    for _ in range(300):
        clock.now += 0.01
        if not flood.standing("a"):
            flood.refused("a", REFUSAL)
    assert flood.standing("a") is REFUSAL


def test_what_is_remembered_is_bounded(clock: Clock) -> None:
    flood = Flood(clock)
    for number in range(10_000):
        flood.refused(str(number), REFUSAL)
    assert len(flood._crowds) <= 1_000
