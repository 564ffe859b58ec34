"""The clock sleeps until it is time, until somebody rings, or until the wall clock is set."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from picloud.orchestrator.clock import Clock, Timer, Woken
from tests.acceptance.test_idle import switches_of
from tests.running import PATIENCE_S, eventually

AN_HOUR_S = 3600.0
_CAP_SYS_TIME = 25


@pytest.fixture
def clock() -> Iterator[Clock]:
    with closing(Clock()) as it:
        yield it


class Waiting:
    """A thread in one wait of a clock."""

    def __init__(self, clock: Clock, delay_s: float | None) -> None:
        self.woken: list[Woken] = []
        self._thread = threading.Thread(target=lambda: self.woken.append(clock.wait(delay_s)))
        self._thread.start()
        eventually(self._sleeps, bool)

    def end(self) -> list[Woken]:
        self._thread.join(PATIENCE_S)
        return self.woken

    def _sleeps(self) -> bool:
        path = Path(f"/proc/self/task/{self._thread.native_id}/wchan")
        return "poll" in path.read_text() or self._state() == "S"

    def _state(self) -> str:
        text = Path(f"/proc/self/task/{self._thread.native_id}/stat").read_text()
        return text.rpartition(")")[2].split()[0]


def set_to_what_it_is() -> bool:
    """Set the wall clock, if we may, to the moment that it shows: the kernel tells everybody who wants to know."""
    try:
        time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME))
    except PermissionError:
        capabilities = next(
            line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")
        )
        assert not int(capabilities, 16) >> _CAP_SYS_TIME & 1
        return False
    return True


class SetTimer(Timer):
    """A timer to which the kernel says, once it is armed for a second time, that the clock was set."""

    def __init__(self, *, while_armed: bool) -> None:
        self._while_armed = while_armed
        self._sets = 0
        super().__init__()

    def arm(self, delay_s: float | None) -> bool:
        self._sets += 1
        super().arm(0 if self._sets == 2 else delay_s)
        return self._while_armed or self._sets != 2

    def has_come(self) -> bool | None:
        has_come = super().has_come()
        return None if self._sets == 2 else has_come


@pytest.mark.parametrize("delay_s", [0, -5, 0.001, -time.time() - 5])
def test_a_wait_ends_when_its_time_has_come(clock: Clock, delay_s: float) -> None:
    assert clock.wait(delay_s) is Woken.TIME


def test_a_wait_is_not_over_before_its_time(clock: Clock) -> None:
    before = time.clock_gettime(time.CLOCK_REALTIME)
    assert clock.wait(0.2) is Woken.TIME
    assert time.clock_gettime(time.CLOCK_REALTIME) >= before + 0.2


@pytest.mark.parametrize("delay_s", [None, AN_HOUR_S, 1e10])
def test_a_ring_ends_a_wait(clock: Clock, delay_s: float | None) -> None:
    waiting = Waiting(clock, delay_s)
    clock.ring()
    assert waiting.end() == [Woken.RUNG]


def test_rings_before_a_wait_are_not_lost_and_are_one(clock: Clock) -> None:
    for _ in range(3):
        clock.ring()
    assert clock.wait(None) is Woken.RUNG
    assert clock.wait(0) is Woken.TIME


def test_who_was_rung_for_hears_of_the_time_by_the_next_wait(clock: Clock) -> None:
    clock.ring()
    assert clock.wait(-1) is Woken.RUNG
    assert clock.wait(-1) is Woken.TIME


def test_a_moment_that_came_between_two_waits_is_no_reason_to_end_the_next(clock: Clock) -> None:
    clock.ring()
    assert clock.wait(0.001) is Woken.RUNG
    time.sleep(0.01)  # not in hope: past the moment
    waiting = Waiting(clock, AN_HOUR_S)
    clock.ring()
    assert waiting.end() == [Woken.RUNG]


def test_a_stop_ends_this_wait_and_every_other(clock: Clock) -> None:
    waiting = Waiting(clock, None)
    clock.stop()
    assert waiting.end() == [Woken.STOPPED]
    assert [clock.wait(delay_s) for delay_s in (None, 0, AN_HOUR_S)] == [Woken.STOPPED] * 3


@pytest.mark.parametrize("while_armed", [True, False])
def test_a_clock_that_is_set_ends_the_wait_or_the_next_one(while_armed: bool) -> None:
    with closing(Clock(SetTimer(while_armed=while_armed))) as clock:
        assert clock.wait(AN_HOUR_S) is Woken.CLOCK_SET
        clock.ring()
        assert clock.wait(AN_HOUR_S) is Woken.RUNG


def test_what_else_the_kernel_says_is_an_error(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    no_timer = os.pidfd_open(os.getpid())
    monkeypatch.setattr(clock._timer, "descriptor", no_timer)
    with pytest.raises(OSError, match="Invalid argument"):
        clock.wait(None)
    os.close(no_timer)
    monkeypatch.undo()  # before the clock is closed


@pytest.mark.root
@pytest.mark.parametrize("delay_s", [None, AN_HOUR_S])
def test_the_kernel_tells_a_sleeper_of_a_clock_that_is_set(clock: Clock, delay_s: float | None) -> None:
    waiting = Waiting(clock, delay_s)
    if not set_to_what_it_is():
        clock.stop()  # a machine that does not let us: the one above stands in
        waiting.end()
        return
    assert waiting.end() == [Woken.CLOCK_SET]
    assert clock.wait(0) is Woken.TIME


@pytest.mark.root
def test_a_clock_that_is_set_between_two_waits_is_told_by_the_second(clock: Clock) -> None:
    assert clock.wait(0) is Woken.TIME
    if set_to_what_it_is():
        assert clock.wait(AN_HOUR_S) is Woken.CLOCK_SET
    clock.ring()
    assert clock.wait(AN_HOUR_S) is Woken.RUNG


def test_a_sleeper_is_not_scheduled(clock: Clock) -> None:
    waiting = Waiting(clock, AN_HOUR_S)
    tasks = Path("/proc/self/task")
    name = next(key for key in switches_of(tasks) if f"/{waiting._thread.native_id} " in key)

    def rests() -> bool:
        before = switches_of(tasks)[name]
        threading.Event().wait(1.0)  # not in hope: the length of the measurement
        return switches_of(tasks)[name] == before

    assert any(rests() for _ in range(3))
    clock.stop()
    waiting.end()
