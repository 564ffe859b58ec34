"""An invocation happens whole or not at all: each sentence of that promise, over HTTP and on a real PostgreSQL.

Triggers on the keys' table are the gates: a write of a key `gate…` waits while gate 1 is closed, a COMMIT of a key
`late…` while gate 2 is. So a test sees that an invocation is where it wants it to be, and nothing depends on time.
"""

import os
import select
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg2.extensions import parse_dsn

from picloud.storage.connection import connect
from picloud.storage.embedded import EmbeddedPostgres
from tests.fixtures_postgres import create_database, execute
from tests.proxied_postgres import Proxy
from tests.running import PATIENCE_S, Answer, Running, eventually

CONNECTIONS = 4  # for invocations, of the one worker that there is here
IN_WRITE, IN_COMMIT = 1, 2
BACKENDS = "(SELECT * FROM pg_stat_activity WHERE datname = current_database()) AS it"

GATES = """
CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_advisory_xact_lock_shared(TG_ARGV[0]::bigint);
  RETURN NEW;
END $$;
CREATE TRIGGER gate BEFORE INSERT OR UPDATE ON kv
  FOR EACH ROW WHEN (NEW.key LIKE 'gate%') EXECUTE FUNCTION pass(1);
CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON kv DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (NEW.key LIKE 'late%') EXECUTE FUNCTION pass(2);
CREATE FUNCTION clash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'as if others were faster' USING ERRCODE = 'serialization_failure';
END $$;
CREATE CONSTRAINT TRIGGER never AFTER INSERT ON kv DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (NEW.key = 'never') EXECUTE FUNCTION clash();
"""

WRITER = """
return function(request)
  local how = request.query.how
  kv.incr("n")
  log.info("wrote")
  if how == "gate" or how == "late" then kv.set(how .. "/" .. request.id, 1) end
  if how == "answer" then return { status = tonumber(request.query.status) } end
  if how == "nothing" then return nil end
  if how == "error" then error("no") end
  if how == "error-table" then error{ status = 409, headers = { ["x-why"] = "taken" }, body = "undone" } end
  if how == "error-200" then error{ status = 200, body = "fine" } end
  if how == "status" then return { status = 99 } end
  if how == "header" then return { headers = { connection = "close" } } end
  if how == "size" then return string.rep("x", 2000) end
  if how == "json" then return { body = { print } } end
  if how == "spin" then while true do end end
  if how == "memory" then local all = {} while true do all[#all + 1] = string.rep("x", 1000000) .. #all end end
  if how == "calls" then while true do kv.get("k") end end
  return "done"
end
"""


class Ours(Running):
    """A PiCloud, and the way to its database that no test obstructs."""

    dsn = ""
    proxy: Proxy


@pytest.fixture(scope="module")
def ours(
    tmp_path_factory: pytest.TempPathFactory, short_dir: Path, postgres: EmbeddedPostgres, migrated: str
) -> Iterator[Ours]:
    """One worker, and few sandboxes; its way to the database leads through a proxy."""
    dsn = create_database(postgres.dsn, "onecommit", migrated)
    folder = Path(parse_dsn(dsn)["host"])
    behind = short_dir / "proxy"
    behind.mkdir()
    environment = {
        "PICLOUD_DATABASE_URL": dsn.replace(quote(str(folder), safe=""), quote(str(behind), safe="")),
        "PICLOUD_WORKERS": "1",
        "PICLOUD_POOL_SPARE": "4",
        "PICLOUD_POOL_MAX": str(CONNECTIONS + 2),
    }
    made = Ours(tmp_path_factory.mktemp("one-commit"), environment)
    made.dsn = dsn
    with closing(Proxy(behind, folder)) as made.proxy:
        made.start()
        try:
            execute(dsn, GATES)
            made.deploy("writer", WRITER)
            made.deploy("spinning", "while true do end")
            made.set("spinning", {"limits": {"wall_ms": 60_000, "cpu_ms": 60_000}})
            yield made
        finally:
            made.stop()
    execute(postgres.dsn, "DROP DATABASE onecommit WITH (FORCE)")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as made:
        yield made


