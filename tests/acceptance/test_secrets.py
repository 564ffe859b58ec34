"""Secrets on a running PiCloud: granted by name, live, masked in all that is written, and sealed wherever they rest."""

import contextlib
import json
import os
import pty
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from picloud.auth import Scope, new_secret
from picloud.sealing import KeyFile
from picloud.storage.pool import Pool
from picloud.storage.secrets import SecretTable
from picloud.storage.tokens import TokenTable
from tests.acceptance.following import following
from tests.fixtures_postgres import execute
from tests.running import Answer, Running, eventually, running

VALUE = 'correct "horse" battery+staple/ü'
SHOW = "return function(request) return tostring((secrets.get(request.query.name))) end"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(
        tmp_path_factory.mktemp("secrets"), PICLOUD_QUEUE_MS="60000"
    ) as picloud:  # however busy the machine is
        yield picloud


def keep(picloud: Running, name: str, value: str = VALUE) -> None:
    assert picloud.api("PUT", f"secrets/{name}", {"value": value}).status in (200, 201)


def deploy(picloud: Running, name: str, source: str, *granted: str) -> None:
    picloud.deploy(name, source)
    picloud.set(name, {"secrets": list(granted)})


def shown(picloud: Running, script: str, name: str) -> Answer:
    return picloud.call("GET", f"/fn/{script}?name={name}")


def limited_token(picloud: Running, *scripts: str) -> dict[str, str]:
    with closing(Pool(picloud.database_url, size=1, wait_ms=5_000)) as pool:
        secret = new_secret()
        TokenTable(pool).add(secret[:12], secret, [Scope.DEPLOY, Scope.READ], scripts=scripts)
    return {"authorization": f"Bearer {secret}"}


def test_a_script_gets_what_it_is_granted_and_nothing_else(ours: Running) -> None:
    keep(ours, "MINE")
    keep(ours, "OTHERS", "another value")
    deploy(ours, "granted", SHOW, "MINE", "NOT_THERE")
    assert shown(ours, "granted", "MINE").body.decode() == VALUE
    assert shown(ours, "granted", "NOT_THERE").body == b"nil"
    refused = shown(ours, "granted", "OTHERS")
    assert (refused.status, refused.problem) == (500, "script-error")
    assert refused.json["detail"] == (
        "main.lua:1: secrets.get: 'OTHERS' is not granted to this script: add it to the list in its setting `secrets`"
    )


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("secrets.get()", "secrets.get: name needs a string, not nil"),
        ("secrets.get({})", "secrets.get: name needs a string, not table"),
        ("secrets.get('a-b')", "a secret's name has letters, digits and '_', at most 64, no digit first"),
        ("secrets.get('')", "a secret's name has letters"),
        ("secrets.get('\\xff')", "a name must be UTF-8 text"),
        ("secrets.get(('x'):rep(1e5))", "a secret's name has letters"),
    ],
)
def test_what_is_no_name_is_an_error_at_the_scripts_line(ours: Running, call: str, says: str) -> None:
    deploy(ours, "misnamed", f"local ok, message = pcall(function() return {call} end) return message")
    answer = ours.call("GET", "/fn/misnamed").body.decode()
    assert answer.startswith("main.lua:1: ")
    assert says in answer


def test_a_change_a_grant_and_its_end_hold_at_once_and_without_a_deployment(ours: Running) -> None:
    deploy(ours, "live", SHOW)
    ours.api("DELETE", "secrets/LIVE")
    assert shown(ours, "live", "LIVE").status == 500
    ours.set("live", {"secrets": ["LIVE"]})
    for expected in ("nil", "first", "second"):
        if expected != "nil":
            keep(ours, "LIVE", expected)
        assert {it.body.decode() for it in ours.at_once(8, "GET", "/fn/live?name=LIVE")} == {expected}
    assert ours.api("DELETE", "secrets/LIVE").status == 204
    assert {it.body.decode() for it in ours.at_once(8, "GET", "/fn/live?name=LIVE")} == {"nil"}
    ours.set("live", {})
    assert {it.status for it in ours.at_once(8, "GET", "/fn/live?name=LIVE")} == {500}
    assert [it["version"] for it in ours.api("GET", "scripts/live/versions").json["items"]] == [1]


