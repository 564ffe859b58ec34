"""A whole server as files: written by one, applied to another, and nothing in between."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from picloud.auth import Scope
from tests.running import ROOT, Answer, Running, eventually, running

EXAMPLES = ROOT / "config" / "examples"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("here")) as ours:
        yield ours


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("there")) as ours:
        yield ours


@pytest.fixture(autouse=True)
def empty(here: Running, there: Running) -> None:
    """Each test begins with nothing."""
    for one in (here, there):
        assert put(one, {}, "prune=true").status == 200


def put(picloud: Running, scripts: dict[str, Any], query: str = "") -> Answer:
    return picloud.api("PUT", f"config?{query}", {"scripts": scripts})


def said(picloud: Running, *arguments: str, status: int = 0) -> str:
    """What a command prints, on either of its outputs."""
    run = picloud.cli(*arguments)
    assert run.returncode == status, run
    return (run.stdout + run.stderr).decode()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()}


def versions(picloud: Running) -> dict[str, int]:
    return {it["name"]: it["active_version"] for it in picloud.api("GET", "scripts").json["items"]}


def write(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def test_every_example_moves_to_another_server_and_back(here: Running, there: Running, tmp_path: Path) -> None:
    for path in sorted(EXAMPLES.iterdir()):
        said(here, "deploy", str(path))
    said(here, "env", "set", "hello", "GREETING=hej")
    said(here, "route", "add", "GET /hi/{name}", "hello")
    said(here, "schedule", "set", "nightly", "hello", "--cron", "0 3 * * *", "--payload", '{"a": null}')
    said(here, "settings", "set", "shop", "limits.wall_ms=500")
    said(here, "export", str(tmp_path / "one"))
    there.deploy("hello", "return 'another'")
    there.deploy("more", "return 1")
    assert "- script more, with its versions" in said(there, "apply", "-f", str(tmp_path / "one"), "--prune")
    said(there, "export", str(tmp_path / "two"))
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    for one in (here, there):
        before = versions(one)
        assert said(one, "apply", "-f", str(tmp_path / "two"), "--prune", "--exit-code").startswith("nothing to do\n")
        assert versions(one) == before
    for address in ("/hi/Ada", "/go/docs", "/shop/items"):
        assert there.call("GET", address).body == here.call("GET", address).body
    assert there.call("GET", "/hi/Ada").status == 200
    assert there.api("GET", "scripts/hello/settings").json["env"] == {"GREETING": "hej"}


def test_every_worker_answers_as_it_was_applied(here: Running) -> None:
    put(here, {"a": {"files": {"main.lua": "return 'old'"}, "route": [{"path": "/x"}]}})
    assert {here.call("GET", "/fn/a").body for _ in here.by_each_worker()} == {b"old"}
    put(here, {"a": {"files": {"main.lua": "return env.NOW"}, "settings": {"env": {"NOW": "new"}}}}, "prune=true")
    seen = {(here.call("GET", "/fn/a").body, here.call("GET", "/x").status) for _ in here.by_each_worker()}
    assert seen == {(b"new", 404)}


def test_the_third_of_three_does_not_compile_and_nothing_changes(here: Running, tmp_path: Path) -> None:
    here.deploy("b", "return 'before'")
    write(
        tmp_path,
        {
            "scripts/a-new-one/main.lua": "return 1",
            "scripts/b/main.lua": "return 2",
            "scripts/b/picloud.toml": "[[route]]\npath = '/b'\n",
            "scripts/c-new/main.lua": "return 3\nreturn 4 4",
        },
    )
    before = here.api("GET", "config").json
    words = said(here, "apply", "-f", str(tmp_path), "--prune", status=1)
    assert "scripts/c-new/main.lua:2:" in words
    assert "return 4 4" in words
    assert here.api("GET", "config").json == before
    assert (here.call("GET", "/fn/b").body, here.call("GET", "/b").status) == (b"before", 404)
    write(tmp_path, {"scripts/c-new/main.lua": "return 3"})
    said(here, "apply", "-f", str(tmp_path), "--prune")
    assert here.call("GET", "/b").body == b"2"
    assert versions(here) == {"a-new-one": 1, "b": 2, "c-new": 1}


def test_what_would_change_is_shown_and_what_did(here: Running, tmp_path: Path) -> None:
    put(
        here,
        {"a": {"files": {"main.lua": "return 1\n"}, "route": [{"path": "/x"}]}, "old": {"files": {"main.lua": ""}}},
    )
    write(tmp_path, {"scripts/a/main.lua": "return 2\n", "scripts/a.toml": '[settings.env]\nKEY = "confidential"\n'})
    command = ["apply", "-f", str(tmp_path), "--prune"]
    expected = """--- a/scripts/a/main.lua
