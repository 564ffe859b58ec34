"""The client against a sandbox that sends anything, in any order, slowly, without end, or never."""

import contextlib
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from picloud import errors
from picloud.executor.client import HostCallRefused
from picloud.model import Limits, LogLine, Outcome, Run
from sandbox.protocol import CALL_BYTES_MAX, CHUNK_BYTES_MAX, pack
from tests.executor.answering import ANSWER, Server
from tests.executor.conftest import PATIENCE_S, program, request


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "s")
    yield made
    for connection in (made.listener, *made.kept):
        connection.close()


class Binding:
    """Answers host calls: with what was sent, with much, or not at all."""

    def __init__(self) -> None:
        self.asked = 0

    def call(self, name: str, arguments: Sequence[bytes], _deadline: float) -> Sequence[bytes]:
        self.asked += 1
        if name == "kv.refuse":
            raise HostCallRefused("not today")
        return [bytes(1_000_000)] if name == "kv.much" else arguments


# What a malicious sandbox may do next: a packet of any bytes, a proper one at the wrong time, a piece, a call, and a
# pause of so many ms before it.
CALLS = st.builds(
    lambda name, arguments: b"C\0" + pack(name, *arguments),
    st.sampled_from([b"kv.get", b"kv.much", b"kv.refuse", b"kv", b"../x.y", b""]),
    st.lists(st.binary(max_size=60), max_size=8),
)
BEGUN = b"S\0" + pack(b"200", pack(b"a", b"b"))
ENDED = b"R\0" + pack(b"ended", b"200", b"", b"", b"1", b"2")
PACKETS = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda tag, more, fields: tag + more + pack(*fields),
              st.sampled_from([bytes([b]) for b in b"ACDFKLPRQSX"]), st.sampled_from([b"\0", b"\0", b"\1", b"\2"]),
              st.lists(st.binary(max_size=60), max_size=8)),
    CALLS,
    st.sampled_from([b"A\0", ANSWER, b"R\1" + bytes(65534), b"L\1" + bytes(65534), b"C\1" + bytes(65534),
                     b"L\0" + pack(b"info", b"m", b"{}"), b"D\0" + pack(b"9", b"0", b"1", b"2"),
                     BEGUN, BEGUN, b"K\0piece", b"K\0piece", b"K\1" + bytes(65534), b"K\0", ENDED]),
)  # fmt: skip
PAUSES_MS = st.sampled_from([0, 0, 0, 0, 0, 5, 30])
DEEDS = st.tuples(
    st.booleans(), st.lists(st.tuples(PAUSES_MS, PACKETS), max_size=12), st.booleans(), st.integers(0, 200_000)
)
Deeds = tuple[bool, list[tuple[int, bytes]], bool, int]
WALL_MS, PROMPT_S = 60, 5.0  # beside the 200 ms in the queue


class Misbehaving:
    """A sandbox of these deeds, for each caller that comes: who was dropped before it was accepted tries again."""

    def __init__(self, server: Server, deeds: Deeds) -> None:
        self._server = server
        self._accepts, self._packets, self._leaves, _ = deeds
        self._finished = threading.Event()

    def __enter__(self) -> None:
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._finished.set()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as last:
            last.connect(str(self._server.path))
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self._let_go()

    def _serve(self) -> None:
        while not self._finished.is_set():
            connection = self._server.listener.accept()[0]
            self._let_go()  # the one caller has come again, as often as it likes: the connection before is over
            connection.settimeout(PATIENCE_S)
            with contextlib.suppress(OSError):  # the caller has seen enough
                self._misbehave(connection)
            (connection.close() if self._leaves else self._server.kept.append(connection))

    def _let_go(self) -> None:
        while self._server.kept:
            self._server.kept.pop().close()

    def _misbehave(self, connection: socket.socket) -> None:
        if self._accepts:
            connection.send(b"A\0")
        for pause_ms, packet in self._packets:
            self._finished.wait(pause_ms / 1000)
            connection.send(packet)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deeds=DEEDS)
def test_whatever_a_sandbox_sends_a_run_ends_by_its_deadline(server: Server, deeds: Deeds) -> None:
    took_s: list[float] = []
    while not took_s or (took_s[-1] > PROMPT_S and len(took_s) < 3):  # once more, if the machine was busy
        binding, lines = Binding(), list[LogLine]()
        with Misbehaving(server, deeds):
            began = time.monotonic()
            body = request(bytes(deeds[3]))
            run = server.impatient.run(program("return 1", wall_ms=WALL_MS, host_calls=3), body, lines.append, binding)
            run = heard_out(run)
            took_s.append(time.monotonic() - began)
        assert isinstance(run, Run)
        assert binding.asked <= 3
    assert took_s[-1] < PROMPT_S


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deeds=DEEDS)
def test_whatever_a_sandbox_sends_a_compilation_finds_nothing_a_problem_or_no_executor(
    server: Server, deeds: Deeds
) -> None:
    accepts, packets, _, body_bytes = deeds
    misbehaving = Misbehaving(server, (accepts, packets, True, body_bytes))
    with misbehaving, contextlib.suppress(errors.Overloaded, errors.ExecutorLost):
        problem = server.impatient.check({"main.lua": bytes(body_bytes)})
        assert problem is None or problem.message


def heard_out(run: Run) -> Run:
    """How it ended, also if its answer had only begun."""
    if run.stream is None:
        return run
    for piece in run.stream.pieces():
        assert 0 < len(piece) <= CHUNK_BYTES_MAX
    return run.stream.close()


ENDLESS = {
    "an answer": b"R\1" + bytes(65534),
    "a line": b"L\1" + bytes(65534),
    "a failure": b"F\1" + bytes(65534),
    "a call": b"C\1" + bytes(65534),
    "lines": b"L\0" + pack(b"info", b"x" * 1_000, b"{}"),
    "calls": b"C\0" + pack(b"kv.get", b"x" * 1_000),
    "calls whose answers nobody reads": b"C\0" + pack(b"kv.much"),
    "acceptances": b"A\0",
    "beginnings": BEGUN,
    "a piece": b"K\1" + bytes(65534),
    "pieces": b"K\0" + bytes(1_000),
    "tiny pieces": b"K\0x",
}


@pytest.mark.parametrize("packet", ENDLESS.values(), ids=ENDLESS)
def test_what_a_sandbox_sends_without_end_ends_in_time_and_in_bounded_memory(server: Server, packet: bytes) -> None:
    """What an answer, the lines and a call may have together, and room to take them apart."""
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.send(b"A\0")
        if packet.startswith(b"K"):
            connection.send(BEGUN)
        with contextlib.suppress(OSError):  # the caller has hung up
            while True:
                sent += connection.send(packet)

    lines: list[LogLine] = []
    tracemalloc.start()
    try:
        run = server.run(flood, wall_ms=1_000, on_log=lines.append, host_calls=Binding(), hear_out=heard_out)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert run.outcome in (Outcome.SANDBOX_CRASH, Outcome.TIMEOUT)
    assert peak_bytes < 4 * (Limits().response_bytes + Limits().log_bytes + CALL_BYTES_MAX)
    assert sent > 0


def test_one_byte_now_and_then_is_no_reason_to_wait_longer(server: Server) -> None:
    done = threading.Event()

    def dribble(connection: socket.socket) -> None:
        connection.send(b"A\0")
        with contextlib.suppress(OSError):
            while not done.wait(0.01):
                connection.send(b"L\0" + pack(b"info", b"", b""))

    try:
        assert server.run(dribble, wall_ms=300).outcome is Outcome.TIMEOUT
    finally:
        done.set()
