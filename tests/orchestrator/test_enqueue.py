"""Who asks not to wait: `Prefer` as RFC 7240 has it."""

import pytest

from picloud.orchestrator.enqueue import is_preferred


@pytest.mark.parametrize(
    "asked",
    [
        "respond-async",
        "Respond-ASYNC",
        "  respond-async\t",
        "respond-async, wait=10",
        "wait=10,respond-async",
        'return=minimal;a="b, c", respond-async;x=1',
        'foo="a\\"b", respond-async',
        ",, respond-async,",
        'respond-async=""',
        "respond-async ; priority = 5",
    ],
)
def test_a_preference_is_found_wherever_it_stands(asked: str) -> None:
    assert is_preferred({"HTTP_PREFER": asked})


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "wait=10",
        "respond-asynchronously",
        "x-respond-async",
        "respond-async=no",
        'return="respond-async"',
        'foo="a, respond-async"',
        'foo="a\\", respond-async"',
        "foo; respond-async",
        'foo="never closed, respond-async',
        'respond-async, foo="never closed',
        "respond async",
    ],
)
def test_nothing_else_is_taken_for_it(asked: str) -> None:
    assert not is_preferred({"HTTP_PREFER": asked})


def test_who_says_nothing_waits() -> None:
    assert not is_preferred({"HTTP_ACCEPT": "respond-async"})


@pytest.mark.parametrize("piece", ['"', "\\", ",", 'a="', ", ", '"\\'])
def test_a_header_as_long_as_one_may_be_is_read_at_once(piece: str) -> None:
    assert not is_preferred({"HTTP_PREFER": piece * (8000 // len(piece)) + "x"})
