"""A whole PiCloud is backed up while it serves, and another one made of that answers as it did."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from picloud.auth import Scope
from picloud.sealing import KeyFile
from picloud.storage.embedded import EmbeddedPostgres
from tests.fixtures_postgres import execute
from tests.manager.bodies import tar_of
from tests.queued import dead, sent
from tests.running import Running, eventually, running
from tests.sending import job, send_jobs
from tests.storage.test_dump import DEBIANS

SECRET = "kept/apart"
FAR = {"cron": "0 3 29 2 *"}
HOUR_MS = 3_600_000

SHOP = {
    "main.lua": b"""local price = require "lib.price"
      return function(request)
        if request.params.rest == "page" then return files.read("page.html") end
        return { count = kv.incr("calls"), price = price(request.params.item or "tea"), tax = env.TAX }
      end""",
    "lib/price.lua": b"return function(item) return #item * 10 end",
    "page.html": "<h1>schön</h1>".encode(),
    "picloud.toml": b"""
      [[route]]
      method = "GET"
      path = "/shop/{item}"
      [[subscription]]
      type = "order.*"
      """,
}
OPENS = "return function() return (secrets.get('MAIL_KEY')) or 'no secret' end"
WAITS = "return function() while env.GO ~= '1' do end kv.set('ran', true) end"
ASKED = ("/shop/coffee", "/fn/shop/page", "/single", "/fn/single", "/fn/fails")
LISTED = ("scripts", "routes", "schedules", "subscriptions", "secrets", "events", "dead-letters", "scripts/single/kv",
          "scripts/single/versions", "scripts/shop/versions/1?source=true", "scripts/shop/settings",
          "invocations?script=single", "logs?script=single")  # fmt: skip


def made(picloud: Running, method: str, path: str, body: Any, content_type: str = "application/json") -> None:
    answer = picloud.api(method, path, body, content_type)
    assert answer.status in (200, 201, 202), answer


def fill(picloud: Running) -> None:
    """One of everything."""
    made(picloud, "PUT", "secrets/MAIL_KEY", {"value": SECRET})
    made(picloud, "PUT", "scripts/shop", tar_of(SHOP), "application/x-tar")
    picloud.set("shop", {"env": {"TAX": "7"}, "limits": {"wall_ms": 9000}})
    for version in ("one", "two", "three"):
        picloud.deploy("single", f"log.info('{version}') return '{version}'")
    made(picloud, "PUT", "scripts/single/active", {"version": 2})
    picloud.deploy("opens", OPENS)
    picloud.set("opens", {"secrets": ["MAIL_KEY"], "access": "token"})
    picloud.deploy("waits", WAITS)
    picloud.set(
        "waits", {"limits": {"wall_ms": 300_000, "cpu_ms": 300_000}, "retry": {"backoff_ms": 1, "max_attempts": 50}}
    )
    picloud.deploy("fails", "error('on purpose')")
    made(picloud, "POST", "routes", {"method": "GET", "path": "/single", "script": "single"})
    made(picloud, "PUT", "schedules/leap", {"script": "single", **FAR})
    made(picloud, "PUT", "schedules/often", {"script": "single", **FAR, "missed": "skip"})
    made(picloud, "PUT", "scripts/single/kv/bytes", b"\0\xff\\.\n", "application/octet-stream")
    made(picloud, "POST", "events", {"specversion": "1.0", "id": "1", "source": "/till", "type": "other"},
         "application/cloudevents+json")  # fmt: skip
    sent(picloud.database_url, "single", delay_ms=HOUR_MS, key="later")
    dead(picloud.database_url, "fails")
    picloud.record_of(picloud.call("GET", "/fn/single"))


def seen(picloud: Running) -> dict[str, Any]:
    """What somebody sees of it who asks."""
    answers = {path: (answer.status, answer.body) for path in ASKED for answer in [picloud.call("GET", path)]}
    count = json.loads(answers["/shop/coffee"][1])["count"]
    answers["/shop/coffee"] = (200, answers["/shop/coffee"][1].replace(b"%d" % count, b"N"))
    problems = {path: json.loads(body) for path, (status, body) in answers.items() if status >= 400}
    kept = {path: (500, problem["detail"].encode()) for path, problem in problems.items()}
    return answers | kept


def listed(picloud: Running) -> dict[str, Any]:
    return {path: picloud.api("GET", path).json for path in LISTED}


def is_recorded(found: dict[str, Any]) -> bool:
    """Whether every run of `single` is written down: records come in batches."""
    return [len(found[path]["items"]) for path in ("invocations?script=single", "logs?script=single")] == [3, 3]


def opened(picloud: Running, token: str) -> bytes:
    return picloud.call("GET", "/fn/opens", headers={"authorization": f"Bearer {token}"}).body


@dataclass
class Taken:
    """A backup, and what it is of."""

    file: Path
    said: str
    key: Path
    token: str
    listed: dict[str, Any]
    seen: dict[str, Any]
    calls: int


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taken]:
    folder = tmp_path_factory.mktemp("backup")
    with running(folder / "data") as picloud:
        fill(picloud)
        token = picloud.new_token(Scope.INVOKE)
        assert opened(picloud, token) == SECRET.encode()
        answers = seen(picloud)
        send_jobs(picloud.database_url, job("waits"))
        eventually(picloud.computing, bool)  # the job runs while the backup is made
        facts = eventually(lambda: listed(picloud), is_recorded)
        file = folder / "it.picloud"
        with served_meanwhile(picloud):
            done = picloud.cli("backup", str(file))
        assert done.returncode == 0, done.stderr
        (calls,) = picloud.api("GET", "scripts/shop/kv?prefix=calls").json["items"]
        yield Taken(file, done.stdout.decode(), picloud.data / "secret.key", token, facts, answers, calls["value"])


@contextlib.contextmanager
def served_meanwhile(picloud: Running) -> Iterator[None]:
    """Requests that write go on in this block, and none of them fails."""
    over, answered = threading.Event(), []

    def ask() -> None:
        while not over.is_set():
            answered.append(picloud.call("GET", "/shop/tea").status)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()
    assert {*answered} == {200}


def test_a_backup_says_what_it_is_and_has_no_key(taken: Taken) -> None:
    assert stat.S_IMODE(taken.file.stat().st_mode) == 0o600
    assert {path.name for path in taken.file.parent.iterdir()} == {"data", "it.picloud"}, "nothing half is left"
    with tarfile.open(taken.file) as tar:
        assert tar.getnames() == ["manifest.json", "database.dump", "SHA256SUMS"]
        tar.extractall(taken.file.parent / "out", filter="data")
    manifest = json.loads((taken.file.parent / "out" / "manifest.json").read_text())
    assert (manifest["format"], manifest["rows"]["scripts"], manifest["rows"]["secrets"]) == (1, 5, 1)
    assert manifest["key"] == {"file": str(taken.key), "fingerprints": KeyFile(taken.key).fingerprints()}
    assert f"{taken.key} ({manifest['key']['fingerprints'][0]})" in taken.said
    subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=taken.file.parent / "out", check=True, capture_output=True)
    for hidden in (SECRET.encode(), taken.key.read_bytes().strip(), taken.token.encode()):
        assert all(hidden not in path.read_bytes() for path in (taken.file.parent / "out").iterdir())


@contextlib.contextmanager
def another_machine(folder: Path, postgres: str) -> Iterator[dict[str, str]]:
    """The environment of a PiCloud with a PostgreSQL that nobody used: its own, or Debian's, which is older."""
    own = {"PICLOUD_DATA": str(folder / "data")}
    (folder / "data").mkdir(mode=0o700)
    if postgres == "embedded":
        yield own
        return
    data = folder / "theirs"
    data.mkdir()
    server = EmbeddedPostgres(data, Path(f"/tmp/picloud-{os.getpid()}-theirs"), binaries=DEBIANS, fsync=False)
    try:
        yield {**own, "PICLOUD_DATABASE_URL": server.start()}
    finally:
        server.stop()
        server._socket_dir.rmdir()


