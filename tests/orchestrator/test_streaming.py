"""The body of an answer that is made while it is sent: what it holds, and when it lets go."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import pytest

from picloud.errors import Overloaded
from picloud.model import Outcome, Request, Response, Run
from picloud.orchestrator.streaming import Body, Streams, ToldStream, unmade, whole

ANSWER = Response(201, (("a", "b"),), b"", is_streamed=True)
GET = Request("0", "GET", "/", "", (), b"")


@dataclass
class Made:
    """A stream of these pieces and this end."""

    made: list[bytes | Overloaded]
    end: Run = field(default_factory=lambda: Run(Outcome.OK, cpu_ms=1.0))
    deadline: float = float("inf")
    closed: int = 0

    def pieces(self) -> Generator[bytes, None, None]:
        for piece in self.made:
            if isinstance(piece, Overloaded):
                raise piece
            yield piece

    def close(self) -> Run:
        self.closed += 1
        return self.end


@dataclass
class Holder:
    """What an invocation holds, and its record."""

    kept: list[Run] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def keep(self, run: Run) -> None:
        self.told.append("kept")
        self.kept.append(run)

    def body(self, stream: Made, streams: Streams | None = None) -> Body:
        held = ExitStack()
        held.callback(self.told.append, "let go")
        run = Run(Outcome.OK, ANSWER, stream=stream)
        return (streams or Streams(1)).body(run, ToldStream(stream, lambda end: end), None, self.keep, held)


def test_the_head_leaves_before_the_first_piece_and_all_is_let_go_behind_the_record() -> None:
    holder = Holder()
    body = holder.body(Made([b"a", b"b"]))
    pieces = iter(body)
    assert (next(pieces), holder.told) == (b"", [])
    assert (list(pieces), holder.told) == ([b"a", b"b"], ["kept", "let go"])
    assert holder.kept == [Run(Outcome.OK, ANSWER, cpu_ms=1.0)]
    body.close()
    assert holder.told == ["kept", "let go"]


def test_who_is_left_while_a_piece_is_sent_holds_its_place_as_before_when_all_is_let_go() -> None:
    holder = Holder()

    @contextmanager
    def sending(piece: bytes) -> Iterator[None]:
        holder.told.append(f"sends {piece.decode()}")
        try:
            yield
        finally:
            holder.told.append("sent")

    held = ExitStack()
    held.callback(holder.told.append, "let go")
    stream = ToldStream(Made([b"a", b"b"]), lambda end: end, sending)
    body = Streams(1).body(Run(Outcome.OK, ANSWER), stream, None, holder.keep, held)
    pieces = iter(body)
    assert [next(pieces) for _ in range(3)] == [b"", b"a", b"b"]
    body.close()
    assert holder.told == ["sends a", "sent", "sends b", "sent", "kept", "let go"]


def test_an_answer_that_is_not_whole_ends_as_a_broken_connection() -> None:
    holder = Holder()
    pieces = iter(holder.body(Made([b"a"], Run(Outcome.TIMEOUT, detail="too long"))))
    assert [next(pieces), next(pieces)] == [b"", b"a"]
    with pytest.raises(ConnectionAbortedError, match="timeout"):
        next(pieces)
    assert holder.kept == [Run(Outcome.TIMEOUT, ANSWER, detail="too long")]


def test_what_a_host_call_raises_is_its_end() -> None:
    holder = Holder()
    with pytest.raises(ConnectionAbortedError, match="overloaded"):
        list(holder.body(Made([b"a", Overloaded("no room")])))
    assert [(run.outcome, run.detail) for run in holder.kept] == [(Outcome.OVERLOADED, "no room")]


@pytest.mark.parametrize("lose", ["close", "forget"])
def test_who_takes_none_of_it_lets_all_go(lose: str) -> None:
    holder, stream = Holder(), Made([b"a"])
    body: Body | None = holder.body(stream)
    if body and lose == "close":
        body.close()
    body = None
    assert (stream.closed, holder.told) == (1, ["kept", "let go"])


def test_after_the_deadline_nothing_more_is_sent() -> None:
    holder, stream = Holder(), Made([b"a"], Run(Outcome.TIMEOUT), deadline=0.0)
    with pytest.raises(ConnectionAbortedError):
        assert list(holder.body(stream)) == [b""]
    assert stream.closed == 1


def test_a_server_that_stops_sends_nothing_more() -> None:
    holder, streams = Holder(), Streams(1)
    pieces = iter(holder.body(Made([b"a", b"b"], Run(Outcome.EXECUTOR_LOST)), streams))
    assert [next(pieces), next(pieces)] == [b"", b"a"]
    streams.stop()
    with pytest.raises(ConnectionAbortedError):
        next(pieces)


def test_the_places_are_bounded_and_come_back() -> None:
    streams = Streams(2)
    with streams.place(), streams.place(), pytest.raises(Overloaded), streams.place():
        pass
    with streams.place(), streams.place():
        pass


@pytest.mark.parametrize(("request_", "status"), [(replace(GET, method="HEAD"), 200), (GET, 204), (GET, 304)])
def test_where_there_is_no_body_none_is_made(request_: Request, status: int) -> None:
    stream = Made([Overloaded("it was made")])
    run = Run(Outcome.OK, replace(ANSWER, status=status), stream=stream)
    assert whole(request_, run) == unmade(run) == replace(run, stream=None)
    assert stream.closed == 2


def test_a_whole_one_has_all_its_pieces_and_the_numbers_of_its_end() -> None:
    got = whole(GET, Run(Outcome.OK, ANSWER, stream=Made([b"a", b"b"])))
    assert got == Run(Outcome.OK, Response(201, (("a", "b"),), b"ab"), cpu_ms=1.0)


def test_one_that_fails_is_not_whole_and_has_no_answer() -> None:
    assert whole(GET, Run(Outcome.OK, ANSWER, stream=Made([b"a"], Run(Outcome.TIMEOUT)))) == Run(Outcome.TIMEOUT)
