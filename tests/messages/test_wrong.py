"""What is wrong with a message is said in our words, and by the field that it is in."""

import enum
import uuid
from datetime import datetime
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from picloud.errors import InvalidRequest
from picloud.messages.reading import ScriptName
from picloud.messages.wrong import SCRIPT_NAME_RULE, invalid


class Colour(enum.StrEnum):
    """A choice."""

    RED = "red"


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    """One field of each kind."""

    count: Annotated[int, Meta(ge=1, le=5)] | None = None
    share: float = 0.0
    name: ScriptName | None = None
    text: Annotated[str, Meta(min_length=2, max_length=3)] | None = None
    code: Annotated[str, Meta(pattern=r"^\d'$")] | None = None
    colours: Annotated[list[Colour], Meta(min_length=1)] | None = None
    at: Annotated[datetime, Meta(tz=True)] | None = None
    identifier: uuid.UUID | None = None
    env: dict[str, str | None] | None = None
    flag: bool = False


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    """One inside another."""

    inner: Inner


def wrong(value: Any) -> InvalidRequest:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(value, Outer)
    return invalid(Outer, caught.value, "the body: ", value)


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ({"count": 0}, "count", "must be at least 1"),
        ({"count": 10**30}, "count", "must be at most 5"),
        ({"count": "x"}, "count", "must be a whole number or null, not text"),
        ({"count": 1.5}, "count", "must be a whole number or null, not a number"),
        ({"share": []}, "share", "must be a number, not a list"),
        ({"flag": None}, "flag", "must be true or false, not null"),
        ({"text": "a"}, "text", "must have at least 2 characters"),
        ({"text": "abcd"}, "text", "must have at most 3 characters"),
        ({"colours": []}, "colours", "must have at least 1 items"),
        ({"colours": ["red", "rad"]}, "colours[1]", "'rad' is not known; did you mean 'red'?"),
        ({"colours": [1]}, "colours[0]", "must be text, not a whole number"),
        ({"name": "A b"}, "name", f"cannot be a script's name: {SCRIPT_NAME_RULE}"),
        ({"code": "b"}, "code", "must match ^\\d'$"),
        ({"at": "2026-01-31T12:00:00"}, "at", "must be a time with its zone, such as 2026-01-31T12:00:00Z"),
        ({"at": "soon"}, "at", "must be a time with its zone, such as 2026-01-31T12:00:00Z"),
        ({"at": {}}, "at", "must be a time or null, not an object"),
        ({"identifier": "1"}, "identifier", "must be a UUID"),
        ({"env": {"A": "1", "B.C": 5, "D": 6}}, "env.B.C", "must be text or null, not a whole number"),
        ({"cuont": 1}, "cuont", "is not known; did you mean 'count'?"),
    ],
)  # fmt: skip
def test_the_field_and_what_is_wrong_with_it(given: dict[str, Any], field: str, message: str) -> None:
    error = wrong({"inner": given})
    assert error.errors == [{"field": f"inner.{field}", "message": message}]
    assert str(error) == f"the body: inner.{field}: {message}"


def test_what_is_missing_is_named() -> None:
    assert wrong({}).errors == [{"field": "inner", "message": "is missing"}]


def test_what_is_no_object_has_no_fields() -> None:
    error = wrong([1])
    assert (str(error), error.errors) == ("the body: must be an object, not a list", [])
