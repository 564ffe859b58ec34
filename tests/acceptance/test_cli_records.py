"""`picloud logs` and `picloud invocations`, as a person and as a script use them."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import IO
from urllib.parse import quote

import pytest

from picloud.auth import Scope
from picloud.cli.server_sent import Event, parse
from picloud.cli.terminal import harmless
from tests.fixtures_postgres import execute
from tests.running import PATIENCE_S, Running, eventually, running

ECHO = "return function(r) log[r.query.level or 'info'](r.query.say, { n = 1 }) end"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("records")) as it:
        it.deploy("echo", ECHO)
        it.deploy("raiser", "return function() error('[/red] \\27[31mno') end")
        yield it


class Logs:
    """A `picloud logs -f` that runs; its lines arrive in queues."""

    def __init__(self, ours: Running, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "picloud", "logs", "-f", *arguments],
            env={**ours.environment, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout
        assert self.process.stderr
        self._output: Queue[str] = Queue()
        self._errors: Queue[str] = Queue()
        self._threads = [
            Thread(target=_copy, args=(self.process.stdout, self._output)),
            Thread(target=_copy, args=(self.process.stderr, self._errors)),
        ]
        for thread in self._threads:
            thread.start()

    def line(self) -> str:
        return self._output.get(timeout=PATIENCE_S).removesuffix("\n")

    def error(self) -> str:
        return self._errors.get(timeout=PATIENCE_S)

    def end(self, number: int = signal.SIGINT) -> tuple[int, int, int]:
        """Interrupt it → exit status, and how many lines of output and of errors were left."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(PATIENCE_S)
        for thread in self._threads:
            thread.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()
        return status, self._output.qsize(), self._errors.qsize()


def _copy(lines: IO[str], to: "Queue[str]") -> None:
    for line in lines:
        to.put(line)


@contextlib.contextmanager
def logs(ours: Running, *arguments: str, **environment: str) -> Iterator[Logs]:
    eventually(lambda: followed(ours), lambda workers: workers == 0)  # nobody is there yet of the test before
    it = Logs(ours, *arguments, **environment)
    try:
        yield it
    finally:
        it.end(signal.SIGKILL)


def say(ours: Running, text: str, level: str = "info") -> dict[str, object]:
    """→ its record, once it is written."""
    return ours.record_of(ours.call("GET", f"/fn/echo?say={quote(text)}&level={level}"))


def test_following_begins_with_the_last_lines_and_ends_quietly(ours: Running) -> None:
    for text in ("first", "second", "third"):
        say(ours, text)
    with logs(ours, "echo", "-n", "2") as shown:
        for text in ("second", "third"):
            assert shown.line().endswith(f' echo info  {text} {{"n": 1}}')
        say(ours, "fourth")
        assert "fourth" in shown.line()
        assert shown.end() == (130, 0, 1)  # an empty line: a terminal shows ^C


def test_following_as_json_is_a_document_a_line(ours: Running) -> None:
    with logs(ours, "--json", "-n", "0", "--level", "warn") as shown:
        follower_is_there(ours)
        say(ours, "quiet")
        say(ours, "loud", "warn")
        line = json.loads(shown.line())
        assert (line["message"], line["level"], line["fields"]) == ("loud", "warn", {"n": 1})


def test_a_followed_line_cannot_write_to_the_terminal(ours: Running) -> None:
    with logs(ours, "-n", "0") as shown:
        follower_is_there(ours)
        say(ours, "a\x1b[31mred\r\nforged")
        assert shown.line().endswith("a\\x1b[31mred\\r")
        assert shown.line().startswith("    forged")


def test_json_of_a_log_cannot_write_to_the_terminal_either(ours: Running) -> None:
    record = say(ours, "a\x9b31m\x7f\u202eb")
    found = ours.cli("logs", "--json", "--invocation", str(record["id"])).stdout.decode()
    assert "\\u009b31m\\u007f\\u202eb" in found
    assert [line["message"] for line in json.loads(found)] == ["a\x9b31m\x7f\u202eb"]


