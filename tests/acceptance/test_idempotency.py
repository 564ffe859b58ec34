"""Requests with an Idempotency-Key: one run, one commit, and the same answer for whoever asks again."""

import os
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import pytest

from tests.acceptance.test_http_fetch import World, a_world
from tests.fixtures_postgres import execute
from tests.running import Answer, Running, eventually, running

COUNTS = """
return function(request)
  local count = kv.incr("count")
  if request.query.fail == "error" then error{ status = 409, body = "no" } end
  if request.query.fail == "raise" then error("no") end
  return { status = 201, headers = { ["x-count"] = count, ["set-cookie"] = { "a=1", "b=2" } }, body = "é\\0" .. count }
end
"""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with a_world() as there:
        yield there


@pytest.fixture(scope="module")
def ours(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that may call the world, although it is on loopback."""
    with running(tmp_path_factory.mktemp("idempotency"), PICLOUD_PRIVATE_HOSTS=world.host) as server:
        yield server


def fresh(ours: Running, name: str, source: str = COUNTS, settings: Mapping[str, object] | None = None) -> str:
    """A script that runs once for each key → its path."""
    ours.api("DELETE", f"scripts/{name}")
    ours.deploy(name, source)
    ours.set(name, {"idempotency": True, **(settings or {})})
    return f"/fn/{name}"


def post(ours: Running, path: str, key: str | None, body: bytes = b"1", method: str = "POST", **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    keyed = {} if key is None else {"idempotency-key": key}
    return ours.call(method, path, body, {"content-type": "text/plain", **names, **keyed})


def answered(ours: Running, path: str, key: str | None, body: bytes = b"1") -> Answer:
    """The same, again for as long as another one with its key is still running: this machine may be busy."""
    return eventually(lambda: post(ours, path, key, body), lambda it: it.status != 409)


def replayed(answer: Answer) -> bool:
    return answer.header("idempotent-replayed") == "true"


def count_of(ours: Running, name: str) -> int:
    found = ours.api("GET", f"scripts/{name}/kv/count")
    return int(found.json) if found.status == 200 else 0


def the_script_s_own(answer: Answer) -> list[tuple[str, str]]:
    ignored = ("date", "server-timing", "idempotent-replayed")
    return sorted((name, value) for name, value in answer.headers if name not in ignored)


def test_who_asks_again_gets_the_same_answer_and_nothing_runs(ours: Running) -> None:
    path = fresh(ours, "again")
    first = post(ours, path, "k")
    assert (first.status, first.body, replayed(first)) == (201, b"\xc3\xa9\0001", False)
    for _ in range(5):
        again = post(ours, path, "k")
        assert replayed(again)
        assert (again.status, again.body) == (first.status, first.body)
        assert the_script_s_own(again) == the_script_s_own(first)  # the invocation's id, too
    assert count_of(ours, "again") == 1
    assert ours.record_of(first)["status"] == 201
    last = ours.record_of(post(ours, path, None))["id"]
    listed = [it["id"] for it in ours.api("GET", "invocations?script=again").json["items"]]
    assert listed == [last, first.header("picloud-invocation")]


def test_other_keys_no_key_and_other_scripts_run(ours: Running) -> None:
    path, other = fresh(ours, "others"), fresh(ours, "others-too")
    sent = [post(ours, path, "k"), post(ours, path, "K"), post(ours, path, None), post(ours, path, None)]
    assert [it.header("x-count") for it in sent] == ["1", "2", "3", "4"]
    assert post(ours, other, "k").header("x-count") == "1"


def test_without_the_setting_a_key_is_the_script_s_own_business(ours: Running) -> None:
    path = fresh(ours, "unset", "return kv.incr('count') .. request.headers['idempotency-key']")
    ours.set("unset", {"idempotency": False})
    assert [post(ours, path, "é").body for _ in range(2)] == [b"1\xe9", b"2\xe9"]


def test_what_writes_nothing_is_kept_too(ours: Running) -> None:
    path = fresh(ours, "stateless", "return crypto.uuid4()")
    assert post(ours, path, "k").body == post(ours, path, "k").body
    assert post(ours, path, None).body != post(ours, path, "k").body


@pytest.mark.parametrize("source", ["return nil", "return { status = 503, body = 'later' }", "return ''"])
def test_any_answer_that_is_returned_is_kept(ours: Running, source: str) -> None:
    path = fresh(ours, "returned", f"kv.incr('count') {source}")
    first, second = (post(ours, path, "k") for _ in range(2))
    assert (first.status, first.body) == (second.status, second.body)
    assert (replayed(second), count_of(ours, "returned")) == (True, 1)


def test_the_key_of_another_request_is_refused(ours: Running) -> None:
    path = fresh(ours, "another")
    assert post(ours, f"{path}/a?b=1", "k").status == 201
    others = [
        post(ours, f"{path}/a?b=1", "k", method="PUT"),
        post(ours, f"{path}/A?b=1", "k"),
        post(ours, f"{path}/a?b=2", "k"),
        post(ours, f"{path}/a?b=1", "k", body=b"2"),
        post(ours, f"{path}/a?b=1", "k", content_type="text/html"),
    ]
    for other in others:
        assert (other.status, other.problem) == (422, "invalid-request")
        assert other.json["errors"][0]["field"] == "Idempotency-Key"
    assert post(ours, f"{path}/a?b=1", "k", host="elsewhere.example").header("x-count") == "1"
    assert count_of(ours, "another") == 1


@pytest.mark.parametrize("fail", ["error", "raise"])
def test_what_is_rolled_back_keeps_nothing_and_the_next_one_runs(ours: Running, fail: str) -> None:
    path = fresh(ours, "rolls-back")
    for _ in range(2):
        failed = post(ours, f"{path}?fail={fail}", "k")
        assert (failed.status, replayed(failed)) == (409 if fail == "error" else 500, False)
    assert count_of(ours, "rolls-back") == 0
    assert [replayed(post(ours, path, "k")) for _ in range(2)] == [False, True]  # also another request


@pytest.mark.parametrize("key", ["", " ", "é", "a\tb", "x" * 256])
def test_what_is_no_key_is_refused(ours: Running, key: str) -> None:
    path = fresh(ours, "wrong-keys")
    answer = post(ours, path, key)
    assert (answer.status, answer.problem) == (422, "invalid-request")
    assert answer.json["errors"] == [
        {"field": "Idempotency-Key", "message": "must be 1 to 255 printable ASCII characters"}
    ]
    assert post(ours, path, "x" * 255).status == post(ours, path, "a b,~!").status == 201


def test_an_answer_too_large_to_be_kept_is_none(ours: Running) -> None:
    path = fresh(ours, "large", "kv.incr('count') return ('x'):rep(tonumber(request.body))")
    answer = post(ours, path, "k", b"1048577")
    assert (answer.status, answer.problem) == (502, "bad-response")
    assert "with an Idempotency-Key it has at most 1048576" in answer.json["detail"]
    assert count_of(ours, "large") == 0
    assert [len(post(ours, path, "k", b"1048576").body) for _ in range(2)] == [1_048_576] * 2
    assert post(ours, path, None, b"1048577").status == 200


def test_a_stream_cannot_be_kept_so_it_is_undone(ours: Running) -> None:
    path = fresh(ours, "streams", 'kv.incr("count") return stream(function(write) write("a") end)')
    answer = post(ours, path, "k")
    assert answer.problem == "bad-response"
    assert "a stream cannot be" in answer.json["detail"]
    assert count_of(ours, "streams") == 0
    assert post(ours, path, None).body == b"a"
    assert count_of(ours, "streams") == 1


def test_the_door_is_before_the_answer(ours: Running) -> None:
    path = fresh(ours, "door", settings={"access": "token"})
    mine = f"Bearer {ours.token}"
    assert [replayed(post(ours, path, "k", authorization=mine)) for _ in range(2)] == [False, True]
    assert post(ours, path, "k").problem == "unauthorized"


def test_pages_of_other_origins_see_a_replay_as_the_settings_say_now(ours: Running) -> None:
    path = fresh(ours, "shared")
    assert post(ours, path, "k", origin="https://a.example").header("access-control-allow-origin") is None
    ours.set("shared", {"idempotency": True, "cors": {"origins": ["https://a.example"]}})
    answer = post(ours, path, "k", origin="https://a.example")
    assert answer.header("access-control-allow-origin") == "https://a.example"
    assert "idempotent-replayed" in (answer.header("access-control-expose-headers") or "")
    assert replayed(answer)


def test_head_is_a_method_as_any_other(ours: Running) -> None:
    path = fresh(ours, "head")
    heads = [ours.call("HEAD", path, headers={"idempotency-key": "k"}) for _ in range(2)]
    assert [(it.header("x-count"), it.body, replayed(it)) for it in heads] == [("1", b"", False), ("1", b"", True)]
    assert ours.call("GET", path, headers={"idempotency-key": "k"}).problem == "invalid-request"


def test_an_answer_outlives_its_version_and_its_server_and_goes_with_its_script(ours: Running) -> None:
    path = fresh(ours, "outlives")
    first = post(ours, path, "k")
    ours.deploy("outlives", "return 'new'")
    assert post(ours, path, "k").body == first.body
    ours.kill_server()
    assert post(ours, path, "k").body == first.body
    (kept,) = execute(ours.database_url, "SELECT count(*) FROM kept_answers WHERE invocation = %s", invocation(first))
    fresh(ours, "outlives", "return 'newer'")
    (left,) = execute(ours.database_url, "SELECT count(*) FROM kept_answers WHERE invocation = %s", invocation(first))
    assert (kept, left) == ((1,), (0,))
    assert post(ours, path, "k").body == b"newer"


def test_what_has_expired_is_absent(ours: Running) -> None:
    path = fresh(ours, "expires")
    first = post(ours, path, "k")
    hours = "SELECT extract(epoch FROM expires_at - now()) / 3600 FROM kept_answers WHERE invocation = %s"
    ((left,),) = execute(ours.database_url, hours, invocation(first))
    assert 23 < float(str(left)) <= 24
    expire = "UPDATE kept_answers SET expires_at = now() WHERE invocation = %s"
    execute(ours.database_url, expire, invocation(first))
    answers = [post(ours, path, "k", b"another") for _ in range(2)]
    assert [(it.header("x-count"), replayed(it)) for it in answers] == [("2", False), ("2", True)]


def test_of_many_at_once_one_runs_and_all_get_its_answer(ours: Running) -> None:
    path = fresh(ours, "at-once")
    for round_ in range(5):
        with ThreadPoolExecutor(12) as threads:
            answers = list(threads.map(lambda _, key=f"k{round_}": answered(ours, path, key), range(12)))
        assert {it.header("x-count") for it in answers} == {str(round_ + 1)}
        assert sorted(map(replayed, answers)) == [False] + [True] * 11
    assert count_of(ours, "at-once") == 5


def test_what_clashes_runs_again_and_is_kept_once(ours: Running) -> None:
    path = fresh(ours, "clashes", "local n = (kv.get('count') or 0) + 1 kv.set('count', n) return n")
    with ThreadPoolExecutor(12) as threads:
        first = list(threads.map(lambda at: answered(ours, path, f"k{at}").json, range(12)))
    assert sorted(first) == [*range(1, 13)]
    assert [post(ours, path, f"k{at}").json for at in range(12)] == first
    assert count_of(ours, "clashes") == 12


def test_a_run_by_hand_has_no_key(ours: Running) -> None:
    fresh(ours, "by-hand")
    mine = {"authorization": f"Bearer {ours.token}", "idempotency-key": "k"}
    sent = [ours.call("POST", "/api/v1/scripts/by-hand/invoke", b"", mine) for _ in range(2)]
    assert [it.header("x-count") for it in sent] == ["1", "2"]


WAITS = """
return function(request)
  local told = http.get(request.body, { timeout_ms = 120000 }).body
  kv.incr("count")
  return told .. request.id
end
"""


def test_twins_wait_for_who_runs_in_the_same_worker(ours: Running, world: World) -> None:
    path = fresh(ours, "twins", WAITS, {"limits": {"concurrency": 1}})  # which those who wait do not count against
    slow = f"{world.url}/slow".encode()
    for at, _ in enumerate(ours.by_each_worker()):
        before = len(world.asked)
        with ThreadPoolExecutor(9) as threads:
            first = threads.submit(post, ours, path, f"k{at}", slow)
            world.await_waiting(1)
            twins = [threads.submit(answered, ours, path, f"k{at}", slow) for _ in range(8)]
            world.go_on()
            answers = [it.result() for it in (first, *twins)]
        assert {it.body for it in answers} == {first.result().body}
        assert [it.status for it in answers] == [200] * 9
        assert len(world.asked) == before + 1


def test_who_waits_too_long_is_told_to_come_again_wherever_the_other_runs(ours: Running, world: World) -> None:
    patient = {"limits": {"wall_ms": 120_000}}
    path = fresh(ours, "impatient", WAITS, patient)
    slow = f"{world.url}/slow".encode()
    with ThreadPoolExecutor(1) as threads:
        first = None
        for _ in ours.by_each_worker():  # the first runs it, both are asked again
            if first is None:
                first = threads.submit(post, ours, path, "k", slow)
                world.await_waiting(1)
            late = post(ours, path, "k", slow)
            assert (late.status, late.problem, late.header("retry-after")) == (409, "conflict", "1")
            assert post(ours, path, None, f"{world.url}/".encode()).status == 200  # others go on
        world.go_on()
        assert first is not None
        assert first.result().status == 200
    again = post(ours, path, "k", slow)
    assert (again.body, replayed(again)) == (first.result().body, True)


def test_if_the_worker_of_a_run_is_killed_nothing_is_kept_and_the_next_one_runs(ours: Running, world: World) -> None:
    path = fresh(ours, "killed", WAITS)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(post, ours, path, "k", f"{world.url}/slow".encode())
        world.await_waiting(1)
        for pid in ours.workers():
            os.kill(pid, signal.SIGKILL)
        assert isinstance(first.exception(), OSError | HTTPException)
        world.go_on()
    eventually(ours.has_workers, bool)
    answers = [answered(ours, path, "k", f"{world.url}/".encode()) for _ in range(2)]
    assert [(it.status, replayed(it)) for it in answers] == [(200, False), (200, True)]
    assert count_of(ours, "killed") == 1


def invocation(answer: Answer) -> str:
    found = answer.header("picloud-invocation")
    assert found
    return found
