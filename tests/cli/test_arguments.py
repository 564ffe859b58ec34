"""How words of the command line become values."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest

from picloud.cli.request import HeaderType
from picloud.cli.routes import ROUTE
from picloud.cli.settings import ASSIGNMENT, nested
from picloud.cli.tokens import Expiry
from picloud.patterns import RouteWanted


@pytest.mark.parametrize(
    ("values", "document"),
    [
        ([("limits.wall_ms", "2000")], {"limits": {"wall_ms": 2000}}),
        ([("limits.wall_ms", "1"), ("limits.cpu_ms", "2")], {"limits": {"wall_ms": 1, "cpu_ms": 2}}),
        ([("access", "token")], {"access": "token"}),
        ([("cors.origins", '["https://x"]')], {"cors": {"origins": ["https://x"]}}),
        ([("expose_errors", "false"), ("cors", "null")], {"expose_errors": False, "cors": None}),
        ([("env.A", '"7"'), ("env.B", "a=b")], {"env": {"A": "7", "B": "a=b"}}),
    ],
)
def test_assignments_become_one_document(values: list[tuple[str, str]], document: dict[str, Any]) -> None:
    assert nested(values) == document


@pytest.mark.parametrize("keys", [["a", "a"], ["a", "a.b"], ["a.b", "a"]])
def test_a_key_is_given_once(keys: list[str]) -> None:
    with pytest.raises(click.UsageError):
        nested([(key, "1") for key in keys])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("GET /hi/{name}", RouteWanted("GET", None, "/hi/{name}")),
        ("get  /hi", RouteWanted("GET", None, "/hi")),
        ("/all/{rest*}", RouteWanted("ANY", None, "/all/{rest*}")),
    ],
)
def test_a_route_is_a_method_and_a_path(text: str, wanted: RouteWanted) -> None:
    assert ROUTE(text) == wanted


@pytest.mark.parametrize("text", ["", "GET", "hi", "GET POST /x", "GET /a b", "GET /fn/x", "GET /{a}/{a}", "G€T /x"])
def test_what_is_no_route_is_a_wrong_argument(text: str) -> None:
    with pytest.raises(click.BadParameter):
        ROUTE(text)


@pytest.mark.parametrize(
    ("text", "header"),
    [("X-A: b", ("x-a", "b")), ("a:b: c ", ("a", "b: c")), ("a:", ("a", "")), ("a: é", ("a", "Ã©"))],
)
def test_a_header_is_a_name_and_a_value(text: str, header: tuple[str, str]) -> None:
    assert HeaderType()(text) == header


@pytest.mark.parametrize("text", ["", "a", ": b", "a b: c", "a: b\nc: d", "a: \x00"])
def test_what_is_no_header_is_a_wrong_argument(text: str) -> None:
    with pytest.raises(click.BadParameter):
        HeaderType()(text)


@pytest.mark.parametrize("text", ["", "=1", "x"])
def test_what_is_no_assignment_is_a_wrong_argument(text: str) -> None:
    with pytest.raises(click.BadParameter):
        ASSIGNMENT(text)


def test_an_expiry_is_a_span_or_a_moment_and_without_an_offset_utc() -> None:
    for text, span in (("90s", timedelta(seconds=90)), ("30d", timedelta(days=30)), ("2w", timedelta(weeks=2))):
        before = datetime.now(UTC)
        assert before <= Expiry()(text) - span <= datetime.now(UTC)
    assert Expiry()("2031-02-03") == datetime(2031, 2, 3, tzinfo=UTC)
    assert Expiry()("2031-02-03T04:05:06+01:00") == datetime(2031, 2, 3, 3, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "30y", "tomorrow", "2031-13-01"])
def test_what_is_no_time_is_a_wrong_argument(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Expiry()(text)