@pytest.mark.parametrize("postgres", ["embedded", "debian"])
def test_another_machine_answers_as_this_one_did(taken: Taken, tmp_path: Path, postgres: str) -> None:
    with another_machine(tmp_path, postgres) as environment:
        there = Running(tmp_path / "data", environment)
        (tmp_path / "data" / "secret.key").write_bytes(taken.key.read_bytes())
        (tmp_path / "data" / "secret.key").chmod(0o600)
        done = there.cli("restore", str(taken.file))
        assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
        assert b"restored the PiCloud of " in done.stdout
        with running(tmp_path / "data", **environment) as restored:
            calls = restored.api("GET", "scripts/shop/kv?prefix=calls").json["items"][0]["value"]
            assert 0 < calls <= taken.calls
            assert listed(restored) == taken.listed
            assert seen(restored) == taken.seen
            assert opened(restored, taken.token) == SECRET.encode()
            assert restored.api("GET", "jobs?state=queued&script=single").json["items"][0]["key"] == "later"
            run_again(restored)


def run_again(restored: Running) -> None:
    """The job that ran while the backup was made begins anew."""
    eventually(restored.computing, bool)
    assert restored.api("PATCH", "scripts/waits/settings", {"env": {"GO": "1"}}).status == 200

    def ran() -> bool:
        for sandbox in restored.computing():  # with the settings of before
            with contextlib.suppress(ProcessLookupError):
                os.kill(sandbox, signal.SIGKILL)
        return restored.api("GET", "scripts/waits/kv/ran").status == 200

    eventually(ran, bool)


