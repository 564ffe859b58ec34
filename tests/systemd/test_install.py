"""A bare Debian becomes a PiCloud by `make install`, a newer one by the next, and bare again by `make uninstall`."""

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.running import PATIENCE_S, eventually
from tests.systemd.guest import Guest, assert_active, guest
from tests.systemd.installed import CHECKOUT, SOCKETS, UNITS, Installed
from tests.systemd.installing import (
    SOCKET,
    call,
    change,
    make,
    names,
    pids,
    postgres_folder,
    release_in_use,
    snapshot,
    token_in,
)

pytestmark = pytest.mark.root

HI = 'return function() return "hi " .. kv.incr("calls") end'

# Calls from four threads until there is a file `enough`: how many were answered with 200, and how all others ended.
CALLS = f"""
import collections, os, socket, threading, time
ends, until = collections.Counter(), time.monotonic() + {PATIENCE_S * 2}
def call():
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout({PATIENCE_S})
        caller.connect("{SOCKET}")
        caller.sendall(b"GET /fn/hi HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n\\r\\n")
        return b"".join(iter(lambda: caller.recv(65536), b"")).split(b"\\r\\n")[0].decode()
def calls():
    while not os.path.exists("/root/enough") and time.monotonic() < until:
        try:
            ends[call()] += 1
        except OSError as error:
            ends[repr(error)] += 1
        if sum(ends.values()) == 20:
            open("/root/begun", "w").close()
threads = [threading.Thread(target=calls) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(dict(ends))
"""


@pytest.fixture(scope="module")
def bare() -> Iterator[Guest]:
    """A machine with Debian's packages and a checkout."""
    with guest() as machine:
        Installed(machine).prepare()
        yield machine


@pytest.fixture(scope="module")
def first(bare: Guest) -> tuple[Guest, str]:
    """The machine, and what its first installation said. Each test leaves a PiCloud that answers."""
    return bare, make(bare, "install")


@pytest.fixture
def machine(first: tuple[Guest, str]) -> Guest:
    return first[0]


@contextlib.contextmanager
def called(machine: Guest) -> Iterator[None]:
    """Somebody calls all the while; each call is answered, with 200."""
    for name in ("enough", "begun"):
        machine.file(f"/root/{name}").unlink(missing_ok=True)
    process = subprocess.Popen(machine.command("/usr/bin/python3", "-c", CALLS), stdout=subprocess.PIPE)
    try:
        eventually(machine.file("/root/begun").exists, bool)
        yield
    finally:
        machine.file("/root/enough").touch()
        said = process.communicate()[0].decode()
    assert list(eval(said)) == ["HTTP/1.1 200 OK"], said


def test_a_check_of_a_bare_machine_says_what_would_be_done_and_does_nothing(bare: Guest) -> None:
    before = snapshot(bare, "/etc", "/usr/local/bin", "/usr/local/lib")
    said = make(bare, "install", "ARGS=--check")
    assert "users: would make users and groups: picloud, picloud-sandbox, picloud-http" in said
    assert "release: would start picloud.service" in said
    assert snapshot(bare, "/etc", "/usr/local/bin", "/usr/local/lib") == before
    assert not bare.file("/opt/picloud/current").is_symlink()
    assert "no such user" in bare.run("id", "picloud", check=False)


def test_an_installation_answers_and_shows_its_first_token_once(first: tuple[Guest, str]) -> None:
    machine, said = first
    assert_active(machine, [*UNITS, *SOCKETS, "caddy.service"])
    assert '"status":"ready"' in call(machine, "/readyz")
    token = {"PICLOUD_TOKEN": token_in(said)}
    machine.file("/root/hi.lua").write_text(HI)
    assert "version 1 is live" in machine.run("picloud", "deploy", "hi.lua", env=token)
    assert call(machine, "/fn/hi").startswith("hi ")
    assert token["PICLOUD_TOKEN"] not in machine.run("grep", "-rs", "pc_", "/etc", "/var/lib/picloud", check=False)


