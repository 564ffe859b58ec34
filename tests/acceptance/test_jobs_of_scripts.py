"""Jobs that scripts send, through the whole server: with the answer's commit or not at all, and to whom they may.

What is looked at are the rows: those that must stay as they are are due in an hour.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from picloud.model import Request
from tests.fixtures_postgres import execute
from tests.running import Running, running

CLIENTS, EACH = 8, 5
SENDER = """
return function(request)
  local how, options = request.query.how, { delay_s = 3600, key = request.query.key, ordering_key = request.query.lane }
  local id, created = jobs.send(request.query.to or "sender", { n = request.query.n }, options)
  if how == "status" then return { status = 418, body = id } end
  if how == "error" then error("no") end
  if how == "error-table" then error{ status = 409, body = "undone" } end
  if how == "no-retry" then error{ retry = false, status = 410, body = "undone" } end
  if how == "bad" then return { status = 99 } end
  if how == "spin" then while true do end end
  if how == "stream" then return stream(function(write) write(tostring(pcall(jobs.send, "sender"))) end) end
  if how == "cancel" then return tostring(jobs.cancel(id)) end
  return id .. " " .. tostring(created)
end
"""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("jobs")) as server:
        server.deploy("sender", SENDER)
        yield server


@pytest.fixture(autouse=True)
def blank(ours: Running) -> None:
    execute(ours.database_url, "DELETE FROM jobs; DELETE FROM lanes")
    ours.set("sender", {})


def rows(ours: Running, columns: str) -> list[tuple[Any, ...]]:
    return execute(ours.database_url, f"SELECT {columns} FROM jobs ORDER BY id")


@pytest.mark.parametrize(
    ("how", "status", "sent"),
    [
        ("", 200, 1), ("status", 418, 1), ("error", 500, 0), ("error-table", 409, 0), ("no-retry", 410, 0),
        ("bad", 502, 0), ("spin", 504, 0), ("stream", 200, 1), ("cancel", 200, 1),
    ],
)  # fmt: skip
def test_a_job_is_sent_exactly_if_a_response_was_returned(ours: Running, how: str, status: int, sent: int) -> None:
    ours.set("sender", {"limits": {"cpu_ms": 300}})
    answer = ours.call("GET", f"/fn/sender?how={how}")
    assert (answer.status, len(rows(ours, "id"))) == (status, sent), answer


def test_the_answer_names_the_job_that_is_there(ours: Running) -> None:
    job, created = ours.call("GET", "/fn/sender?n=7").body.decode().split()
    ((identifier, script, state, sender, request),) = rows(ours, "id::text, script, state, sender, request")
    assert (identifier, script, state, sender, created) == (job, "sender", "queued", "sender", "true")
    seen = msgspec.msgpack.decode(bytes(request), type=Request)
    assert (seen.method, seen.path, seen.body, seen.trigger, seen.event) == ("POST", "/", b'{"n":"7"}', "job", b"")


def test_once_an_answer_has_begun_nothing_can_be_sent(ours: Running) -> None:
    assert ours.call("GET", "/fn/sender?how=stream").body == b"false"
    assert len(rows(ours, "id")) == 1


def test_one_that_is_cancelled_in_the_same_run_is_there_and_cancelled(ours: Running) -> None:
    assert ours.call("GET", "/fn/sender?how=cancel").body == b"true"
    assert rows(ours, "state") == [("cancelled",)]


def test_who_runs_again_after_a_clash_sends_once(ours: Running) -> None:
    source = """
    local n = kv.get("n") or 0
    jobs.send("sender", n, { delay_s = 3600 })
    kv.set("n", n + 1)
    return n + 1"""
    ours.deploy("clashing", source)
    with ThreadPoolExecutor(CLIENTS) as threads:
        asked = threads.map(lambda _: [ours.call("POST", "/fn/clashing") for _ in range(EACH)], range(CLIENTS))
        answers = [answer for some in asked for answer in some]
    numbers = sorted(int(answer.body) for answer in answers if answer.status == 200)
    assert numbers == list(range(1, len(numbers) + 1))
    bodies = [msgspec.msgpack.decode(bytes(request), type=Request).body for (request,) in rows(ours, "request")]
    assert sorted(map(int, bodies)) == list(range(len(numbers)))


def test_of_many_at_once_with_one_key_one_sends(ours: Running) -> None:
    answers = [answer.body.decode().split() for answer in ours.at_once(CLIENTS, "GET", "/fn/sender?key=k&lane=a")]
    assert sorted(created for _, created in answers) == ["false"] * (CLIENTS - 1) + ["true"]
    assert {(job,) for job, _ in answers} == set(rows(ours, "id::text"))


def test_positions_have_no_twins(ours: Running) -> None:
    assert {answer.status for answer in ours.at_once(CLIENTS, "GET", "/fn/sender?lane=a")} == {200}
    assert sorted(rows(ours, "position")) == [(position,) for position in range(1, CLIENTS + 1)]


def test_what_a_token_guards_is_not_sent_to(ours: Running) -> None:
    ours.deploy("guarded-target", "return 1")
    ours.set("guarded-target", {"access": "token"})
    refused = ours.call("GET", "/fn/sender?to=guarded-target")
    assert (refused.status, rows(ours, "id")) == (500, [])
    assert (
        "main.lua:4: jobs.send: 'guarded-target' wants a token: to invoke it, this script's setting `invoke`"
        in (refused.json["detail"])
    )
    ours.set("sender", {"invoke": ["guarded-target"]})
    assert ours.call("GET", "/fn/sender?to=guarded-target").status == 200
    assert rows(ours, "script") == [("guarded-target",)]


def test_what_the_target_does_not_take_is_not_sent(ours: Running) -> None:
    ours.deploy("small-target", "return 1")
    ours.set("small-target", {"limits": {"request_bytes": 8}})
    assert ours.call("GET", "/fn/sender?to=small-target&n=1").status == 500
    assert ours.call("GET", "/fn/sender?to=small-target").status == 200
    assert "there is no script 'nobody'" in ours.call("GET", "/fn/sender?to=nobody").json["detail"]


def test_every_one_counts_as_a_host_call(ours: Running) -> None:
    ours.deploy("flood", "for n = 1, 20 do jobs.send('sender', n, { delay_s = 3600 }) end return 1")
    ours.set("flood", {"limits": {"host_calls": 19}})
    assert "over the limit of 19 host calls" in ours.call("GET", "/fn/flood").json["detail"]
    assert rows(ours, "id") == []
    ours.set("flood", {"limits": {"host_calls": 20}})
    assert ours.call("GET", "/fn/flood").status == 200
    assert len(rows(ours, "id")) == 20


def test_what_an_invoked_script_sends_is_its_own_and_undone_with_it(ours: Running) -> None:
    ours.deploy(
        "inner-sender", "jobs.send('sender', 1, { delay_s = 3600 }) if request.body == 'x' then error('no') end"
    )
    ours.deploy("outer-sender", """
    pcall(invoke, 'inner-sender', { body = 'x' })
    local status = invoke('inner-sender', { body = 'y' }).status
    if request.query.fail then error('no') end
    return status""")  # fmt: skip
    assert ours.call("GET", "/fn/outer-sender").body == b"204"
    assert rows(ours, "sender") == [("inner-sender",)]
    assert ours.call("GET", "/fn/outer-sender?fail=1").status == 500
    assert len(rows(ours, "id")) == 1


AFTER = """
function work(payload) log.info("worked") end
local function hidden(payload) end
return function(request)
  return tostring(after(request.query.name, { n = 1 })):len()
