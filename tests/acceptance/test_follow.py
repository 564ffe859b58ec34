"""Logs as they come: nothing lost, nothing doubled, nobody held up, and over when it should be."""

import contextlib
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import IncompleteRead
from pathlib import Path
from urllib.parse import quote

import pytest

from picloud.auth import Scope
from tests.acceptance.following import Follower, Refused, following
from tests.fixtures_postgres import execute
from tests.running import Running, eventually, running

ECHO = "return function(r) log[r.query.level or 'info'](r.query.say) end"
MUCH = "return function(r) log.info(r.query.say .. string.rep('x', 60000)) end"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("followed")) as it:
        for name in ("echo", "other"):
            it.deploy(name, ECHO)
        it.deploy("much", MUCH)
        yield it


def say(ours: Running, *texts: str, script: str = "echo", level: str = "info") -> None:
    for text in texts:
        assert ours.call("GET", f"/fn/{script}?say={quote(text)}&level={level}").status in (200, 204)


def say_and_wait(ours: Running, *texts: str) -> None:
    """Until it is written."""
    for text in texts:
        ours.record_of(ours.call("GET", f"/fn/echo?say={quote(text)}"))


# ── what comes ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_lines_come_as_they_are_written(ours: Running) -> None:
    with following(ours) as follower:
        assert {name.lower(): value for name, value in follower.response.getheaders()}.items() >= {
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store"),
            ("x-accel-buffering", "no"),
        }
        comment, retry, cursor = follower.beginning
        assert comment.startswith(":")
        assert (retry, cursor[:4]) == ("retry: 1000", "id: ")
        for text in ("one", "two", "three"):
            say(ours, text)
            event = follower.event()
            assert (event.event, event.message) == ("log", text)
        assert list(json.loads(event.data)) == ["invocation", "script", "at", "level", "message", "fields"]
        stored = ours.api("GET", f"logs?limit=1&invocation={json.loads(event.data)['invocation']}").json["items"]
        assert stored == [json.loads(event.data)]


def test_only_what_is_wanted_comes(ours: Running) -> None:
    with following(ours, "&script=echo&level=warn") as follower:
        say(ours, "quiet")
        say(ours, "elsewhere", script="other", level="error")
        say(ours, "loud", level="warn")
        say(ours, "louder", level="error")
        assert set(follower.messages(2)) == {"loud", "louder"}  # two workers write in any order


def test_it_begins_with_the_newest_lines_if_asked_to(ours: Running) -> None:
    say_and_wait(ours, "before 1", "before 2", "before 3")
    with following(ours, "&script=echo&limit=2") as follower, following(ours, "&script=echo") as bare:
        say(ours, "after")
        assert follower.messages(3) == ["before 2", "before 3", "after"]
        assert bare.messages(1) == ["after"]


def test_who_comes_back_gets_what_came_meanwhile_once(ours: Running) -> None:
    with following(ours, "&script=echo") as first:
        at_first = first.last_id
    say(ours, *(f"missed {number}" for number in range(150)))  # more than a page
    with following(ours, "&script=echo&limit=9", last_id=at_first) as second:
        messages = second.messages(70)
    with following(ours, "&script=echo&limit=9", last_id=second.last_id) as third:
        messages += third.messages(80)
        say(ours, "new")
        assert third.messages(1) == ["new"]
    assert sorted(messages) == sorted(f"missed {number}" for number in range(150))


def test_every_follower_of_every_worker_gets_every_line_in_the_same_order(ours: Running) -> None:
    with contextlib.ExitStack() as stack:
        followers = [stack.enter_context(following(ours, "&script=echo")) for _ in range(6)]
        threads = [
            threading.Thread(target=say, args=(ours, *(f"{name}-{number}" for number in range(25))))
            for name in range(8)
        ]
        for thread in threads:
            thread.start()
        seen = [[follower.event() for _ in range(200)] for follower in followers]
        for thread in threads:
            thread.join()
    assert {event.message for event in seen[0]} == {f"{name}-{number}" for name in range(8) for number in range(25)}
    assert all(events == seen[0] for events in seen)
    identifiers = [int(event.id) for event in seen[0]]
    assert identifiers == sorted(set(identifiers))