def value(ours: Ours, name: str, key: str, query: str = "") -> object:
    """What is stored; None: nothing is."""
    answer = ours.api("GET", f"scripts/{name}/kv/{key}{query}")
    return answer.json if answer.status == 200 else None


def shared(ours: Ours, key: str) -> object:
    """The same in the space `common`, by way of a script that may."""
    return value(ours, "caller", key, "?space=common")


def clear(ours: Ours, name: str = "writer", **settings: object) -> None:
    """Let nothing be stored, and these be the settings."""
    execute(ours.dsn, "DELETE FROM kv")
    ours.set(name, settings)


def log_of(ours: Ours, invocation: str | None) -> list[str]:
    """The messages of an invocation that has written some, in their order; a batch brings all of them."""
    found = eventually(lambda: ours.api("GET", f"logs?invocation={invocation}").json["items"], bool)
    return [line["message"] for line in reversed(found)]


def log_behind(ours: Ours, answer: Answer) -> list[str]:
    """The same of the invocation that was answered so."""
    return log_of(ours, answer.header("picloud-invocation"))


@contextmanager
def closed(ours: Ours, gate: int) -> Iterator[Callable[[], None]]:
    """A gate, until the end of the block or until it is opened."""
    with closing(connect(ours.dsn, timeouts=False)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (gate,))
        yield lambda: cursor.execute("SELECT pg_advisory_unlock_all()")


def at_gate(ours: Ours, count: int = 1) -> list[int]:
    """The backends that wait at a gate, once there are so many."""
    waiting = f"SELECT pid FROM {BACKENDS} WHERE wait_event = 'advisory'"
    return eventually(lambda: [int(str(pid)) for (pid,) in execute(ours.dsn, waiting)], lambda got: len(got) >= count)


def at_rest(ours: Ours) -> None:
    """Until no backend is in a transaction."""
    open_ones = f"SELECT pid, query FROM {BACKENDS} WHERE state LIKE 'idle in transaction%'"
    eventually(lambda: execute(ours.dsn, open_ones), lambda rows: not rows)


# ── what commits, and what rolls back ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [200, 302, 404, 409, 500, 599])
def test_any_returned_response_commits_whatever_its_status(ours: Ours, status: int) -> None:
    clear(ours)
    answer = ours.call("GET", f"/fn/writer?how=answer&status={status}")
    assert (answer.status, value(ours, "writer", "n")) == (status, 1)
    assert ours.api("GET", f"invocations/{answer.header('picloud-invocation')}").json["status"] == status


def test_so_does_the_answer_of_no_content(ours: Ours) -> None:
    clear(ours)
    assert ours.call("GET", "/fn/writer?how=nothing").status == 204
    assert value(ours, "writer", "n") == 1


@pytest.mark.parametrize(
    ("how", "status", "outcome", "limits"),
    [
        ("error", 500, "script-error", {}),
        ("status", 502, "bad-response", {}),
        ("header", 502, "bad-response", {}),
        ("json", 502, "bad-response", {}),
        ("size", 502, "bad-response", {"response_bytes": 1000}),
        ("spin", 504, "cpu-limit", {"cpu_ms": 300}),
        ("memory", 500, "memory-limit", {"memory_bytes": 8 * 1024 * 1024}),
        ("calls", 500, "script-error", {"host_calls": 20}),
    ],
)
def test_whatever_ends_without_a_valid_response_leaves_nothing(
    ours: Ours, how: str, status: int, outcome: str, limits: dict[str, int]
) -> None:
    clear(ours, limits=limits)
    answer = ours.call("GET", f"/fn/writer?how={how}")
    assert (answer.status, answer.problem) == (status, outcome)
    assert log_behind(ours, answer)[0] == "wrote"  # it came so far
    assert value(ours, "writer", "n") is None
    at_rest(ours)


def test_the_end_of_its_time_leaves_nothing_also_within_a_statement(ours: Ours) -> None:
    with closed(ours, IN_WRITE):
        for wall_ms in (500, 2_000, 8_000):  # however slow this machine is, one of them is enough to get there
            clear(ours, limits={"wall_ms": wall_ms})
            answer = ours.call("GET", "/fn/writer?how=gate")
            assert (answer.status, answer.problem) == (504, "timeout")
            if log_behind(ours, answer)[0] == "wrote":
                break
        else:
            raise AssertionError("it never came so far")
    assert value(ours, "writer", "n") is None
    at_rest(ours)