end
"""


def test_a_function_of_ones_own_is_a_job_of_ones_own(ours: Running) -> None:
    ours.deploy("afterwards", AFTER)
    assert ours.call("GET", "/fn/afterwards?name=work").body == b"36"
    ((script, sender, request),) = rows(ours, "script, sender, request")
    seen = msgspec.msgpack.decode(bytes(request), type=Request)
    assert (script, sender, seen.body, seen.event) == ("afterwards", "afterwards", b'{"n":1}', b'{"after":"work"}')


def test_a_local_function_is_not_found_and_the_error_says_what_to_do(ours: Running) -> None:
    ours.deploy("afterwards", AFTER)
    refused = ours.call("GET", "/fn/afterwards?name=hidden")
    assert (
        "main.lua:5: jobs.after: there is neither a script 'hidden' nor a global function of that name"
        in (refused.json["detail"])
    )
    assert "write `function hidden(payload)` without `local`" in refused.json["detail"]
    assert rows(ours, "id") == []


def test_nobody_has_a_function_called_from_outside(ours: Running) -> None:
    ours.deploy("afterwards", AFTER.replace("return function(request)", "return function(request) do return 'me' end"))
    headers = {"content-type": "application/cloudevents+json", "ce-after": "work", "after": "work"}
    for body in (b"", b'{"after":"work"}', b'{"event":{"after":"work"},"trigger":"job"}'):
        assert ours.call("POST", "/fn/afterwards?after=work&trigger=job", body, headers).body == b"me"
        assert ours.api("POST", "scripts/afterwards/invoke", body).body == b"me"


def test_over_http_it_makes_no_difference_whether_another_try_is_of_use(ours: Running) -> None:
    ours.deploy("final", "error{ retry = request.query.retry == '1', status = 409, body = 'x' }")
    one, other = (ours.call("GET", f"/fn/final?retry={retry}") for retry in "01")
    assert (one.status, one.body) == (other.status, other.body) == (409, b"x")
    ours.deploy("final", "error{ retry = false, why = 'x' }")
    assert (failed := ours.call("GET", "/fn/final")).problem == "script-error"
    assert '{"retry":false,"why":"x"}' in failed.json["detail"]
