"""What a script asks other servers for, through a whole PiCloud."""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_idle import seen, settled
from tests.running import Answer, Running, eventually, running

ECHO = """
return function(request)
  local sent = request:json()
  local response = http.fetch(sent)
  return { body = {
    status = response.status, url = response.url, type = response.headers["Content-Type"], body = response.body,
  } }
end
"""


class World:
    """A server on loopback, which stands for all others: what it was asked, and answers that wait at /slow."""

    def __init__(self) -> None:
        world = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                world.answer(self)

            do_POST = do_PUT = do_GET  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self._changed = threading.Condition()
        self._waiting = 0
        self._rounds = 0

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.asked.append((handler.command, handler.path, headers, body))
        if handler.path == "/slow":
            self._wait()
        told = json.dumps({"method": handler.command, "path": handler.path, "body": body.decode()}).encode()
        with contextlib.suppress(OSError):  # who asked may have lost patience
            handler.send_response(200)
            handler.send_header("content-type", "application/json")
            handler.send_header("content-length", str(len(told)))
            handler.end_headers()
            handler.wfile.write(told)

    def await_waiting(self, count: int) -> None:
        """Until so many wait for /slow."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._waiting >= count, 90), self._waiting

    def go_on(self) -> None:
        """Answer all that wait; those who come later wait again."""
        with self._changed:
            self._rounds += 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._waiting == 0, 90)

    def _wait(self) -> None:
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            mine = self._rounds
            self._changed.wait_for(lambda: self._rounds != mine, 120)
            self._waiting -= 1
            self._changed.notify_all()


@contextlib.contextmanager
def a_world() -> Iterator[World]:
    world = World()
    thread = threading.Thread(target=world.server.serve_forever)
    thread.start()
    try:
        yield world
    finally:
        world.go_on()
        world.server.shutdown()
        thread.join()
        world.server.server_close()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with a_world() as there:
        yield there


@pytest.fixture(scope="module")
def ours(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that may call the world, although it is on loopback."""
    with running(tmp_path_factory.mktemp("fetch"), PICLOUD_PRIVATE_HOSTS=world.host) as server:
        server.deploy("echo", ECHO)
        yield server


def asked(ours: Running, name: str, options: object) -> Answer:
    return ours.call("POST", f"/fn/{name}", json.dumps(options).encode(), {"content-type": "application/json"})


def record(ours: Running, answer: Answer) -> dict[str, object]:
    """Of an invocation that came to its end: until it is written there is the mark."""
    return eventually(lambda: ours.record_of(answer), lambda it: it["outcome"] != "outcome-unknown")


def test_a_script_asks_another_server(ours: Running, world: World) -> None:
    answer = asked(ours, "echo", {"url": f"{world.url}/a?b=c", "headers": {"X-A": "1", "X-B": ["2", "3"]}})
    assert answer.status == 200, answer
    told = answer.json
    assert (told["status"], told["url"], told["type"]) == (200, f"{world.url}/a?b=c", "application/json")
    assert json.loads(told["body"]) == {"method": "GET", "path": "/a?b=c", "body": ""}
    _, _, headers, _ = world.asked[-1]
    assert (headers["x-a"], headers["user-agent"], headers["host"]) == ("1", "PiCloud", world.host)
    assert record(ours, answer)["http_calls"] == 1


def test_a_table_is_sent_as_json_and_json_is_read(ours: Running, world: World) -> None:
    ours.deploy("post", f'return http.post("{world.url}/p", {{ a = {{ 1, 2 }} }}):json().body')
    assert ours.call("GET", "/fn/post").body == b'{"a":[1,2]}'
    method, _, headers, body = world.asked[-1]
    assert (method, headers["content-type"], body) == ("POST", "application/json", b'{"a":[1,2]}')


def test_every_call_is_counted_whatever_becomes_of_the_run(ours: Running, world: World) -> None:
    ours.deploy("fails", f'http.get("{world.url}/") http.get("{world.url}/") error("after it")')
    answer = ours.call("GET", "/fn/fails")
    assert answer.problem == "script-error"
    found = record(ours, answer)
    assert (found["outcome"], found["http_calls"]) == ("script-error", 2)