def test_a_change_on_another_node_is_heard_of(ours: Running) -> None:
    keep(ours, "ELSEWHERE", "first")
    deploy(ours, "elsewhere", SHOW, "ELSEWHERE")
    assert {it.body for it in ours.at_once(8, "GET", "/fn/elsewhere?name=ELSEWHERE")} == {b"first"}
    keys = KeyFile(ours.data / "secret.key")
    with closing(Pool(ours.database_url, size=1, wait_ms=5_000)) as pool:
        SecretTable(pool).put("ELSEWHERE", lambda: keys.seal("ELSEWHERE", "second"))
    eventually(
        lambda: {it.body for it in ours.at_once(8, "GET", "/fn/elsewhere?name=ELSEWHERE")},
        lambda bodies: bodies == {b"second"},
    )


def test_a_value_moved_to_another_name_does_not_open(ours: Running) -> None:
    keep(ours, "MOVED")
    keep(ours, "TARGET", "its own value")
    deploy(ours, "moved", SHOW, "TARGET")
    move = "UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE name = 'MOVED') WHERE name = 'TARGET'"
    execute(ours.database_url, move)
    answer = shown(ours, "moved", "TARGET")
    assert (answer.problem, VALUE in answer.body.decode()) == ("script-error", False)
    assert "'TARGET' cannot be opened with the key that this server has; set it anew" in answer.json["detail"]
    keep(ours, "TARGET", "anew")
    assert shown(ours, "moved", "TARGET").body == b"anew"


LEAK = """return function(request)
  local value = secrets.get("LEAKED")
  log.info("it is " .. value, { value = value, list = { "x" .. value }, [value] = 1 })
  log.info({ value })
  print(base64.encode("user:" .. value), url.encode(value), json.encode(value))
  if request.query.raise then error("it was " .. value) end
  if request.query.header then return { headers = { ["x-" .. value] = "1" } } end
  return value
end"""

SPELLINGS = [
    VALUE, json.dumps(VALUE)[1:-1], json.dumps(VALUE, ensure_ascii=False)[1:-1], quote(VALUE, safe=""),
    b64encode(b"user:" + VALUE.encode()).decode()[8:-4],
]  # fmt: skip


def assert_not_in(text: str) -> None:
    for spelling in SPELLINGS:
        assert spelling not in text


def test_a_value_is_masked_in_log_lines_errors_records_and_what_is_followed(ours: Running) -> None:
    keep(ours, "LEAKED")
    deploy(ours, "leaky", LEAK, "LEAKED")
    with following(ours, "&script=leaky") as followed:
        answer = ours.call("GET", "/fn/leaky")
        assert answer.body.decode() == VALUE, "the answer is the script's own"
        raised = ours.call("GET", "/fn/leaky?raise=1")
        refused = ours.call("GET", "/fn/leaky?header=1")
        lines = [json.loads(followed.event().data) for _ in range(11)]  # three of each, and why two failed
    assert raised.json["detail"] == "main.lua:6: it was ***"
    assert (refused.status, refused.problem) == (502, "bad-response")
    fields = [it["fields"] for it in lines if it["message"] == "it is ***"]
    assert fields == [{"value": "***", "list": ["x***"], "***": 1}] * 3
    failures = [it["message"] for it in lines if it["level"] == "error"]
    assert sum(it.startswith("script-error: main.lua:6: it was ***\nstack traceback:") for it in failures) == 1
    records = [ours.record_of(it) for it in (answer, raised, refused)]
    listed = ours.api("GET", "logs?script=leaky").body.decode()
    assert_not_in(json.dumps([lines, records], ensure_ascii=False) + listed + raised.body.decode())
    assert_not_in(json.dumps(refused.json["detail"], ensure_ascii=False))


