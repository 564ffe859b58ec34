"""When a job that failed runs again."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picloud.model import BACKOFF_MS_MOST, JOB_ATTEMPTS_MAX, Retry, backoff_ms


@pytest.mark.parametrize(("failed", "wait_ms"), [(1, 1_000), (2, 2_000), (3, 4_000), (12, 2_048_000), (13, 3_600_000)])
def test_each_wait_is_twice_as_long_up_to_the_longest(failed: int, wait_ms: int) -> None:
    assert backoff_ms(Retry(), failed, lambda: 0.5) == wait_ms


def test_chance_takes_half_or_adds_it() -> None:
    retry = Retry(backoff_ms=100)
    assert (backoff_ms(retry, 1, lambda: 0.0), backoff_ms(retry, 1, lambda: 1.0)) == (50, 150)


def test_without_a_backoff_nothing_waits() -> None:
    assert backoff_ms(Retry(backoff_ms=0), 5, random.random) == 0
    assert backoff_ms(Retry(backoff_max_ms=0), 5, random.random) == 0


@given(
    st.builds(Retry, backoff_ms=st.integers(0, BACKOFF_MS_MOST), backoff_max_ms=st.integers(0, BACKOFF_MS_MOST)),
    st.integers(0, JOB_ATTEMPTS_MAX),
    st.floats(0, 1),
)
def test_no_wait_is_longer_than_half_as_much_again_as_the_longest(retry: Retry, failed: int, chance: float) -> None:
    assert 0 <= backoff_ms(retry, failed, lambda: chance) <= retry.backoff_max_ms * 1.5