def test_what_is_private_is_not_reached_and_the_script_may_catch_it(ours: Running, world: World) -> None:
    before = len(world.asked)
    ours.deploy("curious", f'return select(2, pcall(http.get, "http://localhost:{world.port}/"))')
    answer = ours.call("GET", "/fn/curious")
    assert answer.body == b"main.lua:1: http.fetch: there is no public host localhost"
    assert len(world.asked) == before


def test_a_script_calls_what_its_settings_allow_and_nothing_else(ours: Running, world: World) -> None:
    before = len(world.asked)
    for hosts in ([], ["api.example.org"], [f"127.0.0.1:{world.port + 1}"]):
        ours.set("echo", {"allow_hosts": hosts})
        answer = asked(ours, "echo", {"url": world.url})
        assert "do not allow 127.0.0.1 (allow_hosts)" in answer.json["detail"]
        assert record(ours, answer)["http_calls"] == 0
    assert len(world.asked) == before
    for allowed in (["*.example.org", "127.0.0.1"], None):
        ours.set("echo", {"allow_hosts": allowed})
        assert asked(ours, "echo", {"url": world.url}).status == 200


def test_a_call_is_marked_before_it_is_made_and_the_mark_outlives_the_worker(fresh_data: Path) -> None:
    with a_world() as world, running(fresh_data, PICLOUD_PRIVATE_HOSTS=world.host, PICLOUD_WORKERS="1") as ours:
        ours.deploy("slow", f'return http.get("{world.url}/slow", {{ timeout_ms = 60000 }}).status')
        ours.set("slow", {"limits": {"wall_ms": 60_000}})
        with ThreadPoolExecutor(1) as caller:
            lost = caller.submit(ours.call, "GET", "/fn/slow")
            world.await_waiting(1)
            marked = ours.api("GET", "invocations?script=slow").json["items"]
            assert [(it["outcome"], it["status"], it["http_calls"]) for it in marked] == [("outcome-unknown", 503, 1)]
            os.kill(worker_of(ours), signal.SIGKILL)
            with pytest.raises((OSError, HTTPException)):
                lost.result()
        assert invocations(ours, "slow") == marked


def test_the_mark_of_a_run_that_ends_gives_way_to_its_record(ours: Running, world: World) -> None:
    ours.deploy("both", f'kv.set("k", 1) return http.get("{world.url}/").status')
    answer = ours.call("GET", "/fn/both")
    found = record(ours, answer)
    assert (found["outcome"], found["status"], found["http_calls"]) == ("ok", 200, 1)


def test_who_clashes_after_it_has_called_out_is_not_run_again(ours: Running, world: World) -> None:
    source = f"""
    return function(request)
      if request.query.bump then return kv.incr("n") end
      local n = kv.get("n") or 0
      http.get("{world.url}/slow")
      kv.set("n", n + 1)
      return n
    end"""
    ours.deploy("clash", source)
    with ThreadPoolExecutor(1) as caller:
        slow = caller.submit(ours.call, "GET", "/fn/clash")
        world.await_waiting(1)
        calls = len(world.asked)
        assert ours.call("GET", "/fn/clash?bump=1").body == b"1"
        world.go_on()
        answer = slow.result()
    assert (answer.status, answer.problem) == (409, "conflict")
    assert "it has called out, so it was not run again" in answer.json["detail"]
    assert len(world.asked) == calls
    found = record(ours, answer)
    assert (found["outcome"], found["http_calls"]) == ("conflict", 1)


def test_calls_of_an_invoked_script_count_for_it_and_for_who_invokes(ours: Running, world: World) -> None:
    ours.deploy("inner", f'return http.get("{world.url}/").status')
    ours.deploy("outer", f'http.get("{world.url}/") return invoke("inner").body')
    answer = ours.call("GET", "/fn/outer")
    assert answer.body == b"200"
    assert record(ours, answer)["http_calls"] == 2
    (inner,) = eventually(lambda: ours.api("GET", "invocations?script=inner").json["items"], bool)
    assert (inner["outcome"], inner["http_calls"]) == ("ok", 1)


def test_a_script_that_waits_ends_at_its_own_deadline(ours: Running, world: World) -> None:
    ours.deploy("slow", f'return http.get("{world.url}/slow", {{ timeout_ms = 60000 }}).status')
    ours.set("slow", {"limits": {"wall_ms": 500}})
    answer = ours.call("GET", "/fn/slow")
    assert answer.problem == "timeout"
    world.go_on()
    assert record(ours, answer)["http_calls"] == 1


