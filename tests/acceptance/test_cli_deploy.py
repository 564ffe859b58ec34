"""From a file or folder to an endpoint, and back: deploy, diff, source."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.test_cli import text
from tests.running import Running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "lib").mkdir(parents=True)
    (root / "main.lua").write_text("return function(r) return require('lib.a') .. (r.params.name or '') end\n")
    (root / "lib" / "a.lua").write_text("return 'a'\n")
    (root / "logo.bin").write_bytes(b"\xff\0\x01")
    return root


def test_a_folder_becomes_an_endpoint_with_routes(picloud: Running, folder: Path) -> None:
    arguments = ("deploy", str(folder), "--route", "GET /site/{name}", "--route", "/site")
    assert text(picloud.cli(*arguments)).splitlines() == [
        f"site version 1 is live at {picloud.url}/fn/site",
        f"  curl {picloud.url}/site",
        "  GET /site/{name}",
        "  ANY /site",
    ]
    assert picloud.call("GET", "/site/x").body == b"ax"
    again = text(picloud.cli(*arguments))  # the same routes are fine
    assert again.splitlines()[0] == f"site is unchanged: version 1 is live at {picloud.url}/fn/site"
    assert "route: GET /site/{name}" in text(picloud.cli("show", "site"))
    assert "GET /site/{name}" in text(picloud.cli("rm", "site", "--yes"))
    assert picloud.call("GET", "/site/x").status == 404


@pytest.mark.parametrize(
    ("declared", "curl"),
    [
        ([("GET", "/own/{id}"), ("GET", "/own")], "curl {url}/own"),
        ([("ANY", "/own/{id}")], "curl '{url}/own/{id}'"),
        ([("POST", "/own")], "curl -X POST {url}/own"),
    ],
)
def test_the_routes_that_a_bundle_declares_are_shown_and_one_is_called(
    picloud: Running, folder: Path, declared: list[tuple[str, str]], curl: str
) -> None:
    name = f"own-{len(declared)}-{declared[0][0].lower()}"
    tables = (f'[[route]]\nmethod = "{method}"\npath = "{path}"\n' for method, path in declared)
    (folder / "picloud.toml").write_text("".join(tables))
    _, line, *routes = text(picloud.cli("deploy", str(folder), "--name", name)).splitlines()
    text(picloud.cli("rm", name, "--yes"))
    assert line == "  " + curl.replace("{url}", picloud.url)
    assert sorted(routes) == sorted(f"  {method} {path}" for method, path in declared)


def test_the_curl_line_names_the_host_of_a_route(picloud: Running, folder: Path) -> None:
    (folder / "picloud.toml").write_text('[[route]]\nhost = "shop.example.org"\npath = "/"\n')
    (line,) = text(picloud.cli("deploy", str(folder), "--name", "hosted")).splitlines()[1:2]
    assert line == f"  curl -H 'Host: shop.example.org' {picloud.url}/"
    assert subprocess.run(f"{line} -s", shell=True, capture_output=True, check=True).stdout == b"a"


def test_the_name_of_a_file_cannot_write_to_the_terminal(picloud: Running, tmp_path: Path) -> None:
    hostile = tmp_path / "a\x1b]0;title\x07\x9b2J"
    hostile.mkdir()
    (hostile / "main.lua").write_text("return = 1")
    words = ["deploy", str(hostile), "--name", "hostile"]
    wrong = picloud.cli(*words)
    (hostile / "main.lua").write_text("return 1")
    (hostile / "link").symlink_to("main.lua")
    link, missing = picloud.cli(*words), picloud.cli("deploy", str(hostile / "nothing"))
    for done, said in ((wrong, "  --> "), (link, "is a symbolic link"), (missing, "does not exist")):
        shown = done.stderr.decode()
        assert said in shown
        assert "\\x1b]0;title\\x07\\x9b2J" in shown
        assert {one for one in shown if not one.isprintable()} == {"\n"}


def test_a_route_of_another_script_is_a_clash(picloud: Running, folder: Path) -> None:
    picloud.deploy("owner", "return 1")
    text(picloud.cli("route", "add", "GET /owned", "owner"))
    done = picloud.cli("deploy", str(folder), "--name", "taker", "--route", "GET /owned")
    assert (done.returncode, b"conflict" in done.stderr) == (1, True)
    assert done.stdout.decode() == f"taker version 1 is live at {picloud.url}/fn/taker\n"
    assert done.stderr.startswith(b"error: the route GET /owned: ")


def test_a_version_may_be_stored_without_being_live(picloud: Running, tmp_path: Path) -> None:
    picloud.deploy("staged", "return 'one'")
    (tmp_path / "staged.lua").write_text("return 'two'")
    assert text(picloud.cli("deploy", str(tmp_path / "staged.lua"), "--no-activate")).splitlines() == [
        "staged version 2 is stored and not active",
        "  picloud rollback staged 2",
    ]
    assert picloud.call("GET", "/fn/staged").body == b"one"
    text(picloud.cli("rollback", "staged", "2"))
    assert picloud.call("GET", "/fn/staged").body == b"two"


def test_the_curl_line_says_where_the_token_goes(picloud: Running, tmp_path: Path) -> None:
    (tmp_path / "closed.lua").write_text("return 'in'")
    text(picloud.cli("deploy", str(tmp_path / "closed.lua")))
    text(picloud.cli("settings", "set", "closed", "access=token"))
    line = text(picloud.cli("deploy", str(tmp_path / "closed.lua"))).splitlines()[1]
    assert line == f'  curl -H "Authorization: Bearer $PICLOUD_TOKEN" {picloud.url}/fn/closed'
    environment = {**os.environ, "PICLOUD_TOKEN": picloud.token}
    called = subprocess.run(["sh", "-c", line.strip() + " -s"], env=environment, capture_output=True, check=True)
    assert called.stdout == b"in"


def test_a_syntax_error_shows_file_line_and_caret_and_stores_nothing(picloud: Running, folder: Path) -> None:
    (folder / "lib" / "a.lua").write_text("local t\n\treturn t = 1\n")
    done = picloud.cli("deploy", str(folder), "--name", "uncompiled")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().splitlines() == [
        "error: lib/a.lua:2: <eof> expected near '='",
        f"  --> {folder}/lib/a.lua:2:11",
        "  2 |     return t = 1",
        "    |              ^",
    ]
    assert picloud.cli("show", "uncompiled").returncode == 1


def test_what_the_server_refuses_is_said_in_its_words(picloud: Running, folder: Path) -> None:
    (folder / "picloud.toml").write_text("[settings]\nacess = 'token'\n")
    done = picloud.cli("deploy", str(folder))
    assert (done.returncode, b"did you mean 'access'" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--name", "Bad Name"], 1, b"'Bad Name' cannot be a script's name: lower-case letters"),
        (["--name", ""], 1, b"'' cannot be a script's name"),
        (["--route", "nothing"], 2, b"'GET /hi/{name}'"),
        (["--route", "GET /fn/x"], 2, b"reserved"),
    ],
)
def test_what_was_asked_wrongly_sends_nothing(
    picloud: Running, folder: Path, arguments: list[str], status: int, said: bytes
) -> None:
    done = picloud.cli("deploy", str(folder), *arguments)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    assert picloud.api("GET", "scripts/site").status == 404


def test_a_token_that_may_only_deploy_is_enough(picloud: Running, folder: Path) -> None:
    secret = text(picloud.cli("token", "add", "deployer", "--scope", "deploy", "--script", "limited")).strip()
    arguments = ("deploy", str(folder), "--name", "limited", "--route", "/limited")
    assert "limited version 1 is live" in text(picloud.cli(*arguments, PICLOUD_TOKEN=secret))
    assert picloud.cli("deploy", str(folder), "--name", "other", PICLOUD_TOKEN=secret).returncode == 1
    assert "limited is deleted" in text(picloud.cli("rm", "limited", "--yes", PICLOUD_TOKEN=secret))


def test_a_bundle_comes_back_byte_for_byte(picloud: Running, folder: Path, tmp_path: Path) -> None:
    text(picloud.cli("deploy", str(folder), "--name", "there-and-back"))
    out = tmp_path / "out"
    assert text(picloud.cli("source", "there-and-back", "--output", str(out))).endswith(f"3 files in {out}\n")
    assert {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()} == {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    assert text(picloud.cli("source", "there-and-back", "1")) == (folder / "main.lua").read_text()
    done = picloud.cli("source", "there-and-back", "--output", str(out))
    assert (done.returncode, b"--force" in done.stderr) == (1, True)
    text(picloud.cli("source", "there-and-back", "--output", str(out), "--force"))


def test_a_diff_shows_every_file_that_differs(picloud: Running, folder: Path) -> None:
    text(picloud.cli("deploy", str(folder), "--name", "changing"))
    (folder / "lib" / "a.lua").write_text("return 'b'")
    (folder / "logo.bin").write_bytes(b"\xff\0\x02")
    (folder / "new.txt").write_text("new\n")
    text(picloud.cli("deploy", str(folder), "--name", "changing"))
    assert text(picloud.cli("diff", "changing")).splitlines() == [
        "--- changing@1/lib/a.lua",
        "+++ changing@2/lib/a.lua",
        "@@ -1 +1 @@",
        "-return 'a'",
        "+return 'b'",
        "\\ No newline at end of file",
        "Binary files changing@1/logo.bin and changing@2/logo.bin differ",
        "--- /dev/null",
        "+++ changing@2/new.txt",
        "@@ -0,0 +1 @@",
        "+new",
    ]
    assert text(picloud.cli("diff", "changing", "1")) == text(picloud.cli("diff", "changing", "1", "2"))
    assert "+return 'a'" in text(picloud.cli("diff", "changing", "2", "1"))
    same = picloud.cli("diff", "changing", "2")
    assert (same.returncode, same.stdout, b"are the same" in same.stderr) == (0, b"", True)


def test_a_diff_is_one_that_patch_understands(picloud: Running, folder: Path, tmp_path: Path) -> None:
    (folder / "logo.bin").unlink()
    text(picloud.cli("deploy", str(folder), "--name", "patched"))
    (folder / "main.lua").write_bytes(b"-- other\r\n\nreturn 1")
    text(picloud.cli("deploy", str(folder), "--name", "patched"))
    text(picloud.cli("source", "patched", "1", "--output", str(tmp_path / "old")))
    patch = picloud.cli("diff", "patched").stdout
    subprocess.run(["git", "apply", "-p1", "-"], cwd=tmp_path / "old", input=patch, check=True, env={
        **os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path)})  # fmt: skip
    assert (tmp_path / "old" / "main.lua").read_bytes() == (folder / "main.lua").read_bytes()


@pytest.mark.parametrize("command", ["diff", "source"])
def test_a_version_that_is_not_there_is_said(picloud: Running, command: str) -> None:
    picloud.deploy("alone", "return 1")
    done = picloud.cli(command, "alone", "7")
    assert (done.returncode, b"7" in done.stderr, b"not-found" in done.stderr) == (1, True, True)
    assert b"no version before 1" in picloud.cli("diff", "alone").stderr
    assert b"there is no script 'nobody'" in picloud.cli(command, "nobody").stderr


def test_a_folder_of_a_hundred_files_is_one_request(picloud: Running, tmp_path: Path) -> None:
    for number in range(99):
        (tmp_path / f"m{number}.lua").write_text(f"return {number}")
    (tmp_path / "main.lua").write_text("local sum = 0 for n = 0, 98 do sum = sum + require('m' .. n) end return sum")
    text(picloud.cli("deploy", str(tmp_path), "--name", "hundred"))
    assert json.loads(picloud.call("GET", "/fn/hundred").body) == sum(range(99))


def test_a_starter_is_deployed_as_it_is(picloud: Running, tmp_path: Path) -> None:
    text(picloud.cli("init", "starter", "--dir", str(tmp_path / "starter")))
    assert text(picloud.cli("run", str(tmp_path / "starter"), "--query", "name=you")) == "hello you\n"
    toml = tmp_path / "starter" / "picloud.toml"
    toml.write_text(re.sub(r"^# (\[|[A-Za-z_]+ = )", r"\1", toml.read_text(), flags=re.MULTILINE))  # every comment out
    assert text(picloud.cli("run", str(tmp_path / "starter"), "--path", "/hi/you")) == "hi you\n"
    text(picloud.cli("deploy", str(tmp_path / "starter")))
    assert picloud.call("GET", "/hi/you").status == 405  # with all of it, webhooks are what it takes …
    assert picloud.api("PATCH", "scripts/starter/settings", {"webhook": None}).status == 200  # … and all else without
    assert picloud.call("GET", "/hi/you", headers={"authorization": f"Bearer {picloud.token}"}).body == b"hi you\n"
    settings = json.loads(text(picloud.cli("settings", "show", "starter", "--json")))
    assert (settings["limits"]["wall_ms"], settings["cors"]["origins"]) == (2000, ["https://example.org"])
