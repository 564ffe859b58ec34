"""The body of a followed log: pages as they come, through everything that happens meanwhile."""

import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from picloud.auth import Principal, Scope
from picloud.errors import DatabaseUnavailable
from picloud.model import Level, LineFilter, LinePage, StoredLine
from picloud.orchestrator.feed import Feed
from picloud.orchestrator.resources.follow import Follow, Pass
from picloud.orchestrator.resources.logs import encode

READER = Principal(1, "reader", frozenset({Scope.READ}))


class Lines:
    """A log, and what happens while it is read."""

    def __init__(self) -> None:
        self.stored: list[StoredLine] = []
        self.failures = 0

    def write(self, count: int = 1, fields: str | None = None) -> None:
        for _ in range(count):
            number = len(self.stored) + 1
            line = StoredLine(number, "i", "s", datetime.now(UTC), Level.INFO, f"line {number}", fields)
            self.stored.append(line)

    def following(self, wanted: LineFilter, after: int, limit: int) -> LinePage:
        if self.failures:
            self.failures -= 1
            raise DatabaseUnavailable
        found = tuple(line for line in self.stored if line.id > after)[:limit]
        return LinePage(found, found[-1].id if found else after, len(found) == limit)


class Tokens:
    """Knows one token, until it does not."""

    def __init__(self) -> None:
        self.found: Principal | None = READER
        self.away = False

    def find(self, secret: str) -> Principal | None:
        if self.away:
            raise DatabaseUnavailable
        return self.found


class NoListener:
    def __init__(self, on_news: Callable[[], None]) -> None:
        pass

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def feed() -> Feed:
    return Feed(NoListener, followers_max=1)


Body = Callable[..., Iterator[bytes]]


@pytest.fixture
def body(lines: Lines, tokens: Tokens, feed: Feed) -> Iterator[Body]:
    client, servers = socket.socketpair()
    place = feed.subscribe(servers)

    def make(principal: Principal = READER) -> Iterator[bytes]:
        return iter(Follow(lines, LineFilter(), 0, place, Pass(tokens, "secret", principal), encode))

    yield make
    place.close()
    client.close()
    servers.close()


def numbers(piece: bytes) -> list[int]:
    return [int(line.removeprefix(b"id: ")) for line in piece.splitlines() if line.startswith(b"id: ")]


def test_it_begins_with_a_comment_the_retry_and_where_to_resume(body: Body) -> None:
    assert next(body()) == b": PiCloud log\nretry: 1000\nid: 0\n\n"


def test_a_line_is_an_event_with_its_cursor(body: Body, lines: Lines) -> None:
    lines.write(fields='{"k": 1}')
    stream = body()
    next(stream)
    identifier, event, data, *end = next(stream).split(b"\n")
    assert (identifier, event, end) == (b"id: 1", b"event: log", [b"", b""])
    shown = json.loads(data.removeprefix(b"data: "))
    assert list(shown) == ["invocation", "script", "at", "level", "message", "fields"]
    assert (shown["message"], shown["fields"]) == ("line 1", {"k": 1})


def test_a_line_break_of_a_sandbox_cannot_end_an_event(body: Body, lines: Lines) -> None:
    lines.write(fields='{\r\n\r\n"k":\n[1]}')
    stream = body()
    next(stream)
    data = next(stream).split(b"\n")[2]
    assert json.loads(data.removeprefix(b"data: "))["fields"] == {"k": [1]}


def test_many_lines_come_in_pages_and_pieces_without_a_gap(body: Body, lines: Lines, feed: Feed) -> None:
    lines.write(1234, fields=json.dumps({"much": "x" * 1000}))
    stream = body()
    next(stream)
    seen: list[int] = []
    while len(seen) < 1234:
        piece = next(stream)
        assert len(piece) < 40 * 1024
        seen += numbers(piece)
    assert seen == list(range(1, 1235))


def test_it_goes_on_where_it_was_when_the_database_is_back(body: Body, lines: Lines, feed: Feed) -> None:
    lines.write(2)
    stream = body()
    next(stream)
    assert numbers(next(stream)) == [1, 2]
    lines.write(2)
    lines.failures = 3
    feed.wake()
    assert numbers(next(stream)) == [3, 4]
    assert lines.failures == 0


@pytest.mark.parametrize(
    "found",
    [None, Principal(1, "reader", frozenset({Scope.READ}), frozenset({"other"})), Principal(2, "x", frozenset())],
)
def test_it_ends_when_the_token_is_not_what_it_was(
    body: Body, lines: Lines, tokens: Tokens, feed: Feed, found: Principal | None
) -> None:
    lines.write()
    stream = body()
    next(stream)
    next(stream)
    tokens.found = found
    lines.write()
    feed.wake()
    assert list(stream) == []


def test_it_ends_when_the_token_expires(body: Body, tokens: Tokens) -> None:
    tokens.found = Principal(1, "reader", frozenset({Scope.READ}), None, datetime.now(UTC) + timedelta(seconds=0.2))
    stream = body(tokens.found)
    next(stream)
    assert list(stream) == []
    assert tokens.found.expired()


def test_it_goes_on_while_nobody_can_say_whether_the_token_is_good(body: Body, lines: Lines, tokens: Tokens) -> None:
    tokens.away = True
    lines.write()
    stream = body()
    next(stream)
    assert numbers(next(stream)) == [1]


def test_it_ends_when_the_server_stops(body: Body, feed: Feed) -> None:
    stream = body()
    next(stream)
    feed.stop()
    assert list(stream) == []