@pytest.mark.parametrize("how", ["error-table", "error-200"])
def test_a_raised_table_is_answered_and_rolls_back(ours: Ours, how: str) -> None:
    clear(ours)
    answer = ours.call("GET", f"/fn/writer?how={how}")
    expected = (409, b"undone", "taken") if how == "error-table" else (200, b"fine", None)
    assert (answer.status, answer.body, answer.header("x-why")) == expected
    assert value(ours, "writer", "n") is None
    assert ours.record_of(answer)["outcome"] == "ok"


@pytest.mark.parametrize(("victim", "outcome"), [("picloud-sandbox", "sandbox-crash"), ("zygote", "executor-lost")])
def test_a_kill_leaves_nothing(ours: Ours, threads: ThreadPoolExecutor, victim: str, outcome: str) -> None:
    clear(ours)
    asked = threads.submit(ours.call, "GET", "/fn/writer?how=spin")
    (computing, *_) = eventually(ours.computing, bool)
    os.kill(ours.zygote() if victim == "zygote" else computing, signal.SIGKILL)
    answer = asked.result()
    assert answer.problem == outcome
    assert value(ours, "writer", "n") is None
    at_rest(ours)
    eventually(lambda: ours.call("GET", "/fn/writer").status, lambda status: status == 200)


def test_a_killed_worker_leaves_nothing(ours: Ours) -> None:
    clear(ours)
    with socket.create_connection(("127.0.0.1", ours.port)) as connection:
        connection.sendall(b"GET /fn/writer?how=spin HTTP/1.1\r\nHost: h\r\n\r\n")
        eventually(ours.computing, bool)
        (worker,) = ours.workers()
        os.kill(worker, signal.SIGKILL)
        eventually(ours.workers, lambda pids: pids not in ([], [worker]))
    at_rest(ours)
    eventually(lambda: ours.call("GET", "/readyz").status, lambda status: status == 200)
    assert value(ours, "writer", "n") is None


# ── who hangs up ────────────────────────────────────────────────────────────────────────────────────────────────────


def ask(ours: Ours, path: str, method: str = "GET") -> socket.socket:
    """A connection with a request on it."""
    connection = socket.create_connection(("127.0.0.1", ours.port), timeout=PATIENCE_S)
    send(connection, path, method, ours.token)
    return connection


def send(connection: socket.socket, path: str, method: str = "GET", token: str = "") -> None:
    head = f"{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
    connection.sendall(head.encode())