+++ b/scripts/a/main.lua
@@ -1 +1 @@
-return 1
+return 2
+ a: setting env.KEY
- a: route ANY /x
- script old, with its versions, settings, routes, schedules and values
"""
    assert said(here, *command, "--dry-run") == expected + "4 changes would be made; nothing was changed\n"
    assert "confidential" in said(here, *command, "--dry-run", "--exit-code", "--json", status=3)
    assert set(versions(here)) == {"a", "old"}
    assert said(here, *command) == expected + "4 changes made\n"
    assert set(versions(here)) == {"a"}
    assert said(here, *command) == "nothing to do\n"


def test_what_is_wrong_is_said_with_its_file_and_field(here: Running, tmp_path: Path) -> None:
    write(tmp_path, {"scripts/a/main.lua": "return 1", "scripts/a.toml": "[[route]]\npath = '/fn/x'\n"})
    command = ["apply", "-f", str(tmp_path)]
    assert said(here, *command, status=1).startswith(
        "error: scripts/a.toml: route[0].path: '/fn' is the platform's own"
    )
    write(tmp_path, {"scripts/a.toml": "", "scripts/a/picloud.toml": "[settings]\nacess = 'token'\n"})
    expected = "error: scripts/a/picloud.toml: settings.acess: is not known; did you mean 'access'?"
    assert said(here, *command, status=1).startswith(expected)


def test_without_prune_nothing_is_removed(here: Running, tmp_path: Path) -> None:
    here.deploy("mine", "return 1")
    here.api("POST", "routes", {"path": "/mine", "script": "mine"})
    write(tmp_path, {"scripts/mine/main.lua": "return 2", "scripts/new/main.lua": "return 3"})
    here.deploy("other", "return 4")
    said(here, "apply", "-f", str(tmp_path))
    assert here.call("GET", "/mine").body == b"2"
    assert set(versions(here)) == {"mine", "new", "other"}


def test_only_who_may_do_all_may_see_and_change_all(here: Running, tmp_path: Path) -> None:
    here.deploy("a", "return 1")
    limits = {"name": "limited", "scopes": ["read", "deploy", "invoke"], "scripts": ["a"]}
    limited = here.api("POST", "tokens", limits).json["token"]
    for token in (limited, *(here.new_token(scope) for scope in (Scope.READ, Scope.DEPLOY, Scope.INVOKE))):
        run = here.cli("export", str(tmp_path / "out"), PICLOUD_TOKEN=token)
        assert (run.returncode, b"(forbidden, 403)" in run.stderr) == (1, True), run
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        assert here.call("PUT", "/api/v1/config?prune=true", b'{"scripts": {}}', headers).problem == "forbidden"
    assert (list(tmp_path.iterdir()), set(versions(here))) == ([], {"a"})


def test_two_operators_do_not_overwrite_each_other(here: Running) -> None:
    tag = here.api("GET", "config").header("etag")
    assert tag
    headers = {"authorization": f"Bearer {here.token}", "content-type": "application/json", "if-match": tag}
    body = json.dumps({"scripts": {"a": {"files": {"main.lua": "return 1"}}}}).encode()
    first = here.call("PUT", "/api/v1/config", body, headers)
    assert (first.status, first.header("etag")) == (200, here.api("GET", "config").header("etag"))
    second = here.call("PUT", "/api/v1/config?prune=true", b'{"scripts": {}}', headers)
    assert (second.status, second.problem) == (412, "precondition-failed")
    assert set(versions(here)) == {"a"}


def test_secrets_are_named_and_no_value_leaves_the_server(here: Running, tmp_path: Path) -> None:
    assert here.api("PUT", "secrets/KNOWN", {"value": "never to be seen"}).status in (200, 201)
    put(here, {"a": {"files": {"main.lua": "return 1"}, "settings": {"secrets": ["KNOWN", "LACKING"]}}})
    said(here, "export", str(tmp_path / "out"))
    whole = b"".join(contents(tmp_path / "out").values())
    assert b"KNOWN" in whole
    assert b"never to be seen" not in whole
    words = said(here, "apply", "-f", str(tmp_path / "out"))
    assert words == "nothing to do\nsecret LACKING has no value here: 'picloud secret set LACKING'\n"


def test_a_body_that_is_too_large_or_no_configuration_is_refused(here: Running) -> None:
    headers = {
        "authorization": f"Bearer {here.token}",
        "content-type": "application/json",
        "content-length": "99999999",
    }
    assert here.call("PUT", "/api/v1/config", b"", headers).status in (400, 413)
    wrong = here.api("PUT", "config", {"scripts": {"a": {"files": {"main.lua": ""}, "routes": []}}})
    assert wrong.problem == "invalid-request"
    assert wrong.json["detail"] == "scripts/a: routes: is not known; did you mean 'route'?"
    wrong = put(here, {"a": {"files": {"main.lua": "", "picloud.toml": "[setting]"}}})
    assert wrong.json["detail"].startswith("scripts/a/picloud.toml: setting: is not known; did you mean")
    assert here.api("PUT", "config", b"x", "text/plain").problem == "unsupported-media-type"


def test_an_applied_schedule_rings_the_dispatcher(here: Running) -> None:
    schedule = {"name": "often", "cron": "* * * * * *"}
    source = "return function(request) log.info('ran', request.trigger) end"
    put(here, {"ticks": {"files": {"main.lua": source}, "schedule": [schedule]}})
    path = "invocations?script=ticks&trigger=schedule"
    assert eventually(lambda: here.api("GET", path).json["items"], bool)


def test_a_hostile_folder_is_refused_before_anything_is_asked(here: Running, tmp_path: Path) -> None:
    write(tmp_path, {"scripts/a/main.lua": "return 1"})
    (tmp_path / "scripts/a/passwd").symlink_to("/etc/passwd")
    assert "is a symbolic link" in said(here, "apply", "-f", str(tmp_path), status=1)
    assert versions(here) == {}


def test_the_repository_of_the_documentation_can_be_applied(here: Running, tmp_path: Path) -> None:
    """As a checkout of git: what is hidden or beside the scripts is left alone."""
    write(tmp_path, {"scripts/a/main.lua": "return 1", "README.md": "ours", ".github/workflows/ci.yml": ""})
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    said(here, "apply", "-f", str(tmp_path), "--prune")
    assert set(versions(here)) == {"a"}
