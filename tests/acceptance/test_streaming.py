"""`stream(make)`: answers that are sent while they are made, through a whole PiCloud."""

import contextlib
import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_http_fetch import World, a_world
from tests.running import Answer, Running, eventually, running

PATIENCE_S = 60


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with a_world() as there:
        yield there


@pytest.fixture(scope="module")
def ours(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One whose scripts may wait for the world, so that a test says when they go on."""
    with running(tmp_path_factory.mktemp("streams"), PICLOUD_PRIVATE_HOSTS=world.host) as server:
        yield server


class Reader:
    """An answer that is read as it comes."""

    def __init__(self, ours: Running, path: str, method: str = "GET", receive_bytes: int = 0) -> None:
        self._connection = HTTPConnection("127.0.0.1", ours.port, timeout=PATIENCE_S)
        if receive_bytes:
            self._connection.sock = _small_socket(ours.port, receive_bytes)
        self._connection.request(method, path)
        self.response: HTTPResponse = self._connection.getresponse()
        names = [(name.lower(), value) for name, value in self.response.getheaders()]
        self.head = Answer(self.response.status, names, b"")

    def line(self) -> bytes:
        return self.response.readline()

    def rest(self) -> bytes:
        """Everything to the end; IncompleteRead if the answer is cut off."""
        return self.response.read()

    def again(self, path: str) -> bytes:
        """The next answer on the same connection."""
        self._connection.request("GET", path)
        return self._connection.getresponse().read()

    def close(self) -> None:
        self.response.close()
        self._connection.close()


def _small_socket(port: int, receive_bytes: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(PATIENCE_S)
    client.connect(("127.0.0.1", port))
    return client


@contextlib.contextmanager
def reading(ours: Running, path: str, **more: Any) -> Iterator[Reader]:
    reader = Reader(ours, path, **more)
    try:
        yield reader
    finally:
        reader.close()


def ended(ours: Running, answer: Answer) -> dict[str, Any]:
    """The record of an answer, once it is known how it ended."""
    path = f"invocations/{answer.header('picloud-invocation')}"

    def done(got: Answer) -> bool:
        return got.status == 200 and got.json["outcome"] != "outcome-unknown"

    record: dict[str, Any] = eventually(lambda: ours.api("GET", path), done).json
    return record


def messages(ours: Running, answer: Answer) -> list[str]:
    found = ours.api("GET", f"logs?invocation={answer.header('picloud-invocation')}").json["items"]
    return [it["message"] for it in found]


def body(inside: str, outside: str = "") -> str:
    return f"return function(request) {outside} return stream(function(write) {inside} end) end"


# ── what arrives ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_piece_arrives_before_the_next_is_made(ours: Running, world: World) -> None:
    ours.deploy("pieces", body(f'for n = 1, 3 do write(n .. "\\n") http.get("{world.url}/slow") end write("end\\n")'))
    with reading(ours, "/fn/pieces") as reader:
        for n in (b"1\n", b"2\n", b"3\n"):
            assert reader.line() == n
            world.await_waiting(1)  # the script cannot have made the next one
            world.go_on()
        assert reader.rest() == b"end\n"
    record = ended(ours, reader.head)
    assert (record["outcome"], record["status"], record["http_calls"]) == ("ok", 200, 3)


def test_a_stream_has_its_status_and_headers_and_the_connection_goes_on(ours: Running) -> None:
    ours.deploy(
        "head",
        """return function()
          return { status = 201, headers = { ["content-type"] = "text/event-stream", ["x-a"] = { "1", "2" } },
                   body = stream(function(write) write("data: 1\\n\\n") write("") write("data: 2\\n\\n") end) }
        end""",
    )
    ours.deploy("after", 'return "fine"')
    with reading(ours, "/fn/head") as reader:
        assert reader.head.status == 201
        assert reader.head.header("content-type") == "text/event-stream"
        assert reader.head.header("x-a") == "1, 2"
        assert reader.head.header("transfer-encoding") == "chunked"
        assert reader.head.header("content-length") is None
        assert reader.head.header("x-accel-buffering") == "no"
        assert reader.rest() == b"data: 1\n\ndata: 2\n\n"
        assert reader.again("/fn/after") == b"fine"


def test_a_large_piece_arrives_whole(ours: Running) -> None:
    ours.deploy("large", body('write(("0123456789"):rep(300000)) write("!")'))
    assert ours.call("GET", "/fn/large").body == b"0123456789" * 300_000 + b"!"


def test_http_1_0_gets_the_pieces_and_the_end_of_the_connection(ours: Running) -> None:
    ours.deploy("old", body('write("one ") write("two")'))
    head, _, rest = ours.raw(b"GET /fn/old HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert (rest, b"transfer-encoding" in head.lower()) == (b"one two", False)


@pytest.mark.parametrize("status", ["204", "304"])
def test_where_http_has_no_body_none_is_made(ours: Running, status: str) -> None:
    inside = 'stream(function(write) log.info("made") write("x") end)'
    ours.deploy(
        "bodiless",
        f"return function() kv.incr('n') return {{ status = tonumber(request.query.status), body = {inside} }} end",
    )
    before = ours.call("GET", f"/fn/bodiless?status={status}")
    with reading(ours, "/fn/bodiless?status=200", method="HEAD") as reader:
        assert (reader.head.status, reader.head.header("content-length"), reader.rest()) == (200, None, b"")
    for answer in (before, reader.head):
        assert ended(ours, answer)["outcome"] == "ok"
        assert messages(ours, answer) == []


# ── one commit ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_it_did_is_committed_before_the_first_byte_and_stays(ours: Running, world: World) -> None:
    ours.deploy("commits", body(f'write("x\\n") http.get("{world.url}/slow") error("late")', 'kv.set("k", "stored")'))
    with reading(ours, "/fn/commits") as reader:
        assert reader.line() == b"x\n"
        assert ours.api("GET", "scripts/commits/kv/k").json == "stored"
        world.await_waiting(1)
        path = f"invocations/{reader.head.header('picloud-invocation')}"
        under_way = ours.api("GET", path).json
        assert (under_way["outcome"], under_way["http_calls"]) == ("outcome-unknown", 1)
        world.go_on()
        with pytest.raises(IncompleteRead):
            reader.rest()
    record = ended(ours, reader.head)
    assert (record["outcome"], record["status"]) == ("script-error", 200)
    assert record["error"] == "main.lua:1: late"
    assert ours.api("GET", "scripts/commits/kv/k").json == "stored"


def test_state_after_the_first_byte_is_refused_at_the_scripts_line(ours: Running) -> None:
    ours.deploy("invoked", "return 1")
    calls = ("kv.set, 'k', 1", "kv.get, 'k'", "kv.incr, 'k'", "invoke, 'invoked'")
    inside = "\n".join(f"write(select(2, pcall({call})) .. '\\n')" for call in calls)
    ours.deploy("late", body(f"\n{inside}\n"))
    refused = "the answer has begun, nothing can be read or stored any more"
    names = ("kv.set", "kv.get", "kv.incr", "script.invoke")
    assert ours.call("GET", "/fn/late").body.decode().splitlines() == [
        f"main.lua:{line}: {name}: {refused}" for line, name in enumerate(names, start=2)
    ]


def test_an_invocation_that_clashes_runs_again_before_its_answer_begins(ours: Running) -> None:
    ours.deploy("counts", body("write(tostring(n))", 'n = (kv.get("n") or 0) + 1 kv.set("n", n)'))
    answers = [answer.body for _ in range(3) for answer in ours.at_once(8, "GET", "/fn/counts")]
    assert sorted(map(int, answers)) == list(range(1, 25))


def test_an_answer_that_is_not_valid_never_begins_and_nothing_is_stored(ours: Running) -> None:
    ours.deploy(
        "invalid",
        'kv.incr("n") return { status = 200, headers = { connection = "x" }, body = stream(function() end) }',
    )
    assert ours.call("GET", "/fn/invalid").problem == "bad-response"
    assert ours.api("GET", "scripts/invalid/kv").json["items"] == []


# ── ends ────────────────────────────────────────────────────────────────────────────────────────────────────────────

ENDS = {
    "script-error": ({}, 'error{ status = 400 }'),
    "invalid-request": ({}, "request:json()"),
    "bad-response": ({"response_bytes": 1000}, 'pcall(write, ("x"):rep(1001))'),
    "timeout": ({"wall_ms": 3_000}, "while true do end"),
    "cpu-limit": ({"cpu_ms": 300}, "while true do end"),
    "memory-limit": ({}, "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(100000) .. i end"),
}  # fmt: skip


@pytest.mark.parametrize("outcome", ENDS)
def test_what_goes_wrong_after_the_first_byte_cuts_the_connection_and_the_record_says_why(
    ours: Running, outcome: str
) -> None:
    limits, inside = ENDS[outcome]
    ours.deploy("ends", body(f'log.info("before") write("first\\n") {inside}'))
    ours.set("ends", {"limits": limits})
    with reading(ours, "/fn/ends") as reader:
        assert (reader.head.status, reader.line()) == (200, b"first\n")
        with pytest.raises(IncompleteRead):
            reader.rest()
    record = ended(ours, reader.head)
    assert (record["outcome"], record["status"]) == (outcome, 200)
    said = messages(ours, reader.head)
    assert any(it == "before" for it in said)
    assert any(it.startswith(f"{outcome}: {record['error']}") for it in said)


def test_all_pieces_together_are_within_the_limit(ours: Running) -> None:
    ours.deploy("limit", body('for _ = 1, 10 do write(("x"):rep(100)) end if request.query.more then write("y") end'))
    ours.set("limit", {"limits": {"response_bytes": 1000}})
    assert ours.call("GET", "/fn/limit").body == b"x" * 1000
    with reading(ours, "/fn/limit?more=1") as reader, pytest.raises(IncompleteRead):
        reader.rest()
    assert ended(ours, reader.head)["error"] == "the body has more than the 1000 bytes that are allowed"


def test_who_hangs_up_ends_the_sandbox(ours: Running) -> None:
    ours.deploy("left", body('while true do write(("x"):rep(1000)) end'))
    ours.set("left", {"limits": {"wall_ms": 300_000, "cpu_ms": 300_000, "response_bytes": 64 << 20}})
    with reading(ours, "/fn/left") as reader:
        assert reader.response.read(1000) == b"x" * 1000
    record = ended(ours, reader.head)
    assert record["outcome"] == "caller-gone"
    eventually(ours.computing, lambda pids: not pids)


def test_who_resets_the_connection_ends_the_sandbox_while_it_computes(ours: Running) -> None:
    ours.deploy("reset", body('write("x\\n") while true do end', 'kv.set("k", 1)'))
    ours.set("reset", {"limits": {"wall_ms": 300_000, "cpu_ms": 300_000}})
    with socket.create_connection(("127.0.0.1", ours.port), timeout=PATIENCE_S) as caller:
        caller.sendall(b"GET /fn/reset HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = b""
        while not answer.endswith(b"x\n\r\n"):
            answer += (more := caller.recv(65536))
            assert more
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))
    found = "invocations?script=reset&outcome=caller-gone"
    (record,) = eventually(lambda: ours.api("GET", found).json["items"], bool)
    assert record["status"] == 200
    assert ours.api("GET", "scripts/reset/kv/k").json == 1
    eventually(ours.computing, lambda pids: not pids)


def test_a_reader_that_takes_nothing_is_cut_off_at_the_deadline(ours: Running) -> None:
    ours.deploy("slow", body('while true do write(("x"):rep(60000)) end'))
    ours.set("slow", {"limits": {"wall_ms": 3_000, "response_bytes": 64 << 20}})
    with reading(ours, "/fn/slow", receive_bytes=4096) as reader:
        assert ended(ours, reader.head)["outcome"] == "timeout"


# ── from elsewhere ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_invokes_a_script_that_streams_gets_it_whole(ours: Running) -> None:
    ours.deploy("within", body('write("a") write("b") write(tostring(pcall(kv.set, "x", 1)))', 'kv.set("k", 1)'))
    ours.deploy("caller", "local it = invoke('within') kv.set('mine', 1) return { body = it.status .. ' ' .. it.body }")
    assert ours.call("GET", "/fn/caller").body == b"200 abfalse"
    assert [it["key"] for it in ours.api("GET", "scripts/within/kv").json["items"]] == ["k"]
    assert [it["key"] for it in ours.api("GET", "scripts/caller/kv").json["items"]] == ["mine"]


def test_what_an_invoked_script_did_is_undone_if_its_stream_fails(ours: Running) -> None:
    ours.deploy("broken", body('write("a") error("late")', 'kv.set("k", 1)'))
    ours.deploy("catches", "return { body = select(2, pcall(invoke, 'broken')) }")
    said = b"script.invoke: 'broken' ended with script-error: main.lua:1: late"
    assert ours.call("GET", "/fn/catches").body.endswith(said)
    assert ours.api("GET", "scripts/broken/kv").json["items"] == []


def test_invoke_by_hand_prints_it_and_its_log(ours: Running) -> None:
    ours.deploy("by-hand", body('log.info("made") write("a") write("b\\n")'))
    done = ours.cli("invoke", "by-hand")
    assert (done.returncode, done.stdout) == (0, b"ab\n")
    assert b"made" in done.stderr
    ours.deploy("by-hand", body('write("a\\n") error("late")'))
    done = ours.cli("invoke", "by-hand")
    assert (done.returncode, done.stdout) == (1, b"a\n")
    assert b"the answer was cut off" in done.stderr
    assert b"main.lua:1: late" in done.stderr


# ── the server ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_there_is_a_bound_which_is_felt_before_anything_is_done(world: World, fresh_data: Path) -> None:
    with running(
        fresh_data, PICLOUD_WORKERS="1", PICLOUD_THREADS="4", PICLOUD_PRIVATE_HOSTS=world.host
    ) as small:  # two streams
        small.deploy("held", body(f'write("x\\n") http.get("{world.url}/slow")', 'kv.incr("n")'))
        small.deploy("plain", 'return "fine"')
        with reading(small, "/fn/held") as first, reading(small, "/fn/held") as second:
            assert (first.line(), second.line()) == (b"x\n", b"x\n")
            world.await_waiting(2)
            refused = small.call("GET", "/fn/held")
            assert (refused.status, refused.problem) == (503, "overloaded")
            assert small.api("GET", "scripts/held/kv/n").json == 2
            assert small.call("GET", "/fn/plain").body == b"fine"
            world.go_on()
            assert (first.rest(), second.rest()) == (b"", b"")
        for reader in (first, second):
            assert ended(small, reader.head)["outcome"] == "ok"


def test_slow_readers_take_no_place_from_scripts_that_compute(fresh_data: Path) -> None:
    with running(fresh_data, PICLOUD_WORKERS="1", PICLOUD_POOL_MAX="2", PICLOUD_POOL_SPARE="1") as small:
        small.deploy("endless", body('while true do write(("x"):rep(60000)) end'))
        small.set("endless", {"limits": {"wall_ms": 300_000, "response_bytes": 64 << 20}})
        small.deploy("plain", 'return "fine"')
        with ExitStack() as readers:
            for _ in range(2):  # as many as there are sandboxes
                reader = readers.enter_context(reading(small, "/fn/endless", receive_bytes=4096))
                assert reader.head.status == 200
            assert small.call("GET", "/fn/plain").body == b"fine"
        assert small.call("GET", "/fn/plain").body == b"fine"


def test_a_server_that_stops_ends_streams_and_their_records_say_so(world: World, fresh_data: Path) -> None:
    with running(fresh_data, PICLOUD_PRIVATE_HOSTS=world.host) as ours:
        ours.deploy("endless", body('write("x\\n") while true do end', 'kv.set("k", 1)'))
        ours.deploy("unread", body('while true do write(("x"):rep(60000)) end'))
        for name in ("endless", "unread"):
            ours.set(name, {"limits": {"wall_ms": 300_000, "cpu_ms": 300_000, "response_bytes": 64 << 20}})
        with reading(ours, "/fn/endless") as spinning, reading(ours, "/fn/unread", receive_bytes=4096) as unread:
            assert spinning.line() == b"x\n"
            assert ours.stop() == 0
            with pytest.raises((IncompleteRead, ConnectionResetError)):
                spinning.rest()
        ours.start()
        for reader in (spinning, unread):
            assert ended(ours, reader.head)["outcome"] == "executor-lost"


def test_a_killed_sandbox_cuts_its_own_stream_only(ours: Running, world: World) -> None:
    ours.deploy("killed", body('write("x\\n") while true do end'))
    ours.deploy("other", body(f'write("y\\n") http.get("{world.url}/slow") write("z\\n")'))
    with reading(ours, "/fn/other") as other, reading(ours, "/fn/killed") as reader:
        assert (other.line(), reader.line()) == (b"y\n", b"x\n")
        (sandbox,) = eventually(ours.computing, lambda pids: len(pids) == 1)
        os.kill(sandbox, signal.SIGKILL)
        with pytest.raises(IncompleteRead):
            reader.rest()
        world.await_waiting(1)
        world.go_on()
        assert other.rest() == b"z\n"
    assert ended(ours, reader.head)["outcome"] == "sandbox-crash"
