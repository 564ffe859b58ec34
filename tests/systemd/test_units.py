"""PiCloud as systemd runs it: what starts, stops and starts again, what each unit may do, and what nobody notices."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.running import ROOT, eventually
from tests.systemd.installed import CHECKOUT, SITE, SOCKETS, UNITS, Installed

pytestmark = pytest.mark.root

COUNTER = 'return function() return "" .. kv.incr("n") end'
APART = [f"picloud-{name}.{kind}" for name in ("manager", "orchestrator") for kind in ("service", "socket")]
EXPOSURE = dict.fromkeys([*UNITS, *APART[::2]], 25) | {"picloud-executor.service": 15}  # tenths, at most
RATE = 200  # requests a second


class Load:
    """What came of requests that went on while something happened."""

    answered = 0
    others: list[str]


@contextlib.contextmanager
def load(installed: Installed, path: str) -> Iterator[Load]:
    """Requests through Caddy for the length of a block."""
    command = ["/usr/bin/python3", f"{CHECKOUT}/tests/systemd/load.py", SITE, path, str(RATE)]
    process = subprocess.Popen(
        installed.machine.command(*command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "started\n"
    result = Load()
    try:
        yield result
    finally:
        said, _ = process.communicate(timeout=120)
    told = json.loads(said)
    result.answered, result.others = told["answered"], told["others"]


def count(installed: Installed) -> int:
    """How often the counter was called."""
    answer = installed.api("GET", "scripts/counter/kv/n")
    return int(answer.json) if answer.status == 200 else 0


def await_calls(installed: Installed, more: int) -> None:
    """Until so many more calls have been answered."""
    before = count(installed)
    eventually(lambda: count(installed), lambda now: now >= before + more)


def await_end(installed: Installed, pid: str) -> None:
    """Until a process of the machine is gone."""
    eventually(lambda: installed.machine.run("ps", "-o", "pid=", "-p", pid, check=False).strip(), lambda said: not said)


def test_start_brings_all_up_and_stop_takes_all_down(installed: Installed) -> None:
    installed.systemctl("stop", "picloud")
    eventually(lambda: set(installed.states(*UNITS, *SOCKETS).values()), lambda states: states == {"inactive"})
    assert not installed.machine.run("sh", "-c", "pgrep -u picloud,picloud-sandbox || true")
    installed.systemctl("start", "picloud")
    installed.await_ready()
    assert installed.call("GET", "/healthz").status == 200


@pytest.mark.parametrize("unit", [*UNITS, *SOCKETS, *APART])
def test_systemd_finds_nothing_wrong_with_a_unit(installed: Installed, unit: str) -> None:
    assert installed.machine.run("systemd-analyze", "verify", "--man=no", unit) == ""


@pytest.mark.parametrize("unit", EXPOSURE)
def test_what_a_unit_is_exposed_to_is_bounded(installed: Installed, unit: str) -> None:
    installed.machine.run("systemd-analyze", "security", f"--threshold={EXPOSURE[unit]}", unit)


def test_the_executor_has_no_network_and_no_files_but_its_own(installed: Installed) -> None:
    pid = installed.main_pid("picloud-executor.service")
    interfaces = installed.machine.run("cat", f"/proc/{pid}/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    inside = installed.machine.path(f"/proc/{pid}/root")
    assert {path.name for path in (inside / "etc").iterdir()} <= {"group", "ld.so.cache", "passwd", "picloud"}
    assert {path.name for path in (inside / "etc/picloud").iterdir()} <= {"picloud.toml", "secret.key"}
    own = ("nsenter", "-t", str(pid), "-m", "setpriv", "--reuid=picloud-sandbox", "--clear-groups")
    assert "Permission denied" in installed.machine.run(*own, "cat", "/etc/picloud/secret.key", check=False)
    assert {path.name for path in (inside / "run").iterdir()} <= {"picloud-executor", "systemd"}
    assert [path.name for path in (inside / "var").rglob("*")] in ([], ["tmp"])  # its own, and empty
    assert not (inside / "home").exists()


def test_no_process_runs_as_root(installed: Installed) -> None:
    users = set()
    for unit in UNITS:
        group = installed.systemctl("show", "--property=ControlGroup", "--value", unit).strip()
        pids = installed.machine.run("sh", "-c", f"cat /sys/fs/cgroup/*{group}/cgroup.procs").split()
        users |= set(installed.machine.run("ps", "-o", "user:32=", "-p", ",".join(pids)).split())
    assert users == {"picloud", "picloud-sandbox"}


@pytest.mark.parametrize("unit", UNITS)
def test_what_is_killed_is_started_again(installed: Installed, unit: str) -> None:
    pid = installed.main_pid(unit)
    installed.machine.run("kill", "-KILL", str(pid))
    eventually(lambda: installed.main_pid(unit), lambda now: now not in (0, pid))
    installed.await_ready()
    installed.deploy("after", "return 'yes'")
    assert installed.call("GET", "/fn/after").body == b"yes"
    job = installed.call("POST", "/fn/after", b"", {"prefer": "respond-async"})
    where = job.header("location")
    assert where
    path = where.removeprefix("/api/v1/")
    eventually(lambda: installed.api("GET", path).json["state"], lambda state: state == "done")


@pytest.mark.parametrize("verb", ["reload", "restart"])
def test_nobody_notices_a(installed: Installed, verb: str) -> None:
    installed.deploy("counter", COUNTER)
    before = count(installed)
    with load(installed, "/fn/counter") as seen:
        await_calls(installed, 100)
        for _ in range(2):
            workers = installed.machine.run("pgrep", "-P", str(installed.main_pid("picloud.service")))
            installed.systemctl(verb, "picloud")
            for pid in workers.split():
                await_end(installed, pid)
            await_calls(installed, 100)
    assert seen.others == []
    assert seen.answered == count(installed) - before >= 300


def test_a_reload_has_the_configuration_used(installed: Installed) -> None:
    settings = installed.machine.file("/etc/picloud/picloud.toml")
    before = settings.read_text()
    schedule = '\n[[schedule]]\nname = "from-file"\nscript = "after"\nevery = "1 hour"\n'
    try:
        settings.write_text(before.replace("[server]\n", "[server]\nworkers = 3\npool_spare = 3\n", 1) + schedule)
        installed.systemctl("reload", "picloud")
        server, executor = (installed.main_pid(unit) for unit in UNITS[:2])
        eventually(lambda: installed.machine.run("pgrep", "-c", "-P", str(server)).strip(), lambda it: it == "3")
        eventually(lambda: installed.api("GET", "schedules/from-file").status, lambda status: status == 200)
        sandboxes = f"pgrep -c -P $(pgrep -P {executor}) -x picloud-sandbox || true"
        eventually(lambda: installed.machine.run("sh", "-c", sandboxes).strip(), lambda it: it == "3")
    finally:
        settings.write_text(before)
        installed.systemctl("reload", "picloud")
    eventually(lambda: installed.api("GET", "schedules/from-file").status, lambda status: status == 404)
    installed.await_ready()


def test_the_journal_has_an_entry_with_the_invocation_of_a_sandbox_that_was_ended(installed: Installed) -> None:
    installed.deploy("waiting", 'log.info("began") kv.get("k") while true do end')
    with ThreadPoolExecutor(1) as threads:
        answering = threads.submit(installed.call, "GET", "/fn/waiting")
        executor = installed.main_pid("picloud-executor.service")
        eventually(lambda: busiest(installed), bool)
        installed.machine.run("sh", "-c", f"kill -KILL $(pgrep -P {executor})")
        answer = answering.result()
    assert answer.problem == "executor-lost"
    invocation = answer.header("picloud-invocation")
    eventually(
        lambda: installed.journal(f"PICLOUD_INVOCATION={invocation}", "PICLOUD_SCRIPT=waiting"),
        lambda said: "'waiting' version 1: executor-lost" in said,
    )
    installed.await_ready()


def busiest(installed: Installed) -> bool:
    """Whether a sandbox computes: it has used a tick of the processor."""
    said = installed.machine.run("ps", "-C", "picloud-sandbox", "-o", "cputimes=", check=False)
    return any(int(word) > 0 for word in said.split())


def test_the_services_apart_take_its_place_and_give_it_back(installed: Installed) -> None:
    apart = ("picloud-manager", "picloud-orchestrator")
    installed.deploy("whole", "return 'whole'")
    try:
        installed.systemctl("start", *apart)
        expected = ["active", "active", "inactive"]
        eventually(lambda: [*installed.states(*apart, "picloud.service").values()], lambda states: states == expected)
        ask = ("curl", "-s", "--unix-socket")
        assert installed.machine.run(*ask, "/run/picloud/orchestrator.sock", "http://x/fn/whole") == "whole"
        told = installed.machine.run(*ask, "/run/picloud/manager.sock", "http://x/fn/whole")
        assert "picloud-orchestrator" in told
        assert "whole" in installed.machine.run(
            *(*ask, "/run/picloud/manager.sock", "-H", f"authorization: Bearer {installed.token}"),
            "http://x/api/v1/scripts",
        )
    finally:
        installed.systemctl("stop", *apart, *(f"{name}.socket" for name in apart))
        installed.systemctl("start", "picloud")
    installed.await_ready()
    assert installed.call("GET", "/fn/whole").body == b"whole"


def test_what_serves_is_confined_alike() -> None:
    """The units of the services apart hold what the whole's holds."""
    confined = {}
    for name in ("picloud", "picloud-dispatcher", "picloud-manager", "picloud-orchestrator"):
        text = (ROOT / f"systemd/{name}.service").read_text()
        confined[name] = text[text.index("# What it may do") :].partition("[Install]")[0].rstrip()
    assert len(set(confined.values())) == 1