@pytest.mark.parametrize(
    ("query", "last_id", "field"),
    [
        ("&after=1", "", "after"),
        ("&limit=501", "", "limit"),
        ("&limit=-1", "", "limit"),
        ("&level=loud", "", "level"),
        ("&since=x", "", "since"),
        ("", "x", "Last-Event-ID"),
        ("", "-1", "Last-Event-ID"),
        ("", "9" * 30, "Last-Event-ID"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_its_name(ours: Running, query: str, last_id: str, field: str) -> None:
    with pytest.raises(Refused) as caught:
        Follower(ours, query, last_id)
    assert (caught.value.answer.status, caught.value.answer.json["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize(
    "path",
    ["logs?limit=0", "logs?limit=-1", "logs?until=15m", "logs?since=2026-01-31", "logs?since=", "logs?level=LOUD",
     "logs?invocation=x", "invocations?since=1", "invocations?outcome=bad", "invocations?trigger=x"],
)  # fmt: skip
def test_a_filter_that_is_none_is_refused_by_its_name(ours: Running, path: str) -> None:
    answer = ours.api("GET", path)
    assert (answer.status, answer.problem) == (422, "invalid-request")
    assert answer.json["errors"][0]["field"] == re.split(r"[?=]", path)[1]


def test_what_ran_is_found_by_time_and_outcome(ours: Running) -> None:
    ours.deploy("raiser", "return function() error('no') end")
    failed = ours.record_of(ours.call("GET", "/fn/raiser"))
    invoked = ours.record_of(ours.api("POST", "scripts/raiser/invoke"))

    def found(query: str) -> list[str]:
        return [it["id"] for it in ours.api("GET", f"invocations?script=raiser&{query}").json["items"]]

    assert found("outcome=script-error&since=1h") == [invoked["id"], failed["id"]]
    assert found("outcome=ok") == []
    assert found("trigger=invoke") == [invoked["id"]]
    assert found(f"until={invoked['started_at']}") == [failed["id"]]
    assert found(f"since={invoked['started_at']}") == [invoked["id"]]
    errors = ours.api("GET", f"logs?script=raiser&level=error&since={invoked['started_at']}").json["items"]
    assert {line["invocation"] for line in errors} == {invoked["id"]}


# ── who may ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_that_is_limited_to_scripts_sees_theirs_alone(ours: Running) -> None:
    token = ours.new_token(Scope.READ)
    execute(ours.database_url, "UPDATE tokens SET scripts = '{echo}' WHERE name = 'test read'")
    other = ours.record_of(ours.call("GET", "/fn/other?say=other"))
    mine = ours.record_of(ours.call("GET", "/fn/echo?say=mine"))
    headers = {"authorization": f"Bearer {token}"}
    with following(ours, token=token) as follower:
        say(ours, "hidden", script="other")
        say(ours, "shown")
        assert follower.messages(1) == ["shown"]
    for path in ("logs", "invocations"):
        shown = ours.call("GET", f"/api/v1/{path}?limit=500", headers=headers).json["items"]
        assert {it["script"] for it in shown} == {"echo"}
        assert ours.call("GET", f"/api/v1/{path}?script=other", headers=headers).status == 403
    assert ours.call("GET", f"/api/v1/invocations/{mine['id']}", headers=headers).status == 200
    hidden = ours.call("GET", f"/api/v1/invocations/{other['id']}", headers=headers)
    assert (hidden.status, hidden.problem) == (404, "not-found")
    assert ours.call("GET", f"/api/v1/logs?invocation={other['id']}", headers=headers).json["items"] == []


def test_a_revoked_token_ends_its_stream_and_no_other(ours: Running) -> None:
    with following(ours, token=ours.new_token(Scope.READ)) as revoked, following(ours) as other:
        ours.new_token(Scope.READ)  # in the place of the first, and announced
        assert revoked.rest() == b""
        say(ours, "still here")
        assert other.messages(1) == ["still here"]


def test_a_stream_ends_when_its_token_expires(ours: Running) -> None:
    for seconds in (1, 4, 16, 60):  # longer, if it was too late to begin with
        token = ours.new_token(Scope.READ)
        execute(
            ours.database_url,
            "UPDATE tokens SET expires_at = now() + make_interval(secs => %s) WHERE name = 'test read'",
            seconds,
        )
        with contextlib.suppress(Refused), following(ours, token=token) as follower:
            assert follower.rest() == b""
            break
    else:
        pytest.fail("no stream began")
    with pytest.raises(Refused) as caught:
        Follower(ours, token=token)
    assert caught.value.answer.status == 401


# ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_when_the_database_drops_every_connection_no_line_is_lost(ours: Running) -> None:
    texts = [f"line-{number}" for number in range(120)]
    with following(ours, "&script=echo") as follower:
        for number, text in enumerate(texts):
            say(ours, text)
            if number % 20 == 10:
                execute(
                    ours.database_url,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
                )
        seen = follower.messages(len(texts))
        say(ours, "end")
        assert follower.messages(1) == ["end"]
    assert sorted(seen) == sorted(texts)


def test_a_reader_that_takes_nothing_holds_up_nobody_and_loses_nothing(tmp_path: Path) -> None:
    texts = [f"{number:03d}" for number in range(400)]  # 24 MB: more than the sockets between us hold
    one_heap = {"PICLOUD_WORKERS": "1", "PICLOUD_THREADS": "16", "MALLOC_ARENA_MAX": "1"}  # its size tells
    with running(tmp_path / "data", **one_heap) as ours:
        ours.deploy("much", MUCH)
        with following(ours, "&script=much", receive_bytes=4096) as slow, following(ours, "&script=much") as quick:
            for part in (texts[:100], texts[100:]):
                before = resident_bytes(ours)
                for start in range(0, len(part), 20):  # few at a time: what the server writes at once is no noise
                    few = part[start : start + 20]
                    say(ours, *few, script="much")
                    assert sorted(message[:3] for message in quick.messages(len(few))) == few
            assert resident_bytes(ours) - before < len(part) * 60_000 / 2  # of the second part: the server was warm
            assert sorted(message[:3] for message in slow.messages(len(texts))) == texts


def test_there_is_room_for_so_many_and_who_hangs_up_makes_some(tmp_path: Path) -> None:
    with running(tmp_path / "data", PICLOUD_WORKERS="1", PICLOUD_THREADS="8") as ours:
        ours.deploy("echo", ECHO)
        first = Follower(ours)
        with pytest.raises(Refused) as caught:
            Follower(ours)
        refused = caught.value.answer
        assert (refused.status, refused.problem, refused.header("retry-after")) == (503, "overloaded", "1")
        head = ours.call("HEAD", "/api/v1/logs?follow=true", headers={"authorization": f"Bearer {ours.token}"})
        assert (head.status, head.header("content-type"), head.body) == (200, "text/event-stream", b"")
        say(ours, "still served")
        assert first.messages(1) == ["still served"]
        first.close()
        eventually(lambda: has_room(ours), bool)
        assert backends_that_listen(ours) == 0


def has_room(ours: Running) -> bool:
    with contextlib.suppress(Refused), following(ours):
        return True
    return False


def backends_that_listen(ours: Running) -> int:
    """For new lines, once there is none."""
    statement = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%lines%' AND pid <> pg_backend_pid()"
    return eventually(lambda: len(execute(ours.database_url, statement)), lambda count: count == 0)


# ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_when_the_server_stops_or_reloads_followers_end_before_what_still_runs(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running(tmp_path / "data", PICLOUD_WORKERS="1") as ours, ThreadPoolExecutor() as threads:
        ours.deploy("busy", "while true do end")
        ours.deploy("much", MUCH)
        with following(ours) as follower, following(ours, receive_bytes=4096) as stuck:
            for _ in range(200):
                say(ours, "x", script="much")
            assert len(follower.messages(200)) == 200
            busy = threads.submit(ours.call, "GET", "/fn/busy")
            eventually(ours.computing, bool)
            os.kill(ours.part("picloud.server"), number)
            assert follower.rest() == b""
            with pytest.raises(IncompleteRead):  # cut off
                stuck.rest()
            assert not busy.done()
            assert busy.result().status in (503, 504)


def resident_bytes(ours: Running) -> int:
    """Of the server's processes."""
    pids = [ours.part("picloud.server"), *ours.workers()]
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * os.sysconf("SC_PAGESIZE")