def test_a_time_of_the_scripts_own_can_be_caught(ours: Running, world: World) -> None:
    ours.deploy("hasty", f'return select(2, pcall(http.get, "{world.url}/slow", {{ timeout_ms = 100 }}))')
    assert ours.call("GET", "/fn/hasty").body == b"main.lua:1: http.fetch: 127.0.0.1: no answer in time"
    world.go_on()


def test_a_run_without_a_server_calls_others_too(world: World, tmp_path: Path) -> None:
    script = tmp_path / "asks.lua"
    script.write_text(f'return http.post("{world.url}/run", "x"):json().path')
    offline = Running(tmp_path / "data", {"PICLOUD_PRIVATE_HOSTS": world.host})
    done = offline.cli("run", str(script))
    assert (done.returncode, done.stdout) == (0, b"/run"), done.stderr
    narrowed = offline.cli("run", str(script), "--set", "allow_hosts=[]")
    assert narrowed.returncode == 1
    assert b"do not allow 127.0.0.1 (allow_hosts)" in narrowed.stderr
    script.write_text('return kv.get("a")')
    assert b"kv.get: needs a server" in offline.cli("run", str(script)).stderr


SLOW_ONES = 50
ROUND = 60  # requests
ROUNDS = 6
QUIET_S = 5


@pytest.mark.timeout(300)
def test_fifty_scripts_that_wait_leave_the_rest_at_full_speed(ours: Running, world: World) -> None:
    """Rounds of both kinds in turn, and the best of each: noise makes a round slower, and none faster."""
    ours.deploy("hello", 'return "hello"')
    ours.deploy("patient", f'return http.get("{world.url}/slow", {{ timeout_ms = 120000 }}).status')
    ours.set("patient", {"limits": {"concurrency": 2 * SLOW_ONES, "wall_ms": 120_000}})
    alone: list[float] = []
    beside: list[float] = []
    while len(beside) < ROUNDS and not (beside and max(beside) >= max(alone)):
        alone.append(rate(ours))
        with many_waiting(ours, world):
            beside.append(rate(ours))
    assert max(beside) >= 0.5 * max(alone), (alone, beside)


def test_nobody_wakes_while_scripts_wait_nor_after(ours: Running, world: World) -> None:
    """Beside the callers' own threads and sandboxes, which sleep too."""
    ours.deploy("patient", f'return http.get("{world.url}/slow", {{ timeout_ms = 120000 }}).status')
    ours.set("patient", {"limits": {"concurrency": 2 * SLOW_ONES, "wall_ms": 120_000}})
    with many_waiting(ours, world):
        before = settled(ours)
        time.sleep(QUIET_S)  # not in hope: the length of the measurement
        assert seen(ours) == before
    before = settled(ours)
    time.sleep(QUIET_S)  # not in hope: the length of the measurement
    assert seen(ours) == before


@contextlib.contextmanager
def many_waiting(ours: Running, world: World) -> Iterator[None]:
    """Fifty scripts wait for the world in the block."""
    with ThreadPoolExecutor(SLOW_ONES) as callers:
        ends = [callers.submit(insisted, ours) for _ in range(SLOW_ONES)]
        try:
            world.await_waiting(SLOW_ONES)
            yield
        finally:
            world.go_on()
            statuses = {it.result().status for it in ends}
    assert statuses == {200}


def insisted(ours: Running) -> Answer:
    """The answer of one that waits; who finds no place while fifty come at once tries again."""
    return eventually(lambda: ours.call("GET", "/fn/patient"), lambda it: it.status != 503, within_s=90)


def rate(ours: Running) -> float:
    """Requests a second, from a few callers at once."""
    began = time.monotonic()
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda _: ours.call("GET", "/fn/hello"), range(ROUND)))
    assert {it.status for it in answers} == {200}
    return ROUND / (time.monotonic() - began)


def worker_of(ours: Running) -> int:
    """The pid of the only worker."""
    (worker,) = ours.workers()
    return worker


def invocations(ours: Running, script: str) -> Any:
    """As they are listed once the server answers again."""
    until = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError, HTTPException):
            answer = ours.api("GET", f"invocations?script={script}")
            if answer.status == 200:
                return answer.json["items"]
        assert time.monotonic() < until