def test_what_is_secret_is_roots_and_what_runs_is_nobody_elses_to_write(machine: Guest) -> None:
    said = machine.run("stat", "-c", "%a %U:%G", "/etc/picloud/secret.key", "/etc/picloud/picloud.toml")
    assert said.splitlines() == ["600 root:root", "640 root:picloud"]
    assert (
        machine.run("find", "/opt/picloud", "(", "!", "-user", "root", "-o", "-perm", "/022", ")", "!", "-type", "l")
        == ""
    )
    assert machine.run("find", "/var/lib/picloud", "-maxdepth", "0", "-printf", "%m %u") == "700 picloud"


def test_a_second_run_changes_nothing_and_restarts_nothing(machine: Guest) -> None:
    before, running = snapshot(machine), pids(machine)
    said = make(machine, "install")
    assert "pc_" not in said
    done = [line for line in said.splitlines() if ": " in line and not line.endswith(": as it should be")]
    assert [line.split(":")[0] for line in done] == ["tuning", "PiCloud 0.1.0 is installed and runs"], said
    assert snapshot(machine) == before
    assert pids(machine) == running


def test_a_check_changes_nothing_whoever_asks(machine: Guest) -> None:
    before, running = snapshot(machine), pids(machine)
    machine.run("picloud", "install", "--check", "--tune-postgres", "--site", "cloud.example.org")
    as_nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    assert "root alone" in machine.run(*as_nobody, "picloud", "install", "--check", cwd="/")
    refused = machine.ended(*as_nobody, "picloud", "install", cwd="/")
    assert (refused.returncode, b"only root can do this: put sudo before it" in refused.stderr) == (1, True)
    assert snapshot(machine) == before
    assert pids(machine) == running


def test_root_administers_from_the_command_line(machine: Guest) -> None:
    assert "nothing to do" in machine.run("picloud", "migrate")
    assert "sealed with the new key of /etc/picloud/secret.key" in machine.run("picloud", "secret", "rotate-key")
    said = machine.run("stat", "-c", "%a %U:%G", "/etc/picloud/secret.key")
    assert said.strip() == "600 root:root"


def test_an_upgrade_under_load_fails_no_request_and_keeps_all_and_there_is_a_way_back(machine: Guest) -> None:
    token = {"PICLOUD_TOKEN": token_in(machine.run("picloud", "install", "--new-token"))}
    machine.file("/root/hi.lua").write_text(HI)
    machine.run("picloud", "deploy", "hi.lua", env=token)
    was, settings = release_in_use(machine), machine.file("/etc/picloud/picloud.toml")
    settings.write_text(
        settings.read_text().replace("# queue_ms = 1000", "queue_ms = 30000")
    )  # others use this machine
    kept = settings.read_text()
    change(machine, "picloud/__init__.py", "0.1.0", "0.2.0")
    with called(machine):
        said = make(machine, "install")
    assert "PiCloud 0.2.0 is installed and runs" in said
    assert "pc_" not in said
    assert machine.run("picloud", "--version").strip().endswith("0.2.0")
    assert "hi" in machine.run("picloud", "ls", env=token)
    assert settings.read_text() == kept
    with called(machine):
        back = machine.run("picloud", "install", "--rollback")
    assert f"PiCloud 0.1.0 runs again: release {was}" in back
    assert release_in_use(machine) == was
    change(machine, "picloud/__init__.py", "0.2.0", "0.1.0")


def test_a_release_that_does_not_start_is_taken_back_and_says_why(machine: Guest) -> None:
    was = release_in_use(machine)
    main = "picloud/server/__main__.py"
    change(machine, main, "def main() -> int:", 'raise SystemExit("broken on purpose")\ndef main() -> int:')
    said = make(machine, "install", check=False)
    change(machine, main, 'raise SystemExit("broken on purpose")\n', "")
    assert f"did not start; {was} is in use again" in said
    assert "broken on purpose" in said
    assert release_in_use(machine) == was
    assert_active(machine, UNITS)
    assert '"status":"ready"' in call(machine, "/readyz")


