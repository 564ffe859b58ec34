"""Jobs that scripts send, on a real PostgreSQL: what is stored with a commit, once, in order, or refused."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from picloud.model import JOB_DELAY_S_MAX, JOB_KEY_BYTES_MAX, Access, Limits, Request, Settings, Trigger, new_id
from picloud.orchestrator.attempt import Attempt
from picloud.orchestrator.bindings.jobs import SENT_BYTES_MAX
from picloud.storage import jobs
from picloud.storage.connection import connect
from sandbox.protocol import DONE
from tests.fixtures_postgres import execute
from tests.running import eventually
from tests.stateful import Calls, Stateful, settle

ROWS = "SELECT id::text, script, trigger, request, priority, due_at, key, ordering_key, position, max_attempts, state, sender, created_at FROM jobs ORDER BY id"  # noqa: E501
OTHERS = {
    "mail": Settings(),
    "small": Settings(limits=Limits(request_bytes=10)),
    "guarded": Settings(access=Access.TOKEN),
    "granted": Settings(access=Access.TOKEN),
}


@pytest.fixture
def rings() -> list[None]:
    return []


@pytest.fixture
def stateful(database: str, rings: list[None]) -> Iterator[Stateful]:
    settings = Settings(invoke=("granted",))
    with closing(Stateful(database, settings=settings, others=OTHERS, ring=lambda: rings.append(None))) as ours:
        yield ours


def refusable(attempt: Attempt, *fields: object, **options: object) -> list[bytes]:
    """What the host answers to `jobs.send`: DONE, id, whether it is new."""
    names = ("delay_ms", "at", "key", "max_attempts", "priority", "ordering_key")
    name, payload = (*fields, "null")[:2]
    assert not options.keys() - {*names}
    arguments = [name, payload, *(options.get(one, "") for one in names)]
    return Calls(attempt)(b"jobs.send", [it if isinstance(it, bytes) else str(it).encode() for it in arguments])


def send(attempt: Attempt, *fields: object, **options: object) -> tuple[str, bool]:
    kind, job, created = refusable(attempt, *fields, **options)
    assert kind == DONE
    return job.decode(), created == b"1"


def cancel(attempt: Attempt, job: str) -> bool:
    kind, cancelled = Calls(attempt)(b"jobs.cancel", [job.encode()])
    assert kind == DONE, cancelled
    return cancelled == b"1"


def rows(database: str) -> list[dict[str, Any]]:
    names = ("id", "script", "trigger", "request", "priority", "due_at", "key", "ordering_key", "position",
             "max_attempts", "state", "sender", "created_at")  # fmt: skip
    return [dict(zip(names, row, strict=True)) for row in execute(database, ROWS)]


def request_of(row: dict[str, Any]) -> Request:
    return msgspec.msgpack.decode(bytes(row["request"]), type=Request)


def states(database: str) -> list[tuple[str, str]]:
    return [(row["id"], row["state"]) for row in rows(database)]


# ── what is sent ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_is_there_with_the_commit_and_not_before(stateful: Stateful, database: str, rings: list[None]) -> None:
    with stateful.begin(event_depth=3) as attempt:
        job, created = send(attempt, "mail", '{"to":"Ada"}')
        assert (created, rows(database), rings) == (True, [], [])
        settle(attempt)
    (row,) = rows(database)
    assert (row["id"], row["script"], row["trigger"], row["state"], row["sender"]) == (
        job, "mail", "job", "queued", "test",
    )  # fmt: skip
    assert (row["priority"], row["key"], row["ordering_key"], row["position"], row["max_attempts"]) == (
        0, None, None, None, None,
    )  # fmt: skip
    assert timedelta() <= row["created_at"] - row["due_at"] < timedelta(minutes=1)
    assert request_of(row) == Request(
        "", "POST", "/", "", (("content-type", "application/json"),), b'{"to":"Ada"}',
        trigger=Trigger.JOB, event_depth=3,
    )  # fmt: skip
    assert rings == [None]


def test_what_is_rolled_back_was_never_sent(stateful: Stateful, database: str, rings: list[None]) -> None:
    with stateful.begin() as attempt:
        send(attempt, "mail", key="k", ordering_key="o")
    assert (rows(database), rings) == ([], [])
    with stateful.begin() as attempt:
        assert send(attempt, "mail", key="k", ordering_key="o")[1]
        settle(attempt)
    assert [row["position"] for row in rows(database)] == [1]


def test_what_a_savepoint_takes_back_was_never_sent(stateful: Stateful, database: str) -> None:
    with stateful.begin() as attempt:
        kept, _ = send(attempt, "mail")
        with attempt.savepoint() as before:
            send(attempt, "mail")
            before.restore()
        settle(attempt)
    assert states(database) == [(kept, "queued")]


def test_all_that_can_be_said_of_a_job_is_stored(stateful: Stateful, database: str) -> None:
    at = datetime.now(UTC).replace(microsecond=250_000) + timedelta(days=2)
    with stateful.begin() as attempt:
        send(attempt, "mail", key="k", max_attempts=7, priority=-100, ordering_key="o", at=int(at.timestamp() * 1000))
        send(attempt, "mail", delay_ms=90_000)
        settle(attempt)
    one, delayed = rows(database)
    assert (one["key"], one["max_attempts"], one["priority"], one["ordering_key"], one["position"]) == (
        "k", 7, -100, "o", 1,
    )  # fmt: skip
    assert one["due_at"] == at
    assert timedelta() <= delayed["created_at"] + timedelta(seconds=90) - delayed["due_at"] < timedelta(minutes=1)


def test_a_moment_in_the_past_is_now(stateful: Stateful, database: str) -> None:
    with stateful.begin() as attempt:
        for at in (-(10**15), 0, 1):
            send(attempt, "mail", at=at)
        settle(attempt)
    assert all(timedelta() <= row["created_at"] - row["due_at"] < timedelta(minutes=1) for row in rows(database))


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        (("nobody",), {}, "jobs.send: there is no script 'nobody'"),
        ((b"\xff",), {}, "a script's name must be UTF-8 text"),
        (("guarded",), {}, "'guarded' wants a token: to invoke it, this script's setting `invoke` must name it"),
        (("small", '"123456789"'), {}, "'small' takes at most 10 bytes, the payload has 11"),
        (("mail", "{"), {}, "the payload must be JSON"),
        (("mail", ""), {}, "the payload must be JSON"),
        (("mail", b'"\xff"'), {}, "the payload must be JSON"),
        (("mail", "[" * 100_000), {}, "the payload must be JSON"),
        (("mail",), {"delay_ms": -1}, "delay_s, in ms, must be a whole number from 0"),
        (("mail",), {"delay_ms": JOB_DELAY_S_MAX * 1000 + 1}, "delay_s, in ms, must be a whole number from 0"),
        (("mail",), {"at": "noon"}, "at must be a whole number"),
        (("mail",), {"at": (1 << 63) - 1}, "at must be within the next 366 days"),
        (("mail",), {"key": "x" * (JOB_KEY_BYTES_MAX + 1)}, "key has at most 512 bytes, not 513"),
        (("mail",), {"key": "request:1"}, "key must not begin with 'request:' or 'webhook:'"),
        (("mail",), {"key": "webhook:evt_1"}, "key must not begin with 'request:' or 'webhook:'"),
        (("mail",), {"ordering_key": "schedule nightly"}, "ordering_key must not begin with 'schedule '"),
        (("mail",), {"key": "a\0b"}, "key must not contain a NUL"),
        (("mail",), {"ordering_key": b"\xff"}, "ordering_key must be UTF-8 text"),
        (("mail",), {"max_attempts": 0}, "max_attempts must be a whole number from 1 to 100"),
        (("mail",), {"max_attempts": 101}, "max_attempts must be a whole number from 1 to 100"),
        (("mail",), {"priority": 101}, "priority must be a whole number from -100 to 100"),
        (("mail",), {"priority": "1e2"}, "priority must be a whole number from -100 to 100"),
    ],
)
def test_what_cannot_be_sent_is_said_and_the_script_may_go_on(
    stateful: Stateful, database: str, fields: tuple[object, ...], options: dict[str, object], message: str
) -> None:
    with stateful.begin() as attempt:
        _, reason = refusable(attempt, *fields, **options)
        assert message in reason.decode()
        send(attempt, "mail")
        settle(attempt)
    assert len(rows(database)) == 1


def test_a_script_may_send_to_itself_and_to_whom_its_settings_name(stateful: Stateful, database: str) -> None:
    with stateful.begin() as attempt:
        send(attempt, "test")
        send(attempt, "granted")
        settle(attempt)
    assert [row["script"] for row in rows(database)] == ["test", "granted"]


def test_the_payloads_of_one_invocation_are_bounded_together(stateful: Stateful) -> None:
    payload = '"' + "x" * (1024 * 1024 - 2) + '"'
    with stateful.begin() as attempt:
        for _ in range(SENT_BYTES_MAX // len(payload)):
            send(attempt, "mail", payload)
        _, reason = refusable(attempt, "mail")
    assert f"at most {SENT_BYTES_MAX} bytes together" in reason.decode()


# ── once with a key ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_jobs_with_a_key_the_first_is_kept(stateful: Stateful, database: str) -> None:
    with stateful.begin() as attempt:
        first, created = send(attempt, "mail", 1, key="k")
        again = send(attempt, "mail", 2, key="k")
        assert (created, again) == (True, (first, False))
        settle(attempt)
    with stateful.begin() as attempt:
        assert send(attempt, "mail", 3, key="k") == (first, False)
        assert send(attempt, "test", 4, key="k")[1]  # another script's
        settle(attempt)
    assert [request_of(row).body for row in rows(database)] == [b"1", b"4"]


def test_who_sends_with_the_key_of_one_under_way_waits_for_its_end(stateful: Stateful, database: str) -> None:
    for commits in (True, False):
        with ThreadPoolExecutor(1) as threads, stateful.begin() as one, stateful.begin() as other:
            key = f"k{commits}"
            first, _ = send(one, "mail", key=key)
            waiting = threads.submit(send, other, "mail", key=key)
            eventually(lambda: execute(database, "SELECT 1 FROM pg_locks WHERE NOT granted"), bool)
            if commits:
                settle(one)
            one.__exit__(None, None, None)
            job, created = waiting.result()
            assert (created, job == first) == (not commits, commits)
            settle(other)
    assert [row["key"] for row in rows(database)] == ["kTrue", "kFalse"]


def test_many_who_send_with_one_key_at_once_send_one_job(stateful: Stateful, database: str) -> None:
    together = threading.Barrier(8)

    def one(_: int) -> tuple[str, bool]:
        with stateful.begin() as attempt:
            together.wait()
            sent = send(attempt, "mail", key="k", ordering_key="o")
            settle(attempt)
            return sent

    with ThreadPoolExecutor(8) as threads:
        sent = list(threads.map(one, range(8)))
    assert sorted(created for _, created in sent) == [False] * 7 + [True]
    assert {job for job, _ in sent} == {row["id"] for row in rows(database)}


# ── in order ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_jobs_with_an_ordering_key_have_positions_of_their_own_script(stateful: Stateful, database: str) -> None:
    for target, key in (("mail", "a"), ("mail", "a"), ("mail", "b"), ("test", "a"), ("mail", "a")):
        with stateful.begin() as attempt:
            send(attempt, target, ordering_key=key)
            settle(attempt)
    assert [(row["script"], row["ordering_key"], row["position"]) for row in rows(database)] == [
        ("mail", "a", 1), ("mail", "a", 2), ("mail", "b", 1), ("test", "a", 1), ("mail", "a", 3),
    ]  # fmt: skip


def test_positions_become_visible_in_their_order(stateful: Stateful, database: str) -> None:
    with ThreadPoolExecutor(1) as threads, stateful.begin() as one, stateful.begin() as other:
        send(one, "mail", ordering_key="o")
        waiting = threads.submit(send, other, "mail", ordering_key="o")
        eventually(lambda: execute(database, "SELECT 1 FROM pg_locks WHERE NOT granted"), bool)
        settle(one)
        waiting.result()
        assert [row["position"] for row in rows(database)] == [1]
        settle(other)
    assert sorted(row["position"] for row in rows(database)) == [1, 2]


# ── after ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def after(attempt: Attempt, kind: str, name: str, payload: str = "null") -> list[bytes]:
    return Calls(attempt)(b"jobs.after", [kind.encode(), name.encode(), payload.encode()])


def test_a_function_is_a_job_of_the_script_that_asks(stateful: Stateful, database: str) -> None:
    with stateful.begin(event_depth=2) as attempt:
        kind, job = after(attempt, "function", "send_mail", "[1]")
        assert kind == DONE
        settle(attempt)
    (row,) = rows(database)
    request = request_of(row)
    assert (row["id"], row["script"], row["trigger"], row["sender"]) == (job.decode(), "test", "job", "test")
    assert (request.body, request.event, request.event_depth) == (b"[1]", b'{"after":"send_mail"}', 2)


def test_any_other_name_is_a_scripts(stateful: Stateful, database: str) -> None:
    with stateful.begin() as attempt:
        assert after(attempt, "script", "mail", "[1]")[0] == DONE
        settle(attempt)
    (row,) = rows(database)
    assert (row["script"], request_of(row).event) == ("mail", b"")


@pytest.mark.parametrize(
    ("kind", "name", "payload", "message"),
    [
        (
            "script",
            "send_mail",
            "1",
            "there is neither a script 'send_mail' nor a global function of that name; a local",
        ),
        ("script", "guarded", "1", "'guarded' wants a token"),
        ("script", "small", '"123456789"', "'small' takes at most 10 bytes"),
        ("function", "", "1", "a function's name has 1 to 200 bytes"),
        ("function", "x" * 201, "1", "a function's name has 1 to 200 bytes"),
        ("function", "f", "{", "the payload must be JSON"),
    ],
)
def test_what_after_cannot_do_is_said(stateful: Stateful, kind: str, name: str, payload: str, message: str) -> None:
    with stateful.begin() as attempt:
        _, reason = after(attempt, kind, name, payload)
    assert message in reason.decode()


# ── cancelling ──────────────────────────────────────────────────────────────────────────────────────────────────────


def queued(stateful: Stateful, target: str = "mail", script: str = "", **options: object) -> str:
    """The id of a job that was sent."""
    with stateful.begin(script) as attempt:
        job, _ = send(attempt, target, **options)
        settle(attempt)
    return job


def test_a_job_is_cancelled_with_the_commit(stateful: Stateful, database: str) -> None:
    job = queued(stateful)
    with stateful.begin() as attempt:
        assert cancel(attempt, job)
        assert not cancel(attempt, job)
        assert states(database) == [(job, "queued")]
        settle(attempt)
    assert states(database) == [(job, "cancelled")]


def test_dispatchers_that_passed_over_it_meanwhile_are_told(stateful: Stateful, rings: list[None]) -> None:
    job = queued(stateful)
    rings.clear()
    with stateful.begin() as attempt:
        assert cancel(attempt, job)
    assert rings == [None]


def test_a_job_can_be_cancelled_by_who_sent_it_and_by_whose_it_is_and_by_nobody_else(stateful: Stateful) -> None:
    for by, cancelled in (("test", True), ("mail", True), ("third", False)):
        job = queued(stateful)
        with stateful.begin(by) as attempt:
            assert cancel(attempt, job) is cancelled
            settle(attempt)


def test_one_that_nobody_has_sent_is_not_cancelled(stateful: Stateful) -> None:
    with stateful.begin() as attempt:
        assert not cancel(attempt, new_id())
        _, reason = Calls(attempt)(b"jobs.cancel", [b"x"])
    assert b"needs a job's id, as jobs.send gives it" in reason


@pytest.mark.parametrize("state", ["done", "dead", "cancelled"])
def test_one_that_is_over_is_not_cancelled(stateful: Stateful, database: str, state: str) -> None:
    job = queued(stateful)
    execute(database, f"UPDATE jobs SET state = '{state}'")
    with stateful.begin() as attempt:
        assert not cancel(attempt, job)


def test_one_that_somebody_goes_on_to_hold_is_not_waited_for_for_long(stateful: Stateful) -> None:
    job = queued(stateful)
    with stateful.begin() as one, stateful.begin() as other:
        assert cancel(one, job)
        assert not cancel(other, job)
        send(other, "mail")  # and the transaction goes on
        settle(other)


def test_who_only_looks_whether_it_is_due_keeps_nobody_from_cancelling_it(
    stateful: Stateful, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_WAIT_MS", 60_000)
    job = queued(stateful)
    with ThreadPoolExecutor(1) as threads, stateful.begin() as attempt:
        with closing(connect(database, timeouts=False)) as looking, looking.cursor() as cursor:
            cursor.execute("BEGIN; SELECT 1 FROM jobs FOR NO KEY UPDATE")
            waiting = threads.submit(cancel, attempt, job)
            eventually(lambda: execute(database, "SELECT 1 FROM pg_locks WHERE NOT granted"), bool)
        assert waiting.result()


def test_one_that_runs_is_not_cancelled_even_by_its_own_run(stateful: Stateful, database: str) -> None:
    job = queued(stateful)
    started = f"INSERT INTO job_attempts (invocation, job, node, deadline) VALUES ('{new_id()}', '{job}', 'n', now())"
    execute(database, started)
    with stateful.begin() as attempt:
        assert not cancel(attempt, job)
    execute(database, "UPDATE job_attempts SET deadline = now() - interval '1 minute'")  # nobody can run it any more
    with stateful.begin() as attempt:
        assert cancel(attempt, job)


def test_the_key_of_one_that_was_cancelled_is_free(stateful: Stateful, database: str) -> None:
    job = queued(stateful, key="k")
    with stateful.begin() as attempt:
        assert cancel(attempt, job)
        other, created = send(attempt, "mail", key="k")
        assert (created, other != job) == (True, True)
        settle(attempt)
    with stateful.begin() as attempt:
        assert send(attempt, "mail", key="k") == (other, False)
    assert states(database) == [(job, "cancelled"), (other, "queued")]
