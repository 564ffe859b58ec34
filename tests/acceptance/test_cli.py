"""The command line, as a person and as a script use it."""

import json
import subprocess
from pathlib import Path

import pytest

from picloud.auth import Scope
from tests.running import ROOT, Running

EXAMPLES = ROOT / "config" / "examples"


def text(done: subprocess.CompletedProcess[bytes]) -> str:
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_deploy_prints_a_curl_line_that_works(picloud: Running, tmp_path: Path) -> None:
    file = tmp_path / "My Script.lua"
    file.write_text("return 'mine'")
    said = text(picloud.cli("deploy", str(file))).splitlines()
    assert said[0] == f"my-script version 1 is live at {picloud.url}/fn/my-script"
    line = said[-1].split()
    assert line == ["curl", f"{picloud.url}/fn/my-script"]
    assert subprocess.run([*line, "-s"], capture_output=True, check=True).stdout == b"mine"


def test_deploy_takes_a_name(picloud: Running) -> None:
    assert "named version 1 is live" in text(picloud.cli("deploy", str(EXAMPLES / "hello.lua"), "--name", "named"))
    assert picloud.call("GET", "/fn/named").status == 200


def test_a_syntax_error_names_file_and_line_and_exits_1(picloud: Running, tmp_path: Path) -> None:
    file = tmp_path / "wrong.lua"
    file.write_text("return 1\nx x x")
    done = picloud.cli("deploy", str(file))
    assert done.returncode == 1
    assert b"main.lua:2:" in done.stderr
    assert b"Traceback" not in done.stderr


def test_invoke_prints_the_answer_and_the_log_apart(picloud: Running) -> None:
    picloud.deploy("spoken", "return function(r) log.info('heard', { n = r:json().n }) return 'answer' end")
    done = picloud.cli("invoke", "spoken", "--data", '{"n": 7}')
    assert (done.returncode, done.stdout) == (0, b"answer")
    assert b"heard" in done.stderr
    assert b'"n": 7' in done.stderr


def test_invoke_that_is_recorded_can_be_read_at_once(picloud: Running) -> None:
    picloud.deploy("recorded", "return function(r) log.info('before') if r.body ~= '' then error('boom') end end")
    for body in (None, b"x"):
        answer = picloud.api("POST", "scripts/recorded/invoke?recorded=true", body)
        identifier = answer.header("picloud-invocation")
        assert picloud.api("GET", f"invocations/{identifier}").json["status"] == answer.status
        assert picloud.api("GET", f"logs?invocation={identifier}").json["items"][-1]["message"] == "before"


def test_invoke_shows_no_log_to_a_token_that_may_not_read_it(picloud: Running) -> None:
    picloud.deploy("silent", "return 'nothing to say'")
    done = picloud.cli("invoke", "silent", PICLOUD_TOKEN=picloud.new_token(Scope.INVOKE))  # may not read the log
    assert (done.returncode, done.stdout, done.stderr) == (0, b"nothing to say", b"")


def test_invoke_reads_its_body_from_standard_input(picloud: Running) -> None:
    picloud.deploy("size", "return function(r) return #r.body end")
    assert picloud.cli("invoke", "size", "--data", "@-", stdin=b"12345").stdout == b"5"


def test_invoke_exits_1_on_a_status_of_400_or_more(picloud: Running) -> None:
    picloud.deploy("teapot", "return { status = 418, body = 'short' }")
    done = picloud.cli("invoke", "teapot")
    assert (done.returncode, done.stdout) == (1, b"short")


def test_listings_are_tab_separated_for_pipes_and_json_on_request(picloud: Running) -> None:
    picloud.deploy("listed", "return 1")
    assert [line.split("\t")[1:3] for line in text(picloud.cli("ls")).splitlines() if line.startswith("listed\t")] == [
        ["1", "/fn/listed"]
    ]
    assert "listed" in {item["name"] for item in json.loads(text(picloud.cli("ls", "--json")))}
    assert json.loads(text(picloud.cli("versions", "listed", "--json")))[0]["version"] == 1
    assert json.loads(text(picloud.cli("show", "listed", "--json")))["settings"]["limits"]["wall_ms"] == 10_000
    assert "limits.wall_ms: 10000" in text(picloud.cli("show", "listed"))


def test_rollback_goes_to_the_version_before_or_to_the_one_named(picloud: Running) -> None:
    for number in (1, 2, 3):
        picloud.deploy("back", f"return {number}")
    assert "back version 2 is live" in text(picloud.cli("rollback", "back"))
    assert "back version 3 is live" in text(picloud.cli("rollback", "back", "3"))
    done = picloud.cli("rollback", "back", "9")
    assert (done.returncode, b"no version 9" in done.stderr) == (1, True)