def test_with_another_key_secrets_stay_closed_and_what_was_due_meanwhile_is_missed(
    taken: Taken, tmp_path: Path
) -> None:
    with another_machine(tmp_path, "debian") as environment:
        there = Running(tmp_path / "data", environment)
        KeyFile(tmp_path / "data" / "secret.key").create()
        done = there.cli("restore", str(taken.file))
        warning = " ".join(done.stderr.decode().split())
        assert done.returncode == 0
        assert f"{tmp_path / 'data' / 'secret.key'} is another key than that of the backup" in warning
        assert KeyFile(taken.key).fingerprints()[0] in warning
        assert "MAIL_KEY" in warning
        assert "these scripts get none: opens." in warning
        dsn = environment["PICLOUD_DATABASE_URL"]
        execute(dsn, "DELETE FROM jobs WHERE script = 'waits'")
        execute(
            dsn, "UPDATE schedules SET cron = '* * * * *', next_due = now() - interval '3 days' WHERE name = 'often'"
        )
        with running(tmp_path / "data", **environment) as restored:
            assert SECRET.encode() not in opened(restored, taken.token)
            path = "schedules/often/slots?state=missed"
            (slot,) = eventually(lambda: restored.api("GET", path).json["items"], bool)
            assert slot["count"] > 3 * 24 * 60 - 2
            done = restored.cli("restore", str(taken.file), "--replace", "--yes")
            assert (done.returncode, b"stop it on every node; nothing was done" in done.stderr) == (1, True)


def test_what_is_there_is_replaced_only_by_who_says_so(taken: Taken, tmp_path: Path) -> None:
    with running(tmp_path / "data") as ours:
        ours.deploy("mine", "return 'mine'")
        done = ours.cli("restore", str(taken.file), "--replace", "--yes")
        assert (done.returncode, b"stop it first; nothing was done" in done.stderr) == (1, True)
        ours.stop()
        refused = ours.cli("restore", str(taken.file))
        assert refused.returncode == 1
        assert b"not empty (there are rows in events, script_names, scripts," in refused.stderr
        unanswered = ours.cli("restore", str(taken.file), "--replace")
        assert (unanswered.returncode, b"Nothing was done." in unanswered.stderr) == (1, True)
        done = ours.cli("restore", str(taken.file), "--replace", stdin=b"y\n")
        assert done.returncode == 0, done.stderr
        ours.start()
        assert (ours.call("GET", "/fn/mine").status, ours.call("GET", "/fn/single").body) == (404, b"two")


def test_what_is_no_backup_is_refused_before_anything_is_touched(taken: Taken, tmp_path: Path) -> None:
    whole = taken.file.read_bytes()
    wrong = {
        "empty": b"", "short": whole[:4000], "cut": whole[:-1024], "longer": whole + b"x", "text": b"hello" * 500,
        "other": whole.replace(b"PGDMP", b"PGDMQ", 1), "newer": whole.replace(b'"format": 1', b'"format": 2'),
    }  # fmt: skip
    nobody = Running(tmp_path / "data", {})
    for name, content in wrong.items():
        (tmp_path / name).write_bytes(content)
        done = nobody.cli("restore", str(tmp_path / name))
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1), (name, done)
        assert done.stderr.startswith(b"error: "), name
    assert not (tmp_path / "data").exists()


def test_a_backup_goes_through_a_pipe(taken: Taken, tmp_path: Path) -> None:
    with another_machine(tmp_path, "embedded") as environment:
        there = Running(tmp_path / "data", environment)
        assert there.cli("restore", str(taken.file)).returncode == 0
        piped = there.cli("backup", "-")
        assert piped.returncode == 0
        assert b"standard output: scripts 5" in piped.stderr
        (tmp_path / "piped").write_bytes(piped.stdout)
        assert there.cli("restore", str(tmp_path / "piped"), "--replace", "--yes").returncode == 0


def test_a_backup_of_nothing_makes_nothing(tmp_path: Path) -> None:
    done = Running(tmp_path / "data", {}).cli("backup", str(tmp_path / "file"))
    assert (done.returncode, b"there is nothing to back up in " in done.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []
