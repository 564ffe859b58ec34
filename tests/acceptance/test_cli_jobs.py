"""`picloud job`, `picloud dead` and `picloud invoke --async`, as a person and as a script use them."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
import pytest

from picloud.auth import Scope
from picloud.model import Request
from tests.fixtures_postgres import execute
from tests.queued import REQUEST, dead, sent, tried
from tests.running import Running, running

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("cli-jobs")) as server:
        server.deploy("works", "return 'done'")
        yield server


def text(done: subprocess.CompletedProcess[bytes]) -> str:
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def body_of(ours: Running, job: str) -> bytes:
    ((raw,),) = execute(ours.database_url, "SELECT request FROM jobs WHERE id = %s", job)
    return msgspec.msgpack.decode(cast("bytes", raw), type=Request).body


def state_of(ours: Running, job: str) -> object:
    return ours.api("GET", f"jobs/{job}").json["state"]


def test_invoke_async_prints_the_job_and_how_to_see_it(ours: Running) -> None:
    done = ours.cli("invoke", "works", "--async", "--data", '{"n": 1}')
    job = str(uuid.UUID(text(done).strip()))
    assert f"picloud job show {job}" in done.stderr.decode()
    assert body_of(ours, job) == b'{"n": 1}'
    assert f"id: {job}\nscript: works\ntrigger: job\nstate: " in text(ours.cli("job", "show", job))


def test_invoke_async_needs_no_more_than_to_invoke(ours: Running) -> None:
    assert uuid.UUID(text(ours.cli("invoke", "works", "--async", PICLOUD_TOKEN=ours.new_token(Scope.INVOKE))).strip())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["invoke", "works", "--async", "--dry-run"], 2, "--async does not go with --dry-run"),
        (["invoke", "nobody", "--async"], 1, "there is no script 'nobody'"),
        (["job", "show", "works"], 2, "not a valid UUID"),
        (["job", "show", str(uuid.UUID(int=1))], 1, "there is no job"),
        (["job", "cancel"], 2, "ID"),
        (["job", "cancel", str(uuid.UUID(int=1))], 1, "there is no job"),
        (["job", "ls", "nobody"], 1, "there is no script 'nobody'"),
        (["job", "ls", "--state", "lost"], 2, "lost"),
        (["dead", "retry"], 2, "--all"),
        (["dead", "retry", "--all", str(uuid.UUID(int=1))], 2, "--all"),
        (["dead", "retry", str(uuid.UUID(int=1)), "--script", "works"], 2, "--script goes with --all"),
        (["dead", "retry", str(uuid.UUID(int=1)), "--data", "{"], 2, "this is no JSON"),
        (["dead", "retry", str(uuid.UUID(int=1)), "--data", "@nothing-there"], 2, "nothing-there"),
        (["dead", "purge"], 2, "--all"),
        (["dead", "purge", str(uuid.UUID(int=1))], 1, "there is no job"),
        (["dead", "purge", "--all", "--script", "No Script"], 1, "script"),
        (["dead", "show", str(uuid.UUID(int=1))], 1, "there is no job"),
    ],
)
def test_what_is_wrong_is_said_with_the_right_exit_status(
    ours: Running, arguments: list[str], code: int, said: str
) -> None:
    done = ours.cli(*arguments)
    assert (done.returncode, done.stdout) == (code, b""), done
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_jobs_are_listed_newest_first_and_filtered(ours: Running) -> None:
    ours.deploy("listed", "return 1")
    first = sent(ours.database_url, "listed", delay_ms=HOUR_MS, key="k")
    lost = dead(ours.database_url, "listed")
    rows = [row.split("\t") for row in text(ours.cli("job", "ls", "listed")).splitlines()]
    assert [(row[0], row[2], row[3], row[4]) for row in rows] == [
        (lost, "listed", "job", "dead"), (first, "listed", "job", "queued"),
    ]  # fmt: skip
    assert rows[0][6:] == ["3", "script-error", "main.lua:1: no"]
    for arguments, expected in ((["--state", "queued"], [first]), (["--key", "k"], [first]), (["-n", "1"], [lost])):
        found = json.loads(text(ours.cli("job", "ls", "listed", "--json", *arguments)))
        assert [it["id"] for it in found] == expected


def test_a_job_is_shown_with_its_runs_and_its_answer(ours: Running) -> None:
    answer = {"state": "done", "status": 201, "headers": '[["x-a", "1"]]', "body": b"a\x1b[31mred", "outcome": "ok"}
    it = sent(ours.database_url, "works", changed=answer)
    run = tried(ours.database_url, it, "ok")
    shown = text(ours.cli("job", "show", it))
    assert "result.status: 201\nresult.headers.x-a: 1\nresult.body: a\\x1b[31mred\n" in shown
    assert shown.splitlines()[-2] == "runs:"
    assert shown.splitlines()[-1].startswith(f"{run}\t")
    assert json.loads(text(ours.cli("job", "show", it, "--json"))) == ours.api("GET", f"jobs/{it}").json


def test_jobs_are_cancelled(ours: Running) -> None:
    jobs = [sent(ours.database_url, "works", delay_ms=HOUR_MS) for _ in range(2)]
    assert text(ours.cli("job", "cancel", *jobs)) == "".join(f"job {it} is cancelled\n" for it in jobs)
    assert {state_of(ours, it) for it in jobs} == {"cancelled"}
    again = ours.cli("job", "cancel", jobs[0])
    assert again.returncode == 1
    assert b"it is cancelled" in again.stderr


def test_jobs_are_counted(ours: Running) -> None:
    ours.deploy("counted", "return 1")
    sent(ours.database_url, "counted", delay_ms=HOUR_MS)
    lines = text(ours.cli("job", "stats")).splitlines()
    names = ["queued", "running", "done", "dead", "cancelled", "due", "oldest_ms"]
    assert [line.split(":")[0] for line in lines[:7]] == names
    assert "counted\t1\t0\t0\t0\t0\t0\t0.0" in lines
    scripts = json.loads(text(ours.cli("job", "stats", "--json")))["scripts"]
    assert [it["queued"] for it in scripts if it["script"] == "counted"] == [1]


def test_a_dead_letter_is_listed_and_shown_with_its_request_and_log(ours: Running) -> None:
    ours.deploy("fails", "log.info('before \\27[31m') error('it broke')")
    failed = ours.api("POST", "scripts/fails/invoke?recorded=true", b"").header("picloud-invocation")
    it = dead(ours.database_url, "fails")
    execute(ours.database_url, "UPDATE jobs SET invocation = %s WHERE id = %s", failed, it)
    assert text(ours.cli("dead", "ls", "fails")).startswith(f"{it}\t")
    assert [letter["id"] for letter in json.loads(text(ours.cli("dead", "ls", "fails", "--json")))] == [it]
    shown = text(ours.cli("dead", "show", it))
    assert "request.method: POST\nrequest.path: /\n" in shown
    assert f"request.body: {REQUEST.body.decode()}\n" in shown
    log = shown.partition("log:\n")[2].splitlines()
    assert log[0].endswith("fails info  before \\x1b[31m")
    assert "it broke" in log[1]
    assert json.loads(text(ours.cli("dead", "show", it, "--json"))) == ours.api("GET", f"dead-letters/{it}").json


def test_a_dead_letter_is_queued_again_as_it_was_or_with_other_data(ours: Running, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"from": "a file"}\n')
    for arguments, stdin, body in (
        ([], b"", REQUEST.body),
        (["--data", '{"n": 2}'], b"", b'{"n":2}'),
        (["--data", f"@{tmp_path}/data.json"], b"", b'{"from":"a file"}'),
        (["--data", "@-"], b"null", b"null"),
    ):
        it = dead(ours.database_url, "works")
        assert text(ours.cli("dead", "retry", it, *arguments, stdin=stdin)) == f"job {it} is queued again\n"
        assert (body_of(ours, it), state_of(ours, it) != "dead") == (body, True)


def test_all_dead_letters_of_a_script_are_queued_again_in_their_order(ours: Running) -> None:
    ours.deploy("again", "return 1")
    letters = [dead(ours.database_url, "again", ordering_key="o") for _ in range(3)]
    other = dead(ours.database_url, "works")
    assert text(ours.cli("dead", "retry", "--all", "--script", "again")) == "3 jobs are queued again\n"
    positions = execute(ours.database_url, "SELECT id::text FROM jobs WHERE script = 'again' ORDER BY position")
    assert [it for (it,) in positions] == letters
    assert state_of(ours, other) == "dead"


def test_dead_letters_are_thrown_away(ours: Running) -> None:
    ours.deploy("thrown", "return 1")
    one, *_ = [dead(ours.database_url, "thrown") for _ in range(3)]
    other = dead(ours.database_url, "works")
    assert text(ours.cli("dead", "purge", one)) == f"dead letter {one} is gone\n"
    assert text(ours.cli("dead", "purge", "--all", "--script", "thrown")) == "2 dead letters are gone\n"
    assert state_of(ours, other) == "dead"
    assert int(text(ours.cli("dead", "purge", "--all")).split()[0]) >= 1
    assert text(ours.cli("dead", "ls", "--json")) == "[]\n"
    assert text(ours.cli("dead", "retry", "--all")) == "0 jobs are queued again\n"
