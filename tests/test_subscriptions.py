"""Which events a subscription takes, and which patterns there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picloud.errors import InvalidRequest
from picloud.model import EVENT_TYPE_BYTES_MAX, Event
from picloud.subscriptions import SubscriptionWanted, type_patterns

WORDS = st.text("ab1-", min_size=1, max_size=3)


def event(kind: str, source: str = "/shop", subject: str | None = None) -> Event:
    return Event("1", source, kind, subject)


@pytest.mark.parametrize(
    ("pattern", "kind", "taken"),
    [
        ("order.*", "order.created", True),
        ("order.*", "order.item.added", True),
        ("order.item.*", "order.item.added", True),
        ("order.*", "order", False),
        ("order.*", "order.", False),
        ("order.*", "orders.created", False),
        ("order.*", "Order.created", False),
        ("order.created", "order.created", True),
        ("order.created", "order.created.late", False),
        ("order", "order.created", False),
        ("*", "order", True),
        ("*", "a.b.c", True),
    ],
)
def test_a_type_is_matched_segment_by_segment(pattern: str, kind: str, taken: bool) -> None:
    assert SubscriptionWanted(pattern).takes(event(kind)) is taken


@pytest.mark.parametrize(
    ("source", "subject", "taken"),
    [
        (None, None, True),
        ("/shop", None, True),
        ("/shop*", None, True),
        ("/sh*", None, True),
        ("*", None, True),
        ("/shop/*", None, False),
        ("/Shop", None, False),
        (None, "order 7", True),
        (None, "order*", True),
        (None, "*", True),
        (None, "order", False),
        ("/other", "*", False),
    ],
)
def test_source_and_subject_are_themselves_or_begin_so(source: str | None, subject: str | None, taken: bool) -> None:
    assert SubscriptionWanted("*", source, subject).takes(event("x", "/shop", "order 7")) is taken


def test_what_has_no_subject_is_taken_by_who_asks_for_none() -> None:
    assert SubscriptionWanted("*").takes(event("x"))
    assert not SubscriptionWanted("*", subject="*").takes(event("x"))


@pytest.mark.parametrize("pattern", ["", "a*", "*.a", "a.*.b", "**", "a.**", "*.*", "a.b*", "a\n", "x" * 256])
def test_a_star_stands_for_whole_segments_at_the_end(pattern: str) -> None:
    with pytest.raises(InvalidRequest, match="type"):
        SubscriptionWanted(pattern)


@pytest.mark.parametrize("pattern", ["", "a*b", "**", "\0"])
def test_a_pattern_of_sources_has_its_star_at_the_end(pattern: str) -> None:
    for field in ("source", "subject"):
        with pytest.raises(InvalidRequest, match=field):
            SubscriptionWanted("*", **{field: pattern})


@given(st.lists(WORDS, min_size=1, max_size=6), st.integers(0, 6))
def test_the_patterns_of_a_type_are_those_that_take_it(segments: list[str], cut: int) -> None:
    kind = ".".join(segments)
    patterns = type_patterns(kind)
    assert len(patterns) == len(segments) + 1
    for pattern in patterns:
        assert SubscriptionWanted(pattern).takes(event(kind))
    prefix = ".".join(segments[:cut]) + ".*"
    assert (prefix in patterns) is (0 < cut < len(segments))


def test_a_type_of_many_segments_has_few_patterns() -> None:
    assert len(type_patterns("." * EVENT_TYPE_BYTES_MAX)) <= EVENT_TYPE_BYTES_MAX + 1
