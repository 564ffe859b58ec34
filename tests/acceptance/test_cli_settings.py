"""What belongs to a script and not to a version, who may ask, and what a shell completes."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from picloud.auth import Scope
from tests.acceptance.test_cli import text
from tests.running import ROOT, Running


def test_settings_are_set_shown_and_brought_back(picloud: Running) -> None:
    picloud.deploy("tuned", "return 1")
    said = text(picloud.cli("settings", "set", "tuned", "limits.wall_ms=2000", 'cors.origins=["https://x.example"]'))
    assert said == "tuned: limits.wall_ms, cors.origins set\n"
    shown = text(picloud.cli("settings", "show", "tuned")).splitlines()
    assert "limits.wall_ms: 2000" in shown
    assert 'cors.origins: ["https://x.example"]' in shown
    assert "access: public" in shown
    assert 'cors.origins: ["https://x.example"]' in text(picloud.cli("show", "tuned")).splitlines()
    text(picloud.cli("settings", "set", "tuned", "limits.wall_ms=null", "cors=null"))
    settings = json.loads(text(picloud.cli("settings", "show", "tuned", "--json")))
    assert (settings["limits"]["wall_ms"], settings["cors"]) == (10_000, None)


@pytest.mark.parametrize(
    ("values", "status", "said"),
    [
        (["limits.wal_ms=1"], 1, b"did you mean 'wall_ms'"),
        (["limits.wall_ms=soon"], 1, b"limits.wall_ms"),
        (["access"], 2, b"KEY=VALUE"),
        (["a=1", "a=2"], 2, b"given twice"),
    ],
)
def test_a_setting_that_is_none_is_refused(picloud: Running, values: list[str], status: int, said: bytes) -> None:
    picloud.deploy("refusing", "return 1")
    done = picloud.cli("settings", "set", "refusing", *values)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr


def test_variables_are_set_listed_and_removed(picloud: Running) -> None:
    picloud.deploy("varied", "return (env.A or '-') .. (env.B or '-') .. (env.C or '-')")
    assert text(picloud.cli("env", "set", "varied", "A=1", "B=x=y", "C=-", stdin=b"two\nlines\n")) == (
        "varied: A, B, C set\n"
    )
    assert picloud.call("GET", "/fn/varied").body == b"1x=ytwo\nlines"
    assert text(picloud.cli("env", "ls", "varied")) == "A: 1\nB: x=y\nC: two\n    lines\n"
    assert json.loads(text(picloud.cli("env", "ls", "varied", "--json")))["C"] == "two\nlines"
    assert "env.A: set" in text(picloud.cli("show", "varied"))
    text(picloud.cli("env", "set", "varied", "A=2"))  # the others stay
    text(picloud.cli("env", "rm", "varied", "B", "C"))
    assert picloud.call("GET", "/fn/varied").body == b"2--"
    done = picloud.cli("env", "rm", "varied", "NONE", "A")
    assert (done.returncode, b"no variable NONE" in done.stderr) == (1, True)
    assert picloud.call("GET", "/fn/varied").body == b"2--"
    assert picloud.cli("env", "set", "varied", "A=-", "B=-").returncode == 2


def test_routes_are_added_listed_and_removed(picloud: Running) -> None:
    picloud.deploy("routed", "return function(r) return r.params.name or r.method end")
    assert text(picloud.cli("route", "add", "get /routed/{name}", "routed")) == "GET /routed/{name} → routed\n"
    text(picloud.cli("route", "set", "/routed-host", "routed", "--host", "A.example"))
    assert picloud.call("GET", "/routed/x").body == b"x"
    assert picloud.call("PUT", "/routed-host", headers={"host": "a.example"}).body == b"PUT"
    listed = [line.split("\t")[1:] for line in text(picloud.cli("route", "ls")).splitlines()]
    assert ["GET", "", "/routed/{name}", "routed"] in listed
    assert ["ANY", "a.example", "/routed-host", "routed"] in listed
    (hosted,) = [it for it in json.loads(text(picloud.cli("route", "ls", "--json"))) if it["host"] == "a.example"]
    done = picloud.cli("route", "rm", "/routed-host")
    assert (done.returncode, b"there is no route 'ANY /routed-host'" in done.stderr) == (1, True)
    text(picloud.cli("route", "rm", str(hosted["id"])))
    assert "is removed" in text(picloud.cli("route", "rm", "GET /routed/{name}"))
    assert picloud.call("GET", "/routed/x").status == 404
    assert picloud.cli("route", "rm", str(hosted["id"])).returncode == 1


def test_a_route_with_a_host_is_removed_by_what_it_matches(picloud: Running) -> None:
    picloud.deploy("hosted", "return 1")
    text(picloud.cli("route", "add", "/", "hosted", "--host", "hosted.example"))
    text(picloud.cli("route", "rm", "/", "--host", "hosted.example"))
    assert picloud.cli("route", "add", "/", "hosted").returncode == 2


def test_a_token_is_shown_once_alone_on_stdout(picloud: Running) -> None:
    picloud.deploy("seen", "return 1")
    made = picloud.cli("token", "add", "reader", "--scope", "read", "--script", "seen", "--expires", "30d")
    assert made.stderr.splitlines()[-1] == b"The secret is on standard output, and is not shown again."
    secret = text(made).strip()
    assert secret.startswith("pc_")
    assert secret.encode() not in made.stderr
    assert b"read, for seen only, until 20" in made.stderr
    assert "seen" in text(picloud.cli("show", "seen", PICLOUD_TOKEN=secret))
    assert picloud.cli("token", "ls", PICLOUD_TOKEN=secret).returncode == 1
    listed = {it["name"]: it for it in json.loads(text(picloud.cli("token", "ls", "--json")))}
    assert (listed["reader"]["scopes"], listed["reader"]["scripts"]) == (["read"], ["seen"])
    assert secret not in json.dumps(listed)
    assert "reader\tread\tseen\t20" in text(picloud.cli("token", "ls"))
    assert text(picloud.cli("token", "rm", "reader")) == "token reader is revoked\n"
    assert picloud.cli("show", "seen", PICLOUD_TOKEN=secret).returncode == 1
    done = picloud.cli("token", "rm", "reader")
    assert (done.returncode, b"no token is named 'reader'" in done.stderr) == (1, True)


def test_a_token_is_revoked_by_its_id(picloud: Running) -> None:
    text(picloud.cli("token", "set", "numbered", "--scope", "invoke", "--scope", "deploy"))
    (it,) = [it for it in json.loads(text(picloud.cli("token", "ls", "--json"))) if it["name"] == "numbered"]
    text(picloud.cli("token", "rm", str(it["id"])))
    assert "numbered" not in text(picloud.cli("token", "ls"))


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["x"], 2),
        (["x", "--scope", "everything"], 2),
        (["x", "--scope", "read", "--expires", "soon"], 2),
        (["x", "--scope", "read", "--expires", "2001-01-01"], 1),
    ],
)
def test_a_token_that_cannot_be_is_refused(picloud: Running, arguments: list[str], status: int) -> None:
    done = picloud.cli("token", "add", *arguments)
    assert (done.returncode, done.stdout) == (status, b"")


def complete(picloud: Running, *words: str, **environment: Any) -> list[str]:
    """What bash is offered for the last word."""
    done = picloud.cli(
        _PICLOUD_COMPLETE="bash_complete", COMP_WORDS=" ".join(["picloud", *words]), COMP_CWORD=str(len(words)),
        **environment,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    return [line.partition(",")[2] for line in done.stdout.decode().splitlines() if line]


def test_names_of_scripts_are_completed_where_one_is_wanted(picloud: Running) -> None:
    picloud.deploy("tab-one", "return 1")
    picloud.deploy("tab-two", "return 1")
    for words in (["show"], ["settings", "show"], ["env", "set"], ["route", "add", "/x"], ["diff"]):
        assert complete(picloud, *words, "tab-") == ["tab-one", "tab-two"], words
    assert complete(picloud, "token", "add", "x", "--script", "tab-o") == ["tab-one"]
    assert "deploy" in complete(picloud, "de")


def test_completion_is_silent_where_nothing_answers(picloud: Running) -> None:
    assert complete(picloud, "show", "", PICLOUD_URL="http://127.0.0.1:1") == []
    assert complete(picloud, "show", "", PICLOUD_URL="nonsense") == []
    assert complete(picloud, "show", "", PICLOUD_BIND="nonsense") == []
    assert complete(picloud, "show", "", PICLOUD_TOKEN="pc_wrong") == []


def test_the_script_for_bash_works_in_bash(picloud: Running, tmp_path: Path) -> None:
    picloud.deploy("tab-one", "return 1")
    shim = tmp_path / "picloud"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m picloud "$@"\n')
    shim.chmod(0o755)
    line = """eval "$(picloud completion bash)"
        COMP_WORDS=(picloud show tab-o); COMP_CWORD=2; _picloud_completion picloud; echo "${COMPREPLY[@]}" """
    environment = {**picloud.environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", line], env=environment, cwd=ROOT, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"tab-one\n", b"")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_too(picloud: Running, shell: str) -> None:
    assert f"_PICLOUD_COMPLETE={shell}_complete" in text(picloud.cli("completion", shell))


def test_a_shell_that_is_none_of_them_is_refused(picloud: Running) -> None:
    assert picloud.cli("completion", "tcsh").returncode == 2


def test_a_pipe_that_nobody_reads_is_quiet(picloud: Running) -> None:
    for number in range(3):
        picloud.deploy(f"piped-{number}", "return 1")
    line = f"{sys.executable} -m picloud ls --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], env={**picloud.environment, "PYTHONUNBUFFERED": "1"}, cwd=ROOT, capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.stderr == b""


def test_a_question_without_an_answer_does_nothing(picloud: Running) -> None:
    picloud.deploy("questioned", "return 1")
    done = picloud.cli("rm", "questioned", stdin=b"")  # the end of the input is no yes
    assert (done.returncode, b"Nothing was done" in done.stderr) == (1, True)
    assert picloud.call("GET", "/fn/questioned").status == 200


def test_ctrl_c_at_a_question_exits_130_on_a_line_of_its_own(picloud: Running) -> None:
    picloud.deploy("kept", "return 1")
    command = [sys.executable, "-m", "picloud", "rm", "kept"]
    process = subprocess.Popen(
        command, env=picloud.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    asked = b""
    while not asked.endswith(b"]: "):  # its last space is written by who reads the answer next
        asked += process.stdout.read(1)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said) == (130, b"\nNothing was done.\n")
    assert picloud.call("GET", "/fn/kept").status == 200


def test_rm_of_what_is_not_there_asks_nothing(picloud: Running) -> None:
    done = picloud.cli("rm", "nosuch", stdin=b"y\n")
    assert (done.returncode, done.stdout, b"there is no script 'nosuch'" in done.stderr) == (1, b"", True)


def test_a_token_that_may_not_read_is_asked_all_the_same(picloud: Running) -> None:
    picloud.deploy("unread", "return 1")
    done = picloud.cli("rm", "unread", stdin=b"n\n", PICLOUD_TOKEN=picloud.new_token(Scope.DEPLOY))
    assert (done.returncode, b"Delete 'unread'" in done.stdout) == (1, True)


def test_ctrl_c_exits_130_without_a_traceback(picloud: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the request and never answers
        environment = {**picloud.environment, "PICLOUD_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        command = [sys.executable, "-m", "picloud", "ls"]
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE)
        with silent.accept()[0] as connection:
            assert connection.recv(1)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
    assert (process.returncode, said.strip()) == (130, b"")
