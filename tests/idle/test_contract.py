"""The words for what did not rest."""

from dataclasses import replace

import pytest

from picloud.idle.contract import deeds, wakeups, wakeups_max
from picloud.idle.usage import Fate, Usage

QUIET = Usage("picloud.service", 7, "picloud.server", Fate.STAYED, 0, 0, 0, 0, 0, 4096, {})


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        (replace(QUIET, voluntary=2, involuntary=1, busy={"main": 1, "pool": 2}),
         "was switched to 3 times (threads: main 1, pool 2)"),
        (replace(QUIET, voluntary=1, busy={"main": 1}, cpu_ns=1_250_000),
         "was switched to once (threads: main 1), used 1.2 ms of CPU"),
        (replace(QUIET, written_bytes=4096), "wrote 4096 bytes"),
        (replace(QUIET, fate=Fate.CAME), "was started meanwhile"),
        (replace(QUIET, fate=Fate.WENT, pss_bytes=None), "ended meanwhile"),
    ],
)  # fmt: skip
def test_a_process_that_did_something_is_named_with_what_it_did(usage: Usage, said: str) -> None:
    assert not usage.rested
    assert deeds([QUIET, usage]) == [f"picloud.server (pid 7, picloud.service) {said}"]


def test_who_rested_is_not_named_not_even_if_some_of_it_may_not_be_read() -> None:
    assert deeds([QUIET, replace(QUIET, written_bytes=None, pss_bytes=None)]) == []


def test_who_had_to_wait_for_a_turn_was_not_woken() -> None:
    assert wakeups([QUIET, replace(QUIET, voluntary=3, involuntary=9)]) == 3


@pytest.mark.parametrize(("seconds", "most"), [(1, 12), (10.01, 12), (60.02, 12), (90, 24), (120.0, 24)])
def test_postgresql_has_so_many_wake_ups_for_each_minute_that_was_begun(seconds: float, most: int) -> None:
    assert wakeups_max(seconds) == most