def test_a_setting_that_is_none_is_named_and_once_it_is_mended_all_serves_again(installed: Installed) -> None:
    settings = installed.machine.file("/etc/picloud/picloud.toml")
    before = settings.read_text()
    try:
        settings.write_text(before.replace("drain_ms", "dran_ms"))
        installed.machine.run("systemctl", "restart", "picloud", check=False)
        restarts = restarts_of(installed)
        eventually(lambda: restarts_of(installed), lambda now: now >= restarts + 2)
        status = ("systemctl", "status", "--lines=20", "picloud")  # of this try, which may have said nothing yet
        eventually(
            lambda: installed.machine.run(*status, check=False),
            lambda said: "dran_ms is not a setting; did you" in said,
        )
    finally:
        settings.write_text(before)
    installed.await_ready()
    assert not installed.machine.run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "picloud*")


def restarts_of(installed: Installed) -> int:
    """How often systemd has started the server again by itself."""
    return int(installed.systemctl("show", "--property=NRestarts", "--value", "picloud"))


def test_folders_that_were_removed_are_made_again(installed: Installed) -> None:
    installed.machine.run("rm", "-rf", "/run/picloud", "/run/picloud-executor")
    installed.systemctl("stop", "picloud")
    eventually(lambda: set(installed.states(*UNITS, *SOCKETS).values()), lambda states: states == {"inactive"})
    installed.systemctl("start", "picloud")
    installed.await_ready()
    installed.deploy("back", "return 'back'")
    assert installed.call("GET", "/fn/back").body == b"back"
