"""Conditions are read as RFC 9110 writes them, and what cannot hold is refused."""

from typing import Any

import falcon
import pytest
from falcon.testing import create_environ

from picloud.errors import PreconditionFailed
from picloud.messages import conditions
from picloud.model import ANYWAY, Condition


def asked(**headers: str) -> falcon.Request:
    return falcon.Request(create_environ(headers={name.replace("_", "-"): text for name, text in headers.items()}))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ANYWAY),
        ({"if_match": "*"}, Condition(update_only=True)),
        ({"if_match": '"3"'}, Condition(frozenset({3}))),
        ({"if_match": '"3", "7"'}, Condition(frozenset({3, 7}))),
        ({"if_match": '"3","odd,one" ,W/"4", "7"'}, Condition(frozenset({3, 7}))),
        ({"if_none_match": "*"}, Condition(create_only=True)),
    ],
)
def test_what_is_asked_for(headers: dict[str, str], expected: Condition) -> None:
    assert conditions.only_if_or_new(asked(**headers)) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"if_match": "3"}, {"if_match": ""}, {"if_match": '"3'}, {"if_match": 'W/"3"'}, {"if_match": '"x"'},
        {"if_match": '"3" "7"'}, {"if_match": '"3", *'}, {"if_match": '"1234567890"'}, {"if_match": "\xff"},
        {"if_none_match": '"3"'}, {"if_none_match": "*", "if_match": "*"},
    ],
)  # fmt: skip
def test_what_cannot_hold_does_not(headers: dict[str, Any]) -> None:
    with pytest.raises(PreconditionFailed):
        conditions.only_if_or_new(asked(**headers))


@pytest.mark.parametrize("given", ['"a"', 'W/"a"', '"b", "a"', "*", ' "a" '])
def test_a_copy_that_is_good_is_known(given: str) -> None:
    assert conditions.is_known(asked(if_none_match=given), '"a"')


@pytest.mark.parametrize("given", ['"b"', "a", '"aa"', 'x"a"', ""])
def test_another_copy_is_not(given: str) -> None:
    assert not conditions.is_known(asked(if_none_match=given), '"a"')
    assert not conditions.is_known(asked(), '"a"')