def reset(connection: socket.socket) -> None:
    """Close so that the other side is told."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))
    connection.close()


def left_alone(ours: Ours, script: str) -> dict[str, object]:
    """The record of the one run of a script whose caller hung up, once it and its sandbox are gone."""
    eventually(ours.computing, lambda pids: not pids)
    at_rest(ours)
    records = f"invocations?script={script}&outcome=caller-gone"
    (record, *_) = eventually(lambda: ours.api("GET", records).json["items"], bool)
    return dict(record)


PATIENT = {"limits": {"wall_ms": 60_000, "cpu_ms": 60_000}}  # nothing but the hang-up can be what ends it


@pytest.mark.parametrize(
    ("script", "path", "method"),
    [
        ("writer", "/fn/writer?how=spin", "GET"),
        ("hidden", "/routed?how=spin", "GET"),
        ("spinning", "/api/v1/scripts/spinning/invoke", "POST"),
    ],
)
def test_who_hangs_up_leaves_nothing_and_its_sandbox_is_killed(ours: Ours, script: str, path: str, method: str) -> None:
    clear(ours)
    if script == "hidden":
        ours.deploy(script, WRITER)
        ours.api("POST", "routes", {"path": "/routed", "script": script})
    ours.set(script, PATIENT)
    connection = ask(ours, path, method)
    eventually(ours.computing, bool)
    reset(connection)
    record = left_alone(ours, script)
    assert (record["status"], record["trigger"]) == (499, "invoke" if method == "POST" else "http")
    assert log_of(ours, str(record["id"]))[-1] == "caller-gone: The caller hung up before the answer."
    assert value(ours, script, "n") is None


def test_over_a_unix_socket_any_close_is_a_hang_up_and_a_half_close_is_none(ours: Ours, short_dir: Path) -> None:
    """By a second server on the same database."""
    clear(ours, limits=PATIENT["limits"])
    address = str(short_dir / "one-commit.web")
    data = ours.data.parent / "other"
    other = Running(data, {**ours.environment, "PICLOUD_DATA": str(data), "PICLOUD_BIND": f"unix:{address}"})
    other.start()
    try:
        with socket.socket(socket.AF_UNIX) as half_closed, closed(ours, IN_WRITE) as open_gate:
            half_closed.connect(address)
            send(half_closed, "/fn/writer?how=gate")
            half_closed.shutdown(socket.SHUT_WR)
            at_gate(ours)
            open_gate()
            assert half_closed.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert value(ours, "writer", "n") == 1
        with socket.socket(socket.AF_UNIX) as gone:
            gone.connect(address)
            send(gone, "/fn/writer?how=spin")
            eventually(other.computing, bool)
        eventually(other.computing, lambda pids: not pids)
        at_rest(ours)
        assert value(ours, "writer", "n") == 1
    finally:
        other.stop()


def test_a_half_close_is_answered_and_committed(ours: Ours) -> None:
    clear(ours)
    with closed(ours, IN_WRITE) as open_gate, ask(ours, "/fn/writer?how=gate") as connection:
        connection.shutdown(socket.SHUT_WR)
        at_gate(ours)  # by then it has arrived, and more is asked of the sandbox
        open_gate()
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert value(ours, "writer", "n") == 1


def test_what_waits_behind_a_request_is_no_hang_up(ours: Ours) -> None:
    clear(ours)
    with closed(ours, IN_WRITE) as open_gate, ask(ours, "/fn/writer?how=gate") as connection:
        at_gate(ours)
        send(connection, "/fn/writer")
        open_gate()
        answers = b""
        while answers.count(b"HTTP/1.1 200 ") < 2 or not answers.endswith(b"done"):
            answers += (more := connection.recv(65536))
            assert more
    assert value(ours, "writer", "n") == 2


def test_who_hangs_up_in_the_middle_of_the_commit_finds_it_done(ours: Ours) -> None:
    clear(ours)
    with closed(ours, IN_COMMIT) as open_gate:
        connection = ask(ours, "/fn/writer?how=late")
        at_gate(ours)
        reset(connection)
        open_gate()
    eventually(lambda: value(ours, "writer", "n"), lambda number: number == 1)


# ── when it is answered ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_answer_comes_after_the_commit_with_which_the_record_is_there(ours: Ours) -> None:
    clear(ours)
    with closed(ours, IN_COMMIT) as open_gate, socket.create_connection(("127.0.0.1", ours.port)) as connection:
        connection.sendall(b"GET /fn/writer?how=late HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        at_gate(ours)
        for _ in range(3):  # who comes later is answered, this one is not
            assert ours.call("GET", "/healthz").status == 200
        assert select.select([connection], [], [], 0) == ([], [], [])
        assert value(ours, "writer", "n") is None
        open_gate()
        answered = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answered.startswith(b"HTTP/1.1 200 ")
    assert value(ours, "writer", "n") == 1


def test_the_record_is_committed_with_what_was_done(ours: Ours) -> None:
    clear(ours)
    for _ in range(5):  # at once: no batch is waited for
        answer = ours.call("GET", "/fn/writer")
        record = ours.api("GET", f"invocations/{answer.header('picloud-invocation')}")
        assert (record.status, record.json["outcome"]) == (200, "ok")


# ── what fails on the way ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_refused_call_that_is_caught_does_not_spoil_the_transaction(ours: Ours) -> None:
    ours.deploy(
        "catches",
        """
        return function()
          kv.set("text", "x")
          local refused = {}
          local function try(f, ...) if not pcall(f, ...) then refused[#refused + 1] = true end end
          try(kv.incr, "text")
          try(kv.incr, "most", math.maxinteger)
          try(kv.incr, "most", 1)
          try(kv.set, string.rep("k", 513), 1)
          try(kv.set, "k\\0", 1)
          try(kv.set, "\\xff", 1)
          try(kv.set, "large", string.rep("x", 262145))
          try(kv.open("nobody").get, "k")
          local large = string.rep("x", 262000)
          for at = 1, 300 do
            local fits = pcall(kv.set, "fill/" .. at, large)
            if not fits then refused[#refused + 1] = true break end
          end
          kv.set("after", #refused)
          return #refused
        end
        """,
    )
    assert ours.call("GET", "/fn/catches").json == 8
    assert (value(ours, "catches", "after"), value(ours, "catches", "text")) == (8, "x")
    assert ours.api("DELETE", "scripts/catches").status == 204


def test_a_commit_that_the_database_refuses_is_none(ours: Ours) -> None:
    clear(ours)
    ours.deploy("never", 'kv.set("never", 1) log.info("tried") return 1')
    ours.set("never", {"limits": {"wall_ms": 3_000}})
    answer = ours.call("GET", "/fn/never")
    assert (answer.status, answer.problem) == (504, "timeout")
    assert answer.json["detail"] == "exceeded the wall clock limit of 3000 ms: it clashed with other invocations"
    assert value(ours, "never", "never") is None


# ── a COMMIT whose outcome is not known ─────────────────────────────────────────────────────────────────────────────


def test_a_connection_that_is_lost_before_the_commit_is_done_leaves_nothing(
    ours: Ours, threads: ThreadPoolExecutor
) -> None:
    clear(ours)
    with closed(ours, IN_COMMIT):
        asked = threads.submit(ours.call, "GET", "/fn/writer?how=late")
        (backend,) = at_gate(ours)
        execute(ours.dsn, "SELECT pg_terminate_backend(%s)", backend)
        answer = asked.result()
    assert (answer.status, answer.problem, answer.header("retry-after")) == (503, "database-unavailable", "1")
    assert "nothing is stored" in answer.json["detail"]
    assert value(ours, "writer", "n") is None
    assert ours.record_of(answer)["outcome"] == "database-unavailable"


def test_a_connection_that_is_lost_after_the_commit_was_done_is_answered_with_success(ours: Ours) -> None:
    clear(ours)
    ours.proxy.loses_next = b"INSERT INTO kv "
    answer = ours.call("GET", "/fn/writer")
    assert not ours.proxy.loses_next
    assert (answer.status, answer.body) == (200, b"done"), answer
    assert value(ours, "writer", "n") == 1
    assert ours.record_of(answer)["outcome"] == "ok"


def test_an_outcome_that_nobody_can_say_in_time_is_told_as_such(ours: Ours, threads: ThreadPoolExecutor) -> None:
    clear(ours, limits={"wall_ms": 1_000})
    answer = lost_in_commit(ours, threads)
    assert (answer.status, answer.problem, answer.header("retry-after")) == (503, "outcome-unknown", "1")
    assert ours.record_of(answer)["outcome"] == "outcome-unknown"


def lost_in_commit(ours: Ours, threads: ThreadPoolExecutor) -> Answer:
    """A connection is lost in COMMIT, and no other can be made until that is answered."""
    elsewhere = ours.dsn.replace("@/onecommit?", "@/picloud?")
    with closed(ours, IN_COMMIT):
        asked = threads.submit(ours.call, "GET", "/fn/writer?how=late")
        (backend,) = at_gate(ours)
        execute(elsewhere, "ALTER DATABASE onecommit ALLOW_CONNECTIONS false")
        try:
            execute(elsewhere, "SELECT pg_terminate_backend(%s)", backend)
            return asked.result()
        finally:
            execute(elsewhere, "ALTER DATABASE onecommit ALLOW_CONNECTIONS true")


# ── isolation: who clashes runs again ───────────────────────────────────────────────────────────────────────────────

ADDS_BY_HAND = """
return function(request)
  local n = kv.get("n") or 0
  log.info("read " .. n)
  kv.set("gate", 1)
  kv.set("n", n + 1)
  return n + 1
end
"""


def test_who_clashes_runs_again_and_the_earlier_log_is_dropped(ours: Ours, threads: ThreadPoolExecutor) -> None:
    ours.deploy("by-hand", ADDS_BY_HAND)
    with closed(ours, IN_WRITE) as open_gate:
        asked = threads.submit(ours.call, "GET", "/fn/by-hand")
        at_gate(ours)
        assert ours.api("PUT", "scripts/by-hand/kv/n", 41).status == 200
        open_gate()
        answer = asked.result()
    assert (answer.json, value(ours, "by-hand", "n")) == (42, 42)
    assert log_behind(ours, answer) == ["read 41"]
    assert ours.record_of(answer)["outcome"] == "ok"


def test_who_waits_for_each_other_is_run_again(ours: Ours, threads: ThreadPoolExecutor) -> None:
    clear(ours)
    ours.deploy(
        "crosses",
        """
        return function(request)
          local first, second = request.query.first, request.query.second
          kv.incr(first)
          kv.set("gate/" .. first, 1)
          kv.incr(second)
          return "done"
        end
        """,
    )
    with closed(ours, IN_WRITE) as open_gate:
        pairs = ("first=a&second=b", "first=b&second=a")
        asked = [threads.submit(ours.call, "GET", f"/fn/crosses?{pair}") for pair in pairs]
        at_gate(ours, 2)
        open_gate()
        assert [it.result().status for it in asked] == [200, 200]
    assert [value(ours, "crosses", key) for key in "ab"] == [2, 2]


# ── invoke joins its caller's transaction ───────────────────────────────────────────────────────────────────────────

CALLER = """
local common = kv.open("common")
return function(request)
  local how, name = request.query.how, request.query.name or "callee"
  common.set("caller", 1)
  if how == "gate" then kv.incr("turn") kv.set("gate/" .. request.id, 1) end
  local ok, answer = pcall(invoke, name, { query = { how = request.query.callee }, body = request.body })
  common.set("afterwards", 1)
  if how == "raise" then error("the caller fails") end
  if not ok then return { status = 200, body = { failed = answer } } end
  return { status = 200, body = { status = answer.status, body = answer.body, seen = common.get("callee") } }
end
"""

CALLEE = """
local common = kv.open("common")
return function(request)
  common.set("callee", { seen = common.get("caller") })
  log.info("the callee wrote")
  local how = request.query.how
  if how == "error" then error("the callee fails") end
  if how == "error-table" then error{ status = 409, body = "undone" } end
  if how == "status" then return { status = 99 } end
  if how == "spin" then while true do end end
  if how == "memory" then local all = {} while true do all[#all + 1] = string.rep("x", 1000000) .. #all end end
  if how == "body" then return { status = 200, body = request.body .. request.body } end
  return { status = 201, body = "made" }
end
"""


@pytest.fixture
def pair(ours: Ours) -> None:
    """A script and one that it invokes, who share a space."""
    for name, source in (("caller", CALLER), ("callee", CALLEE)):
        ours.deploy(name, source)
        clear(ours, name, kv=["common"])


@pytest.mark.usefixtures("pair")
def test_what_both_did_is_stored_together_and_each_sees_the_others(ours: Ours) -> None:
    answer = ours.call("GET", "/fn/caller")
    assert answer.json == {"status": 201, "body": "made", "seen": {"seen": 1}}
    assert [shared(ours, key) for key in ("caller", "callee", "afterwards")] == [1, {"seen": 1}, 1]


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize(
    ("how", "limits", "said"),
    [
        ("error", {}, "'callee' ended with script-error: main.lua:7: the callee fails"),
        ("status", {}, "'callee' ended with bad-response: "),
        ("spin", {"cpu_ms": 200}, "'callee' ended with cpu-limit: "),
        ("memory", {"memory_bytes": 8 * 1024 * 1024}, "'callee' ended with memory-limit: "),
    ],
)
def test_a_callee_that_fails_undoes_its_own_only(ours: Ours, how: str, limits: dict[str, int], said: str) -> None:
    ours.set("callee", {"kv": ["common"], "limits": limits})
    answer = ours.call("GET", f"/fn/caller?callee={how}")
    assert answer.status == 200
    assert said in answer.json["failed"]
    assert [shared(ours, key) for key in ("caller", "callee", "afterwards")] == [1, None, 1]


@pytest.mark.usefixtures("pair")
def test_a_callee_that_raises_a_table_answers_it_and_undoes_its_own(ours: Ours) -> None:
    assert ours.call("GET", "/fn/caller?callee=error-table").json == {"status": 409, "body": "undone"}
    assert [shared(ours, key) for key in ("caller", "callee", "afterwards")] == [1, None, 1]


@pytest.mark.usefixtures("pair")
def test_a_caller_that_fails_undoes_both(ours: Ours) -> None:
    assert ours.call("GET", "/fn/caller?how=raise").problem == "script-error"
    assert [shared(ours, key) for key in ("caller", "callee", "afterwards")] == [None] * 3
    at_rest(ours)


def test_a_script_that_wants_a_token_is_invoked_by_those_that_may(ours: Ours) -> None:
    ours.deploy("guarded", 'return "opened"')
    ours.set("guarded", {"access": "token"})
    ours.deploy("asks", 'local ok, answer = pcall(invoke, "guarded") return ok and answer.body or answer')
    refused = (
        b"main.lua:1: script.invoke: 'guarded' wants a token: to invoke it, this script's setting `invoke` must name it"
    )
    assert ours.call("GET", "/fn/asks").body == refused
    ours.set("asks", {"invoke": ["guarded"]})
    assert ours.call("GET", "/fn/asks").body == b"opened"


@pytest.mark.usefixtures("pair")
def test_an_invoked_script_has_a_record_and_a_log_of_its_own(ours: Ours) -> None:
    for how, outcome in (("", "ok"), ("error", "script-error")):
        answer = ours.call("GET", f"/fn/caller?callee={how}")
        ours.record_of(answer)
        found = eventually(
            lambda outcome=outcome: ours.api("GET", f"invocations?script=callee&outcome={outcome}").json["items"],  # type: ignore[misc]
            bool,
        )
        assert (found[0]["trigger"], found[0]["version"], found[0]["outcome"]) == ("invoke", 1, outcome)
        assert log_of(ours, found[0]["id"])[0] == "the callee wrote"


@pytest.mark.usefixtures("pair")
def test_the_callers_deadline_holds_in_the_callee(ours: Ours) -> None:
    ours.set("caller", {"kv": ["common"], "limits": {"wall_ms": 2_000}})  # less than the callee's CPU lasts
    answer = ours.call("GET", "/fn/caller?callee=spin")
    assert answer.problem == "timeout"
    (record, *_) = eventually(lambda: ours.api("GET", "invocations?script=callee&outcome=timeout").json["items"], bool)
    assert record["run_ms"] < 5_000
    assert [shared(ours, key) for key in ("caller", "callee", "afterwards")] == [None] * 3


@pytest.mark.usefixtures("pair")
def test_a_large_body_goes_there_and_back(ours: Ours) -> None:
    ours.set("caller", {"kv": ["common"], "limits": {"request_bytes": 1024 * 1024}})
    body = os.urandom(128).hex().encode() * 4_000
    answer = ours.call("POST", "/fn/caller?callee=body", body)
    assert answer.json["body"].encode() == body * 2


@pytest.mark.usefixtures("pair")
def test_a_hang_up_while_another_script_runs_undoes_both(ours: Ours) -> None:
    for name in ("caller", "callee"):
        ours.set(name, {"kv": ["common"], **PATIENT})
    connection = ask(ours, "/fn/caller?callee=spin")
    eventually(ours.computing, bool)
    reset(connection)
    left_alone(ours, "caller")
    assert [shared(ours, key) for key in ("caller", "callee", "afterwards")] == [None] * 3


def test_scripts_invoke_each_other_eight_deep_and_no_deeper(ours: Ours) -> None:
    """Which takes more sandboxes than callers may hold."""
    ours.deploy(
        "deep",
        """
        return function(request)
          local left = tonumber(request.query.left)
          kv.set("depth/" .. left, true)
          if left == 0 then return { body = "bottom" } end
          local answer = invoke("deep", { query = { left = left - 1 } })
          return { body = answer.body }
        end
        """,
    )
    ours.set("deep", {"limits": {"wall_ms": 30_000}})
    assert ours.call("GET", "/fn/deep?left=8").body == b"bottom"
    assert len(ours.api("GET", "scripts/deep/kv").json["items"]) == 9
    answer = ours.call("GET", "/fn/deep?left=9")
    assert answer.problem == "script-error"
    assert "scripts invoke each other at most 8 deep" in answer.json["detail"]
    assert value(ours, "deep", "depth/9") is None


def test_a_script_that_is_invoked_by_whom_it_invokes_sees_what_that_wrote(ours: Ours) -> None:
    source = """
    local common = kv.open("common")
    return function(request)
      local trail = (common.get("trail") or "") .. "NAME"
      common.set("trail", trail)
      if #trail < 5 then invoke(trail:sub(-1) == "a" and "b" or "a") end
      return { body = common.get("trail") }
    end
    """
    for name in "ab":
        ours.deploy(name, source.replace("NAME", name))
        clear(ours, name, kv=["common"])
    assert ours.call("GET", "/fn/a").body == b"ababa"
    ours.set("a", {"kv": ["common"], "limits": {"concurrency": 1}})
    execute(ours.dsn, "DELETE FROM kv")
    assert "'a' already runs 1 times at once" in ours.call("GET", "/fn/a").json["detail"]
    assert value(ours, "a", "trail", "?space=common") is None


@pytest.mark.usefixtures("pair")
def test_callers_that_hold_every_sandbox_still_find_some_for_whom_they_invoke(
    ours: Ours, threads: ThreadPoolExecutor
) -> None:
    """One of them has a lock for which the others wait, in sandboxes of their own."""
    ours.set("caller", {"kv": ["common"], "limits": {"wall_ms": 60_000}})
    with closed(ours, IN_WRITE) as open_gate, ours.spinning("/fn/spinning", 2):
        asked = [threads.submit(ours.call, "GET", "/fn/caller?how=gate") for _ in range(CONNECTIONS)]
        at_gate(ours)
        locked = f"SELECT count(*)::int FROM {BACKENDS} WHERE wait_event_type = 'Lock'"
        eventually(lambda: execute(ours.dsn, locked)[0][0], lambda count: count == CONNECTIONS)
        open_gate()
        assert [it.result().json["status"] for it in asked] == [201] * CONNECTIONS
    assert value(ours, "caller", "turn") == CONNECTIONS


# ── connections ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_invocations_have_four_connections_and_who_finds_none_is_refused_in_time(
    ours: Ours, threads: ThreadPoolExecutor
) -> None:
    clear(ours, limits={"wall_ms": 60_000})
    with closed(ours, IN_WRITE) as open_gate:
        holding = [threads.submit(ours.call, "GET", "/fn/writer?how=gate") for _ in range(CONNECTIONS)]
        eventually(lambda: len(at_gate(ours)) + row_waiters(ours), lambda count: count == CONNECTIONS)
        refused: Future[Answer] = threads.submit(ours.call, "GET", "/fn/writer")
        while not refused.done():  # meanwhile
            assert ours.call("GET", "/readyz").status == 200
            assert ours.api("GET", "scripts").status == 200
            assert ours.api("GET", "scripts/writer/kv/n").status == 404
        answer = refused.result()
        assert (answer.status, answer.problem, answer.header("retry-after")) == (503, "overloaded", "1")
        open_gate()
        assert {it.result().status for it in holding} == {200}
    assert value(ours, "writer", "n") == CONNECTIONS
    assert ours.call("GET", "/fn/writer").status == 200


def row_waiters(ours: Ours) -> int:
    """How many wait for the row of another."""
    waiting = f"SELECT count(*)::int FROM {BACKENDS} WHERE wait_event IN ('transactionid', 'tuple')"
    return int(str(execute(ours.dsn, waiting)[0][0]))