def test_a_release_that_was_broken_off_is_made_anew(machine: Guest) -> None:
    was = release_in_use(machine)
    mark = machine.file(f"/opt/picloud/releases/{was}/release.json")
    mark.unlink()
    (mark.parent / "bin/picloud").unlink()
    assert f"making release {was}" in make(machine, "install")
    assert mark.exists()
    assert_active(machine, UNITS)


def test_postgresql_is_tuned_only_if_the_operator_says_so(machine: Guest) -> None:
    tuned = machine.file(f"{postgres_folder(machine)}/conf.d/picloud.conf")
    assert not tuned.exists()
    machine.run("picloud", "install", "--tune-postgres")
    asked = ("runuser", "-u", "postgres", "--", "psql", "-Atc", "SHOW autovacuum_naptime")
    assert machine.run(*asked, cwd="/").strip() == "10min"
    machine.run("picloud", "install")
    assert tuned.exists(), "who does not say anything leaves it as it is"
    machine.run("picloud", "install", "--no-tune-postgres")
    assert machine.run(*asked, cwd="/").strip() == "1min"


def test_a_site_has_a_name_that_stays_and_a_caddyfile_of_the_operators_is_left_alone(machine: Guest) -> None:
    machine.run("picloud", "install", "--site", "cloud.example.org")
    machine.run("picloud", "install")
    assert "PICLOUD_SITE=cloud.example.org" in machine.run(
        "systemctl", "show", "--property=Environment", "caddy.service"
    )
    caddyfile = machine.file("/etc/caddy/Caddyfile")
    mine = caddyfile.read_text() + "# mine\n"
    caddyfile.write_text(mine)
    machine.run("picloud", "install")
    assert caddyfile.read_text() == mine


def test_a_release_that_changes_the_tables_says_so_and_there_is_no_way_back(machine: Guest) -> None:
    added = machine.file(f"{CHECKOUT}/picloud/storage/sql/9999_more.sql")
    added.write_text("CREATE TABLE more (id bigint PRIMARY KEY);")
    assert "changes the tables (9999_more)" in make(machine, "install")
    now = release_in_use(machine)
    refused = machine.ended("picloud", "install", "--rollback")
    assert (refused.returncode, b"has 9999_more, which this version does not know" in refused.stderr) == (2, True)
    assert release_in_use(machine) == now
    added.unlink()
    assert "has 9999_more, which this version does not know" in make(machine, "install", check=False)
    assert release_in_use(machine) == now
    assert_active(machine, UNITS)


def test_what_is_uninstalled_leaves_the_data_and_purged_leaves_nothing() -> None:
    with guest() as machine:
        Installed(machine).prepare()
        places = ("/etc", "/usr/local/bin", "/usr/local/lib", "/opt", "/var/lib")
        before, caddyfile = names(machine, *places), machine.file("/etc/caddy/Caddyfile").read_text()
        token = {"PICLOUD_TOKEN": token_in(make(machine, "install"))}
        machine.file("/root/hi.lua").write_text(HI)
        machine.run("picloud", "deploy", "hi.lua", env=token)
        key = machine.file("/etc/picloud/secret.key").read_text()
        machine.run("picloud", "install", "--uninstall")
        kept = {"/etc/picloud", "/etc/picloud/picloud.toml", "/etc/picloud/secret.key", "/var/lib/picloud"}
        assert {name for name in names(machine, *places) - before if "picloud" in name} == kept
        assert machine.file("/etc/caddy/Caddyfile").read_text() == caddyfile
        assert "pc_" not in make(machine, "install")
        assert call(machine, "/fn/hi") == "hi 1"
        assert machine.file("/etc/picloud/secret.key").read_text() == key
        make(machine, "uninstall", "PURGE=1")
        assert not {name for name in names(machine, *places) - before if "picloud" in name}
        assert machine.run("getent", "passwd", "picloud", "picloud-sandbox", check=False) == ""
        asked = "SELECT count(*) FROM pg_database, pg_roles WHERE datname = 'picloud' OR rolname = 'picloud'"
        assert machine.run("runuser", "-u", "postgres", "--", "psql", "-Atc", asked, cwd="/").strip() == "0"