def test_what_a_script_hands_to_those_that_it_invokes_is_masked_there_too(ours: Running) -> None:
    keep(ours, "HANDED")
    deploy(ours, "callee", "return function(request) log.info(request.body) error(request.body) end")
    caller = "local ok, why = pcall(invoke, 'callee', { body = secrets.get('HANDED') }) return tostring(why)"
    deploy(ours, "caller", caller, "HANDED")
    ours.call("GET", "/fn/caller")
    lines = eventually(lambda: ours.api("GET", "logs?script=callee").json["items"], lambda it: len(it) >= 2)
    assert [VALUE in it["message"] for it in lines] == [False] * len(lines)
    assert any(it["message"] == "***" for it in lines)


def test_a_value_rests_nowhere_but_sealed(ours: Running) -> None:
    value = "a-plaintext-to-be-searched-for"
    keep(ours, "SEARCHED", value)
    deploy(ours, "searcher", LEAK.replace("LEAKED", "SEARCHED"), "SEARCHED")
    for query in ("", "?raise=1", "?header=1"):
        ours.record_of(ours.call("GET", f"/fn/searcher{query}"))
    url = ours.database_url
    tables = execute(url, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    rows = [str(row) for (name,) in tables for row in execute(url, f'SELECT it::text FROM "{name}" it')]
    assert any("searcher" in row for row in rows)
    assert not [row for row in rows if value in row]
    for pid, command in ours.processes().items():
        assert value not in command
        assert value.encode() not in content(Path(f"/proc/{pid}/environ"))
    files = [it for it in ours.data.rglob("*") if it.is_file()]
    assert any(b"SEARCHED" in content(it) for it in files)
    assert not [it for it in files if value.encode() in content(it)]


def content(path: Path) -> bytes:
    """Of a file that may be gone by now."""
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def test_no_endpoint_answers_with_a_value(ours: Running) -> None:
    assert ours.api("PUT", "secrets/SHOWN", {"value": VALUE}).status == 201
    deploy(ours, "grantee", "return 1", "SHOWN")
    answers = [
        ours.api("PUT", "secrets/SHOWN", {"value": VALUE}),
        ours.api("GET", "secrets"),
        ours.api("GET", "secrets/SHOWN"),
        ours.api("GET", "scripts/grantee"),
        ours.api("GET", "scripts/grantee/settings"),
    ]
    assert [it.status for it in answers] == [200] * 5
    assert not [it for it in answers if VALUE in json.dumps(it.json, ensure_ascii=False)]
    assert answers[2].json.keys() == {"name", "created_at", "updated_at", "scripts"}
    assert answers[2].json["scripts"] == ["grantee"]


@pytest.mark.parametrize(
    ("name", "body", "status", "says"),
    [
        ("A-B", {"value": "x"}, 422, "name: cannot be a secret's name"),
        ("1A", {"value": "x"}, 422, "name: cannot be a secret's name"),
        ("A" * 65, {"value": "x"}, 422, "name: cannot be a secret's name"),
        ("A", {"value": ""}, 422, "value: must have at least 1 characters"),
        ("A", {"value": "x" * 65_537}, 422, "value: must have at most 65536 characters"),
        ("A", {"value": 5}, 422, "value: must be text, not a whole number"),
        ("A", {}, 422, "value: is missing"),
        ("A", {"valeu": "do not repeat me"}, 422, "did you mean 'value'?"),
    ],
)
def test_what_cannot_be_a_secret_is_refused_without_being_repeated(
    ours: Running, name: str, body: Mapping[str, object], status: int, says: str
) -> None:
    answer = ours.api("PUT", f"secrets/{name}", body)
    assert (answer.status, says in answer.json["detail"]) == (status, True), answer
    assert "do not repeat me" not in answer.body.decode()


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("name", ["NOT_THERE", "not-a-name", "%00"])
def test_what_is_not_there_is_not_found(ours: Running, method: str, name: str) -> None:
    assert ours.api(method, f"secrets/{name}").problem == "not-found"


def test_a_limited_token_sets_no_secret_and_grants_none(ours: Running) -> None:
    keep(ours, "WALLED")
    deploy(ours, "limited", SHOW)
    headers = limited_token(ours, "limited") | {"content-type": "application/json"}
    for method, path, body in (
        ("GET", "secrets", None),
        ("PUT", "secrets/WALLED", b'{"value": "x"}'),
        ("DELETE", "secrets/WALLED", None),
        ("PATCH", "scripts/limited/settings", b'{"secrets": ["WALLED"]}'),
        ("PUT", "scripts/limited", json.dumps(bundle("WALLED")).encode()),
    ):
        answer = ours.call(method, f"/api/v1/{path}", body, headers)
        assert (answer.status, answer.problem) == (403, "forbidden"), (method, path, answer)
    assert shown(ours, "limited", "WALLED").status == 500
    ours.set("limited", {"secrets": ["WALLED", "MORE"]})
    fewer = ours.call("PATCH", "/api/v1/scripts/limited/settings", b'{"secrets": ["WALLED"]}', headers)
    assert (fewer.status, fewer.json["secrets"]) == (200, ["WALLED"])
    same = ours.call("PUT", "/api/v1/scripts/limited", json.dumps(bundle("WALLED")).encode(), headers)
    assert same.status == 201
    assert shown(ours, "limited", "WALLED").body.decode() == VALUE


def bundle(name: str) -> dict[str, dict[str, str]]:
    return {"files": {"main.lua": SHOW, "picloud.toml": f'[settings]\nsecrets = ["{name}"]\n'}}


@pytest.mark.parametrize("names", [["a-b"], [""], ["A" * 65], ["A\n"], [f"A{number}" for number in range(65)]])
def test_a_grant_that_cannot_be_is_refused(ours: Running, names: list[str]) -> None:
    deploy(ours, "misgranted", SHOW)
    answer = ours.api("PATCH", "scripts/misgranted/settings", {"secrets": names})
    assert (answer.problem, answer.json["errors"][0]["field"]) == ("invalid-request", "secrets")


def test_the_command_line_reads_values_from_standard_input(ours: Running) -> None:
    done = ours.cli("secret", "set", "PIPED", stdin=b"from a pipe\n")
    assert (done.returncode, done.stdout) == (
        0, b"PIPED is set; granted to no script yet: name it in a script's setting 'secrets' or 'webhook'\n",
    )  # fmt: skip
    deploy(ours, "piped", SHOW, "PIPED")
    assert shown(ours, "piped", "PIPED").body == b"from a pipe"
    assert ours.cli("secret", "set", "PIPED", stdin=b"anew").stdout == b"PIPED is set; granted to piped\n"
    listed = json.loads(ours.cli("secret", "ls", "--json").stdout)
    assert [it["scripts"] for it in listed if it["name"] == "PIPED"] == [["piped"]]
    assert ours.cli("secret", "rm", "PIPED").stdout == b"PIPED is forgotten\n"
    assert shown(ours, "piped", "PIPED").body == b"nil"


@pytest.mark.parametrize(
    ("arguments", "stdin", "status"),
    [
        (("set", "NAME=do-not-repeat-me"), b"", 2),
        (("set", "NAME"), b"\xff do-not-repeat-me", 1),
        (("set", "NAME"), b"", 1),
        (("rm", "NOT_THERE"), b"", 1),
    ],
)
def test_the_command_line_says_what_is_wrong_and_repeats_no_value(
    ours: Running, arguments: tuple[str, ...], stdin: bytes, status: int
) -> None:
    done = ours.cli("secret", *arguments, stdin=stdin)
    assert (done.returncode, done.stdout) == (status, b"")
    assert done.stderr
    assert b"do-not-repeat-me" not in done.stderr
    assert b"Traceback" not in done.stderr


def test_on_a_terminal_a_value_is_asked_for_and_not_shown(ours: Running) -> None:
    primary, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ASK, "secret", "set", "TYPED"],
        env=ours.environment, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    seen = read_until(primary, b"Value of TYPED: ")
    os.write(primary, b"typed-and-unseen\n")
    seen += read_until(primary, b"TYPED is set")
    assert process.wait(30) == 0
    os.close(primary)
    assert b"typed-and-unseen" not in seen
    deploy(ours, "typed", SHOW, "TYPED")
    assert shown(ours, "typed", "TYPED").body == b"typed-and-unseen"