def test_rm_asks_first_and_takes_yes(picloud: Running) -> None:
    picloud.deploy("doomed", "return 1")
    assert picloud.cli("rm", "doomed", stdin=b"n\n").returncode == 1
    assert picloud.call("GET", "/fn/doomed").status == 200
    assert "doomed is deleted" in text(picloud.cli("rm", "doomed", "--yes"))
    assert picloud.call("GET", "/fn/doomed").status == 404


def test_logs_show_the_oldest_line_first(picloud: Running) -> None:
    picloud.deploy("chatty", "return function() for i = 1, 3 do print('line', i) end end")
    picloud.record_of(picloud.call("GET", "/fn/chatty"))
    lines = text(picloud.cli("logs", "chatty")).splitlines()
    assert [line.split("line")[-1].strip() for line in lines] == ["1", "2", "3"]
    assert len(json.loads(text(picloud.cli("logs", "chatty", "-n", "2", "--json")))) == 2


def test_a_log_line_cannot_write_to_the_terminal(picloud: Running) -> None:
    picloud.deploy("forger", 'return function() log.info("a\\27[31mred\\r\\nforged") end')
    picloud.record_of(picloud.call("GET", "/fn/forger"))
    shown = text(picloud.cli("logs", "forger"))
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert "\n    forged" in shown


@pytest.mark.parametrize("name", ["victim?x", "victim#x", "victim/versions", "../scripts/victim", "vic\ntim"])
def test_a_name_that_is_none_reaches_no_other_script(picloud: Running, name: str) -> None:
    picloud.deploy("victim", "return 1")
    for command in (["rm", name, "--yes"], ["show", name], ["versions", name], ["rollback", name], ["invoke", name]):
        done = picloud.cli(*command)
        assert (done.returncode, done.stdout) == (1, b""), command
        assert b"Traceback" not in done.stderr
    assert picloud.cli("deploy", str(EXAMPLES / "hello.lua"), "--name", name).returncode == 1
    assert picloud.call("GET", "/fn/victim").body == b"1"


def test_doctor_names_every_protection(picloud: Running) -> None:
    found = {item["name"]: item for item in json.loads(text(picloud.cli("doctor", "--json")))}
    assert found["seccomp"]["active"]
    assert found["seccomp"]["required"]
    assert len(found) >= 8
    assert "seccomp" in text(picloud.cli("doctor"))


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["show", "nobody"], 1, b"there is no script 'nobody'"),
        (["deploy", "no-such-file.lua"], 2, b"no-such-file.lua"),
        (["frobnicate"], 2, b"frobnicate"),
        (["invoke"], 2, b"NAME"),
        (["invoke", "nobody"], 1, b"there is no script 'nobody'"),
        (["invoke", "x", "--data", "@nofile"], 2, b"nofile"),
        (["invoke", "x", "--content-type", "a\nb"], 2, b"control characters"),
        (["rollback", "x", "0"], 2, b"0 is not in the range"),
        (["logs", "-n", "-3"], 2, b"-3 is not in the range"),
        (["logs", "nobody"], 1, b"there is no script 'nobody'"),
    ],
)
def test_what_is_wrong_is_said_with_the_right_exit_status(
    picloud: Running, arguments: list[str], status: int, message: bytes
) -> None:
    done = picloud.cli(*arguments)
    assert (done.returncode, message in done.stderr) == (status, True), done.stderr
    assert b"Traceback" not in done.stderr


def test_a_wrong_token_is_said_to_be_one(picloud: Running) -> None:
    done = picloud.cli("ls", PICLOUD_TOKEN="pc_wrong")
    assert (done.returncode, b"token" in done.stderr) == (1, True)


@pytest.mark.parametrize("environment", [{"PICLOUD_URL": "localhost:1"}, {"PICLOUD_URL": "ftp://x"}])
def test_an_address_that_is_none_is_said_to_be_one(picloud: Running, environment: dict[str, str]) -> None:
    done = picloud.cli("ls", stdin=b"", **environment)
    assert (done.returncode, b"must be http://" in done.stderr) == (2, True)


def test_a_token_with_a_line_break_is_said_to_be_wrong(picloud: Running) -> None:
    done = picloud.cli("ls", PICLOUD_TOKEN="a\nb")
    assert (done.returncode, b"PICLOUD_TOKEN" in done.stderr, b"Traceback" in done.stderr) == (1, True, False)


def test_nothing_that_listens_is_said_with_what_to_do(picloud: Running) -> None:
    done = picloud.cli("ls", PICLOUD_URL="http://127.0.0.1:1")
    assert done.returncode == 1
    assert b"picloud up" in done.stderr


def test_there_is_no_colour_in_a_pipe(picloud: Running) -> None:
    for arguments in (["ls"], ["doctor"], ["show", "nobody"]):
        done = picloud.cli(*arguments)
        assert b"\x1b" not in done.stdout + done.stderr
