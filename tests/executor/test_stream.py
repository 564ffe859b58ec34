"""An answer that is made while it is sent, against what only looks like an executor."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from picloud.executor.client import NO_HOST_CALLS, HostCallRefused
from picloud.model import LogLine, Outcome, Run, Stream
from sandbox.protocol import pack
from tests.executor.answering import Server
from tests.executor.conftest import PATIENCE_S, program, request

BEGUN = b"S\0" + pack(b"201", pack(b"X-A", b"b"))
GO = b"P\0" + pack(b"done")
ENDED = b"R\0" + pack(b"ended", b"200", b"", b"", b"1000", b"2")
DIED = b"D\0" + pack(b"11", b"0", b"5", b"6")


class Sandbox:
    """The other end, in the hands of the test: its answer has begun."""

    def __init__(self, server: Server, wall_ms: int = 60_000, host_calls: "Doing | None" = None) -> None:
        self.lines: list[LogLine] = []
        self.client = server.client
        self._server = server
        thread = threading.Thread(target=self._accept)
        thread.start()
        calls = host_calls or NO_HOST_CALLS
        self.run = server.client.run(program("return 1", wall_ms=wall_ms), request(), self.lines.append, calls)
        thread.join(PATIENCE_S)
        assert self.run.stream
        self.stream: Stream = self.run.stream
        self.pieces = self.stream.pieces()

    def _accept(self) -> None:
        self.connection = self._server.listener.accept()[0]
        self.connection.settimeout(PATIENCE_S)
        self._server.kept.append(self.connection)
        self.connection.recv(65536)
        self.say(b"A\0", BEGUN)

    def say(self, *packets: bytes) -> None:
        for packet in packets:
            self.connection.send(packet)

    def try_to(self, act: Callable[[], object]) -> None:
        """Do it without waiting: BlockingIOError where it would wait."""
        self.connection.setblocking(False)
        try:
            act()
        finally:
            self.connection.settimeout(PATIENCE_S)

    def was_told(self) -> bytes:
        return self.connection.recv(65536)

    def is_alone(self) -> bool:
        """Whether the caller has hung up."""
        return self.connection.recv(65536) == b""


class Doing:
    """Does host calls, or refuses them."""

    def call(self, name: str, arguments: Sequence[bytes], _deadline: float) -> Sequence[bytes]:
        if name == "kv.get":
            raise HostCallRefused("it is too late")
        return arguments


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "s")
    yield made
    for connection in (made.listener, *made.kept):
        connection.close()


def test_an_answer_has_begun_and_its_sandbox_waits_to_be_told(server: Server) -> None:
    sandbox = Sandbox(server)
    answer = sandbox.run.response
    assert sandbox.run.outcome is Outcome.OK
    assert answer
    assert (answer.status, answer.headers, answer.body, answer.is_streamed) == (201, (("x-a", "b"),), b"", True)
    with pytest.raises(BlockingIOError):
        sandbox.try_to(lambda: sandbox.connection.recv(1))
    sandbox.say(b"K\0first")
    assert next(sandbox.pieces) == b"first"
    assert sandbox.was_told() == GO
    sandbox.stream.close()


def test_its_pieces_come_with_lines_and_calls_between_them_and_then_its_end(server: Server) -> None:
    sandbox = Sandbox(server, host_calls=Doing())
    sandbox.say(
        b"K\0one", b"L\0" + pack(b"info", b"said", b""), b"C\0" + pack(b"http.fetch", b"x"),
        b"C\0" + pack(b"kv.get", b"k"), b"K\0two", ENDED,
    )  # fmt: skip
    assert list(sandbox.pieces) == [b"one", b"two"]
    assert [sandbox.was_told() for _ in range(3)] == [
        GO, b"P\0" + pack(b"done", b"x"), b"P\0" + pack(b"refused", b"it is too late"),
    ]  # fmt: skip
    assert [line.message for line in sandbox.lines] == ["said"]
    end = sandbox.stream.close()
    assert (end.outcome, end.cpu_ms, end.memory_bytes, end.stream) == (Outcome.OK, 1.0, 2, None)
    assert sandbox.is_alone()


def test_while_nobody_asks_for_the_next_piece_the_sandbox_cannot_write_on(server: Server) -> None:
    sandbox = Sandbox(server)
    sandbox.say(b"K\0first")
    assert next(sandbox.pieces) == b"first"
    sandbox.was_told()
    with pytest.raises(BlockingIOError):
        sandbox.try_to(lambda: sandbox.say(*[b"K\0" + bytes(60_000)] * 10_000))
    sandbox.stream.close()


def test_who_closes_it_hangs_up_on_the_sandbox(server: Server) -> None:
    sandbox = Sandbox(server)
    sandbox.say(b"K\0first")
    assert next(sandbox.pieces) == b"first"
    end = sandbox.stream.close()
    assert (end.outcome, end.detail) == (Outcome.CALLER_GONE, "the caller hung up before the answer was whole")
    assert sandbox.was_told() == GO
    assert sandbox.is_alone()
    assert sandbox.stream.close() == end


def test_who_never_asks_for_it_may_close_it(server: Server) -> None:
    sandbox = Sandbox(server)
    assert sandbox.stream.close().outcome is Outcome.CALLER_GONE
    assert sandbox.is_alone()


def test_it_ends_at_the_deadline_of_the_whole_run(server: Server) -> None:
    sandbox = Sandbox(server, wall_ms=3_000)
    sandbox.say(b"K\0first")
    assert list(sandbox.pieces) == [b"first"]
    end = sandbox.stream.close()
    assert (end.outcome, end.detail) == (Outcome.TIMEOUT, "exceeded the wall clock limit of 3000 ms")
    assert end.run_ms >= 3_000


def test_who_was_slower_than_the_deadline_is_told_of_the_clock(server: Server) -> None:
    sandbox = Sandbox(server, wall_ms=3_000)
    while time.monotonic() <= sandbox.stream.deadline:
        time.sleep(0.01)
    assert sandbox.stream.close().outcome is Outcome.TIMEOUT


@pytest.mark.parametrize(
    ("packet", "outcome"),
    [
        (DIED, Outcome.SANDBOX_CRASH),
        (BEGUN, Outcome.SANDBOX_CRASH),
        (b"F\0" + pack(b"script-error", b"late", b"", b"", b"0", b"1", b"2"), Outcome.SCRIPT_ERROR),
    ],
)
def test_whatever_ends_it_is_its_end(server: Server, packet: bytes, outcome: Outcome) -> None:
    sandbox = Sandbox(server)
    sandbox.say(b"K\0first", packet)
    assert list(sandbox.pieces) == [b"first"]
    assert sandbox.stream.close().outcome is outcome


def test_a_server_that_stops_ends_it(server: Server) -> None:
    sandbox = Sandbox(server)
    sandbox.client.abort()
    assert list(sandbox.pieces) == []
    end = sandbox.stream.close()
    assert (end.outcome, end.detail) == (Outcome.EXECUTOR_LOST, "the server was stopped while the script ran")


def test_what_a_host_call_raises_goes_up_and_the_sandbox_ends_with_it(server: Server) -> None:
    class Broken(Doing):
        def call(self, name: str, arguments: Sequence[bytes], _deadline: float) -> Sequence[bytes]:
            raise ZeroDivisionError

    sandbox = Sandbox(server, host_calls=Broken())
    sandbox.say(b"C\0" + pack(b"http.fetch"))
    with pytest.raises(ZeroDivisionError):
        next(sandbox.pieces)
    assert isinstance(sandbox.stream.close(), Run)
    assert sandbox.was_told() == GO
    assert sandbox.is_alone()