# Our standard input becomes the terminal that passwords are asked for on.
ASK = """import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from picloud.cli import main
main()"""


def read_until(descriptor: int, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        seen += os.read(descriptor, 1024)
    return seen


def test_the_key_is_replaced_while_scripts_go_on(ours: Running) -> None:
    keep(ours, "ROTATED")
    deploy(ours, "rotated", SHOW, "ROTATED")
    ours.set("rotated", {"secrets": ["ROTATED"], "limits": {"wall_ms": 60_000}})
    key, done = ours.data / "secret.key", threading.Event()
    keys, statuses = {key.read_text()}, set()

    def ask() -> None:
        while not done.is_set():
            answer = shown(ours, "rotated", "ROTATED")
            statuses.add((answer.status, answer.body.decode()))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for number in range(3):
            rotated = ours.cli("secret", "rotate-key")
            assert rotated.returncode == 0, rotated
            keys.add(key.read_text())
            keep(ours, "AFTER", f"value {number}")
    finally:
        done.set()
        asking.join()
    assert len(keys) == 4
    assert statuses == {(200, VALUE)}
    ours.set("rotated", {"secrets": ["AFTER"]})
    assert {it.body for it in ours.at_once(8, "GET", "/fn/rotated?name=AFTER")} == {b"value 2"}
    assert key.stat().st_mode & 0o777 == 0o600


def test_what_is_sealed_outlives_a_restart_and_a_rotation_while_it_is_down(fresh_data: Path) -> None:
    with running(fresh_data) as picloud:
        keep(picloud, "LASTING")
        deploy(picloud, "lasting", SHOW, "LASTING")
    key = fresh_data / "secret.key"
    assert key.stat().st_mode & 0o777 == 0o600
    before = key.read_text()
    done = picloud.cli("secret", "rotate-key")
    assert (done.returncode, done.stdout.startswith(b"1 secrets are sealed with the new key of ")) == (0, True), done
    assert key.read_text() != before
    with running(fresh_data) as picloud:
        assert shown(picloud, "lasting", "LASTING").body.decode() == VALUE


def test_a_key_file_that_others_can_read_stops_the_start(fresh_data: Path) -> None:
    with running(fresh_data):
        pass
    (fresh_data / "secret.key").chmod(0o644)
    refused = Running(fresh_data, {}).cli("up")
    assert refused.returncode == 2
    assert b"can be read or written by others (mode 0644): chmod 600" in refused.stderr


def test_without_its_key_file_a_server_goes_on_and_takes_it_back(fresh_data: Path) -> None:
    with running(fresh_data) as picloud:
        keep(picloud, "KEPT")
        deploy(picloud, "kept", f"if ... then end {SHOW}", "KEPT")
    key, away = fresh_data / "secret.key", fresh_data / "away.key"
    key.rename(away)
    picloud = Running(fresh_data, {})
    picloud.stderr = subprocess.DEVNULL
    picloud.start()
    try:
        refused = shown(picloud, "kept", "KEPT")
        assert "'KEPT' cannot be opened with the key that this server has" in refused.json["detail"]
        assert str(fresh_data) not in refused.body.decode()
        assert not key.exists()
        away.rename(key)
        assert shown(picloud, "kept", "KEPT").body.decode() == VALUE
    finally:
        picloud.stop()


def test_the_key_may_come_from_a_credential_of_systemd_or_from_a_file_of_ones_own(
    fresh_data: Path, tmp_path: Path
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    key = credentials / "picloud-secret-key"
    key.touch(0o600)
    key.write_bytes(b64encode(bytes(range(32))) + b"\n")
    for environment in ({"CREDENTIALS_DIRECTORY": str(credentials)}, {"PICLOUD_SECRET_KEY_FILE": str(key)}):
        with running(fresh_data, **environment) as picloud:
            keep(picloud, "GIVEN")
            deploy(picloud, "given", SHOW, "GIVEN")
            assert shown(picloud, "given", "GIVEN").body.decode() == VALUE
        assert not (fresh_data / "secret.key").exists()


def test_a_key_file_that_is_named_and_missing_stops_the_start(fresh_data: Path, tmp_path: Path) -> None:
    refused = Running(fresh_data, {"PICLOUD_SECRET_KEY_FILE": str(tmp_path / "none")}).cli("up")
    assert (refused.returncode, b"is missing" in refused.stderr) == (2, True), refused
