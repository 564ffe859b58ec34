"""`picloud run`: one sandboxed run without a server; nothing of it stays."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.executor.conftest import await_end
from tests.processes import descendants
from tests.running import ROOT


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Nothing of PiCloud's, and temporary files where they can be counted: a short path, so that sockets fit in it."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PICLOUD_")}
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield {**clean, "TMPDIR": folder, "PYTHONPATH": str(ROOT)}


@pytest.fixture(autouse=True)
def _leaves_nothing(environment: dict[str, str]) -> Iterator[None]:
    yield
    assert os.listdir(environment["TMPDIR"]) == []


def run(
    environment: dict[str, str], folder: Path, *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "picloud", "run", *arguments],
        env=environment, cwd=folder, input=stdin, capture_output=True, check=False,
    )  # fmt: skip


def script(folder: Path, text: str) -> str:
    (folder / "hello.lua").write_text(text)
    return "hello.lua"


def test_the_answer_goes_to_stdout_and_the_log_to_stderr(tmp_path: Path, environment: dict[str, str]) -> None:
    file = script(tmp_path, "return function() log.warn('heard', { n = 1 }) print('a\\27b') return 'said' end")
    done = run(environment, tmp_path, file)
    assert (done.returncode, done.stdout) == (0, b"said")
    assert done.stderr == b'warn  heard {"n":1}\ninfo  a\\x1bb\n'
    assert not (tmp_path / "var").exists()


def test_a_file_that_no_script_can_be_named_after_is_run(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "über.lua").write_text("return function(r) return r.path end")
    assert run(environment, tmp_path, "über.lua").stdout == b"/fn/run"


def test_the_request_is_as_it_was_asked_for(tmp_path: Path, environment: dict[str, str]) -> None:
    file = script(
        tmp_path,
        """return function(r) return { r.method, r.path, r.params.rest or 0, r.query.a or 0,
        r.headers["x-b"] or 0, r.body, env.K or 0, r.headers["content-type"] or 0 } end""",
    )
    said = run(
        environment, tmp_path, file,
        "--data", "é", "--path", "/fn/x/y%2Fz", "--query", "a=1%202", "--header", "X-B: c d", "--env", "K=v=w",
    )  # fmt: skip
    assert json.loads(said.stdout) == ["POST", "/fn/x/y/z", "y/z", "1 2", "c d", "é", "v=w", "application/json"]
    assert json.loads(run(environment, tmp_path, file).stdout)[:2] == ["GET", "/fn/hello"]
    assert json.loads(run(environment, tmp_path, file, "--method", "put").stdout)[0] == "PUT"
    assert json.loads(run(environment, tmp_path, file, "--data", "@-", stdin=b"in").stdout)[5] == "in"
    assert json.loads(run(environment, tmp_path, file, "--data", f"@{file}").stdout)[5].startswith("return function")


def test_status_and_headers_are_shown_on_request(tmp_path: Path, environment: dict[str, str]) -> None:
    file = script(tmp_path, "return { status = 201, headers = { ['x-a'] = { 'b', 'c' } }, body = 'made' }")
    done = run(environment, tmp_path, file, "-i")
    assert done.stdout == b"HTTP 201\nx-a: b\nx-a: c\ncontent-type: text/plain; charset=utf-8\n\nmade"


def test_a_folder_runs_as_a_bundle(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "site" / "lib").mkdir(parents=True)
    (tmp_path / "site" / "main.lua").write_text("return require('lib.a') .. files.read('page.html')")
    (tmp_path / "site" / "lib" / "a.lua").write_text("return 'a'")
    (tmp_path / "site" / "page.html").write_text("b")
    assert run(environment, tmp_path, "site").stdout == b"ab"


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("return { status = 404, body = 'none' }", [], b""),
        ("error('boom')", [], b"error: main.lua:1: boom (script-error)"),
        ("while true do end", ["--set", "limits.wall_ms=100"], b"wall clock limit of 100 ms (timeout)"),
        ("return string.rep('x', 1e8)", [], b"(memory-limit)"),
        ("return { status = 99 }", [], b"(bad-response)"),
    ],
)
def test_what_goes_wrong_exits_1_and_says_why(
    tmp_path: Path, environment: dict[str, str], text: str, arguments: list[str], said: bytes
) -> None:
    done = run(environment, tmp_path, script(tmp_path, text), *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_run_is_held_to_the_operators_maxima(tmp_path: Path, environment: dict[str, str]) -> None:
    file = script(tmp_path, "while true do end")
    done = run({**environment, "PICLOUD_WALL_MS_MAX": "100"}, tmp_path, file)
    assert b"wall clock limit of 100 ms (timeout)" in done.stderr


def test_a_syntax_error_of_any_file_is_shown_with_its_line_and_a_caret(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "main.lua").write_text("return 1")
    (tmp_path / "site" / "other.lua").write_text("local a\nreturn { 1,, 2 }\n")
    done = run(environment, tmp_path, "site")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().splitlines() == [
        "error: other.lua:2: unexpected symbol near ','",
        "  --> site/other.lua:2:12",
        "  2 | return { 1,, 2 }",
        "    |            ^",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "limits.wal_ms=1"], b"did you mean 'wall_ms'"),
        (["--set", "limits.wall_ms=soon"], b"limits.wall_ms"),
        (["--set", "x"], b"KEY=VALUE"),
        (["--header", "x"], b"Name: value"),
        (["--data", "@nothing"], b"nothing"),
        (["--path", "x"], b"must begin with '/'"),
        (["--method", "a b"], b"--method"),
    ],
)
def test_what_was_asked_wrongly_exits_2(
    tmp_path: Path, environment: dict[str, str], arguments: list[str], said: bytes
) -> None:
    done = run(environment, tmp_path, script(tmp_path, "return 1"), *arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_leaves_no_process_behind(
    tmp_path: Path, environment: dict[str, str], number: int, status: int
) -> None:
    file = script(tmp_path, "print('begun') while true do end")
    process = subprocess.Popen(
        [sys.executable, "-m", "picloud", "run", file],
        env=environment, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stderr
    assert process.stderr.readline() == b"info  begun\n"
    family = descendants(process.pid)
    assert len(family) >= 3  # it, the executor, the zygote, …
    process.send_signal(number)
    assert process.wait(60) == status
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    for pid in family:
        await_end(pid)


def test_a_run_that_is_killed_leaves_no_process_behind(tmp_path: Path, environment: dict[str, str]) -> None:
    file = script(tmp_path, "print('begun') while true do end")
    process = subprocess.Popen(
        [sys.executable, "-m", "picloud", "run", file], env=environment, cwd=tmp_path, stderr=subprocess.PIPE
    )
    assert process.stderr
    process.stderr.readline()
    family = descendants(process.pid)
    process.kill()
    process.wait()
    process.stderr.close()
    for pid in family:
        await_end(pid)
    (folder,) = Path(environment["TMPDIR"]).iterdir()  # nobody was left to remove it
    assert not [left for left in folder.rglob("*") if left.is_socket() and left.name != "notify"]
    shutil.rmtree(folder)


def test_where_sandboxes_cannot_be_held_nothing_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    environment["PICLOUD_SANDBOX_USER"] = "nobody-of-this-name"
    done = run(environment, tmp_path, script(tmp_path, "return 1"))
    if os.geteuid() == 0:
        assert done.returncode == 1
        assert b"there is no such user" in done.stderr


def test_time_zones_are_there_and_what_needs_a_database_is_not(tmp_path: Path, environment: dict[str, str]) -> None:
    zoned = script(tmp_path, "return time.format(0, { zone = 'Asia/Kathmandu' })")
    assert run(environment, tmp_path, zoned).stdout == b"1970-01-01T05:30:00+05:30"
    wrong = run(environment, tmp_path, script(tmp_path, "\nlocal x = time.calendar(0, 'Europe/Berln')"))
    assert b"main.lua:2: time.zone: there is no time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?" in wrong.stderr
    stored = run(environment, tmp_path, script(tmp_path, "local x = kv.get('a')"))
    assert (wrong.returncode, stored.returncode) == (1, 1)
    assert b"main.lua:1: kv.get: needs a server: deploy the script, then `picloud invoke" in stored.stderr
    for source, name in (("jobs.send('a')", "send"), ("jobs.cancel('a')", "cancel"), ("after('a')", "after")):
        sent = run(environment, tmp_path, script(tmp_path, f"{source} return 1"))
        assert (
            f"main.lua:1: jobs.{name}: needs a server: deploy the script, then `picloud invoke".encode() in sent.stderr
        )


def test_a_stream_is_printed_as_it_is_made(tmp_path: Path, environment: dict[str, str]) -> None:
    inside = "log.info('made') write('first\\n') while true do end"
    file = script(tmp_path, f"return {{ status = 201, body = stream(function(write) {inside} end) }}")
    endless = ("--set", "limits.wall_ms=300000", "--set", "limits.cpu_ms=300000")
    process = subprocess.Popen(
        [sys.executable, "-m", "picloud", "run", file, "-i", *endless],
        env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    assert process.stderr
    lines = [process.stdout.readline() for _ in range(4)]
    assert lines == [b"HTTP 201\n", b"content-type: text/plain; charset=utf-8\n", b"\n", b"first\n"]
    assert process.stderr.readline() == b"info  made\n"
    process.terminate()
    process.communicate()
    assert process.returncode == 143


def test_a_stream_that_fails_says_so_behind_what_it_wrote(tmp_path: Path, environment: dict[str, str]) -> None:
    file = script(tmp_path, "return stream(function(write) write('a') error('late') end)")
    done = run(environment, tmp_path, file)
    assert (done.returncode, done.stdout) == (1, b"a")
    assert b"main.lua:1: late (script-error)" in done.stderr
    head = run(environment, tmp_path, file, "--method", "HEAD")
    assert (head.returncode, head.stdout) == (0, b"")