def test_following_goes_on_when_the_server_is_back_without_losing_a_line(tmp_path: Path) -> None:
    with running(tmp_path / "data") as own:
        own.deploy("echo", ECHO)
        say(own, "before")
        with logs(own, "echo", "-n", "1") as shown:
            assert "before" in shown.line()
            own.kill_server()
            assert "trying until it is back" in shown.error()
            assert own.call("GET", "/fn/echo?say=meanwhile").status == 204
            assert "meanwhile" in shown.line()
            say(own, "after")
            assert "after" in shown.line()
            assert shown.end() == (130, 0, 1)  # an empty line: a terminal shows ^C


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["nobody"], {}, "there is no script 'nobody'"),
        (["--since", "yesterday"], {}, "since"),
        ([], {"PICLOUD_TOKEN": "pc_wrong"}, "token"),
        ([], {"PICLOUD_URL": "http://127.0.0.1:1"}, "picloud up"),
    ],
)
def test_following_says_what_is_wrong_and_does_not_try_again(
    ours: Running, arguments: list[str], environment: dict[str, str], said: str
) -> None:
    with logs(ours, *arguments, **environment) as shown:
        assert said in shown.error()
        assert shown.process.wait(PATIENCE_S) == 1


def test_a_revoked_token_ends_following(ours: Running) -> None:
    token = ours.new_token(Scope.READ)
    with logs(ours, "-n", "0", PICLOUD_TOKEN=token) as shown:
        follower_is_there(ours)
        ours.new_token(Scope.READ)  # in its place
        assert "trying" in shown.error()
        assert "token" in shown.error()
        assert shown.process.wait(PATIENCE_S) == 1


def test_logs_are_filtered(ours: Running) -> None:
    record = say(ours, "filtered", "error")
    say(ours, "not this")
    for arguments in (["--invocation", str(record["id"])], ["echo", "--level", "error", "--since", "1h", "-n", "1"]):
        done = ours.cli("logs", "--json", *arguments)
        assert [line["message"] for line in json.loads(done.stdout)] == ["filtered"]


def test_invocations_are_listed_newest_first_and_filtered(ours: Running) -> None:
    ours.record_of(ours.call("GET", "/fn/raiser"))
    newest = say(ours, "newest")
    rows = ours.cli("invocations", "-n", "2").stdout.decode().splitlines()
    assert rows[0].split("\t")[0] == newest["id"]
    assert rows[1].split("\t")[2:6] == ["raiser", "1", "http", "script-error"]
    assert "\x1b" not in rows[1]
    assert rows[1].endswith("[/red] \\x1b[31mno")
    failed = json.loads(
        ours.cli("invocations", "raiser", "--outcome", "script-error", "--since", "1h", "--json").stdout
    )
    assert [it["outcome"] for it in failed] == ["script-error"]
    assert ours.cli("invocations", "nobody").returncode == 1


def follower_is_there(ours: Running) -> None:
    """Until somebody follows."""
    eventually(lambda: followed(ours), lambda workers: workers == 1)


def followed(ours: Running) -> object:
    """How many workers have followers: each holds the lock that tells writers so."""
    statement = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted"
    return execute(ours.database_url, statement)[0][0]


def test_events_are_parsed_wherever_the_bytes_are_cut() -> None:
    stream = ': hello\nretry: 1000\nid: 0\n\nid: 7\nevent: log\ndata: {"é": 1}\n\nid: 8\ndata: cut'.encode()
    expected = [Event("0", ""), Event("7", '{"é": 1}')]
    assert list(parse([stream])) == expected
    assert list(parse(bytes([byte]) for byte in stream)) == expected


def test_what_is_harmless_stays_as_it_is() -> None:
    assert harmless("Grüße, 世界\tx") == "Grüße, 世界\tx"
    assert harmless("\x9b31m\x00\u202e") == "\\x9b31m\\x00\\u202e"
