"""A real systemd for a test: `systemd-nspawn` boots it over a throw-away overlay of this machine. Wants root.

Nothing is built and nothing of this machine is changed: what is written lies on a tmpfs that is gone with the guest. It
has a network of its own with nothing but loopback, and a cgroup of its own in each hierarchy.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import prctl

from tests.running import PATIENCE_S

_LIMITS = ("memory", "pids", "cpu", "cpuacct", "devices")  # controllers of cgroup v1 that nspawn mounts read-only
_POWER_OFF = signal.SIGRTMIN + 4  # what systemd as init takes for `systemctl poweroff`
_COMES_UP = ("caddy.service", "postgresql.service")  # of what this machine has enabled: as on any that has Debian's


class Guest:
    """One machine. `start` boots it, `stop` ends it; what was written stays until `close`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = folder / "root"
        self._cgroups: list[Path] = []
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> Self:
        _mount("-t", "tmpfs", "-o", "mode=755", "picloud-guest", str(self._folder))
        for name in ("upper", "work", "root"):
            (self._folder / name).mkdir(mode=0o755)
        layers = f"lowerdir=/,upperdir={self._folder}/upper,workdir={self._folder}/work"
        _mount("-t", "overlay", "-o", layers, "picloud-guest", str(self.root))
        (self.root / "etc/machine-id").write_text("")
        for wanted in (self.root / "etc/systemd/system").glob("*.wants/*"):
            if wanted.name not in _COMES_UP:
                wanted.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for place in (self.root, self._folder):
            subprocess.run(["umount", "--lazy", str(place)], check=True)

    def start(self) -> None:
        """Boot, and wait until it has."""
        self._cgroups = list(_own_cgroups())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            address = self._folder / "ready"
            address.unlink(missing_ok=True)
            ready.bind(str(address))
            self._nspawn = self._spawned(address)
            self._await(ready)
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        self._leader = next(int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text() == "systemd\n")
        self._let_limits_bite()

    def stop(self) -> None:
        """Shut it down as `poweroff` does."""
        self._end(self._leader, _POWER_OFF)

    def cut_power(self) -> None:
        """End it as a pulled plug does: nothing in it has a say."""
        self._end(self._leader, signal.SIGKILL)

    def run(
        self,
        *command: str,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        cwd: str = "/root",
    ) -> str:
        """Run a command in it as root → what it said, on both; AssertionError with that if it failed."""
        ended = self.ended(*command, stdin=stdin, env=env, cwd=cwd)
        said = (ended.stdout + ended.stderr).decode(errors="replace")
        assert not check or ended.returncode == 0, f"{command}: exit {ended.returncode}: {said}"
        return said

    def ended(
        self, *command: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None, cwd: str = "/root"
    ) -> "subprocess.CompletedProcess[bytes]":
        """The same, however it ends."""
        return subprocess.run(
            self.command(*command, cwd=cwd), env=_environment(env), input=stdin or b"", capture_output=True, check=False
        )

    def command(self, *command: str, cwd: str = "/root") -> list[str]:
        """What runs a command in it from outside, for who wants the process."""
        inside = ["nsenter", "-t", str(self._leader), *("-m", "-u", "-i", "-n", "-p", "-C", "-r")]
        return [*inside, "sh", "-c", 'cd "$0" && exec "$@"', cwd, *command]

    def file(self, path: str) -> Path:
        """A file of its disk. Those of its /run, /tmp, /proc are not here."""
        return self.root / path.lstrip("/")

    def path(self, path: str) -> Path:
        """The same of what is there while it runs, those included."""
        return Path(f"/proc/{self._leader}/root{path}")

    def _spawned(self, ready: Path) -> "subprocess.Popen[bytes]":
        def join() -> None:
            prctl.set_pdeathsig(signal.SIGTERM)  # it shuts the machine down, whatever became of us
            for cgroup in self._cgroups:
                (cgroup / "cgroup.procs").write_text("0")

        command = [
            *("systemd-nspawn", "-q", "-D", str(self.root), "--boot", "--register=no", "--keep-unit"),
            *("-M", f"picloud-{os.getpid()}", "--private-network", "--link-journal=no", "--console=read-only"),
            # systemd 252 does not know that landlock is harmless
            "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self",
            *("--notify-ready=yes", "systemd.unit=multi-user.target"),
        ]
        with (self._folder / "nspawn.log").open("ab") as log:
            return subprocess.Popen(
                command,
                env=_environment({"NOTIFY_SOCKET": str(ready)}),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=join, start_new_session=True,
            )  # fmt: skip

    def _await(self, ready: socket.socket) -> None:
        assert self._nspawn
        ended = os.pidfd_open(self._nspawn.pid)
        poller = select.poll()
        for descriptor in (ready.fileno(), ended):
            poller.register(descriptor, select.POLLIN)
        deadline = time.monotonic() + PATIENCE_S
        try:
            while events := dict(poller.poll(max(0.0, deadline - time.monotonic()) * 1000)):
                log = self._folder / "nspawn.log"
                assert ended not in events, f"systemd-nspawn ended before the machine was up: {log.read_text()}"
                if b"READY=1" in ready.recv(4096).split(b"\n"):
                    return
        finally:
            os.close(ended)
        raise AssertionError("the machine was not up in time")

    def _let_limits_bite(self) -> None:
        """nspawn mounts the controllers of cgroup v1 read-only, and systemd ignores limits then, silently."""
        for name in _LIMITS:
            if Path(f"/sys/fs/cgroup/{name}/cgroup.procs").exists():
                self.run("mount", "-o", "remount,bind,rw", f"/sys/fs/cgroup/{name}")
        self.run("systemctl", "daemon-reexec")

    def _end(self, leader: int, number: int) -> None:
        if not self._nspawn:
            return
        os.kill(leader, number)
        self._nspawn.wait(PATIENCE_S)
        self._nspawn, self._leader = None, 0
        for cgroup in self._cgroups:
            _remove(cgroup)


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **(more or {})}


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def _own_cgroups() -> Iterator[Path]:
    """A new cgroup below ours, in each hierarchy that is mounted here; all of one name, for nspawn has them in step."""
    own = f"picloud-guest-{os.getpid()}-{time.monotonic_ns()}"
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for mounted in _hierarchies(controllers):
            cgroup = mounted / path.lstrip("/") / own
            cgroup.mkdir()
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (cgroup / name).exists():
                    (cgroup / name).write_text((cgroup.parent / name).read_text())
            yield cgroup


def _hierarchies(controllers: str) -> Iterator[Path]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        wanted = set(controllers.split(",")) if controllers else set()  # none: that of cgroup v2
        if kind == ("cgroup" if wanted else "cgroup2") and wanted <= set(options.split(",")):
            yield Path(before.split(" ")[4])


def _remove(cgroup: Path) -> None:
    """With what systemd made in it; nobody is left in there."""
    for folder, _, _ in os.walk(cgroup, topdown=False):
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(folder)


@contextlib.contextmanager
def guest() -> Iterator[Guest]:
    """A machine that is up, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="picloud-guest-") as folder, Guest(Path(folder)) as machine:
        machine.start()
        yield machine


def assert_active(machine: Guest, units: Sequence[str]) -> None:
    """Each of these runs."""
    states = {unit: machine.run("systemctl", "is-active", unit, check=False).strip() for unit in units}
    assert set(states.values()) == {"active"}, states
