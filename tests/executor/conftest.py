"""Real executors as subprocesses, and ways to look at their processes and await their ends."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import sandbox
from picloud import model
from picloud.executor.client import NO_HOST_CALLS, HostCalls, SandboxClient
from picloud.settings import ServerSettings
from tests.deprived import ORDINARY, command_without
from tests.probing import probing_path

PATIENCE_S = float(os.environ.get("PICLOUD_TEST_PATIENCE_S", "60"))  # an emulated machine wants more
HERE = Path(__file__).parent
BREAKAGES = {"seccomp": "\nFilter.install = lambda self: None\n"}  # appended to a module of the untrusted side
_PATH = [str(Path(folder).absolute()) for folder in sys.path]


def program(source: str, **limits: int) -> model.Program:
    settings = model.Settings(limits=model.Limits(**limits))
    return model.Program("test", 1, {"main.lua": source.encode()}, settings)


def request(body: bytes = b"") -> model.Request:
    return model.Request("0", "POST", "/fn/test", "", (("accept", "*/*"),), body)


def await_end(pid: int) -> None:
    """Wait until a process that need not be a child of ours has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], PATIENCE_S)[0], f"{pid} still runs"
    finally:
        os.close(descriptor)


def status_of(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status; none if the process is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def name_of(pid: int) -> str:
    """What the kernel calls a process; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def children_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = entry.read_text()
        except OSError:
            continue
        state, parent = text.rpartition(")")[2].split()[:2]
        if int(parent) == pid and state != "Z":
            found.append(int(entry.parent.name))
    return sorted(found)


def _is_zygote(pid: int) -> bool:
    """Whether it is locked down and leads its session; a child just forked still has its name."""
    try:
        return name_of(pid) == "picloud-zygote" and os.getsid(pid) == pid
    except ProcessLookupError:
        return False


@dataclass
class Executor:
    """One running picloud-executor."""

    settings: ServerSettings
    process: subprocess.Popen[str]
    ready: socket.socket
    client: SandboxClient
    logs: list[model.LogLine] = field(default_factory=list)

    host_calls: HostCalls = NO_HOST_CALLS

    def run(self, source: str, body: bytes = b"", **limits: int) -> model.Run:
        return self.client.run(program(source, **limits), request(body), self.logs.append, self.host_calls)

    @property
    def zygote(self) -> int:
        """Its pid, once there is one: the orphans of a dead one are the supervisor's children for a moment, too."""
        until = time.monotonic() + PATIENCE_S
        while not (found := [pid for pid in children_of(self.process.pid) if _is_zygote(pid)]):
            assert time.monotonic() < until
        return found[0]

    @property
    def init_and_sandboxes(self) -> tuple[int, list[int]]:
        below = children_of(self.zygote)
        init = [pid for pid in below if name_of(pid) == "picloud-init"]
        return (init[0] if init else 0), [pid for pid in below if pid not in init]

    def await_rest(self) -> None:
        """Wait until the pool is full and every sandbox waits, confined; READY=1 comes when they are forked."""
        until = time.monotonic() + PATIENCE_S
        while not self._rests():
            assert time.monotonic() < until
            time.sleep(0.01)

    def _rests(self) -> bool:
        states = [status_of(pid) for pid in (self.zygote, *self.init_and_sandboxes[1])]
        confined = [it for it in states[1:] if it.get("Seccomp") == "2"]
        asleep = all(it.get("State", "").startswith("S") for it in states)
        return asleep and len(confined) == self.settings.pool_spare == len(states) - 1

    def await_ready(self) -> None:
        assert self.ready.recv(64) == b"READY=1"

    def stop(self) -> str:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=PATIENCE_S)[1]


@contextmanager
def load(executor: Executor) -> Iterator[list[model.Outcome]]:
    """Runs by eight callers, one after the other each, for the length of a block → how they ended."""
    outcomes: list[model.Outcome] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            outcomes.append(executor.run("return 1").outcome)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)


StartExecutor = Callable[..., Executor]


def _start(
    folder: Path, path: str, without: Sequence[str] = (), config: Path | None = None, **changes: object
) -> Executor:
    settings = ServerSettings(data=folder, **{"pool_spare": 4, "pool_max": 16, **changes})  # type: ignore[arg-type]
    ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ready.bind("")  # an abstract address that the kernel chooses
    ready.settimeout(PATIENCE_S)
    notify = "@" + ready.getsockname()[1:].decode()
    if "root" in without:
        folder.mkdir()
        os.chown(folder, ORDINARY, ORDINARY)
    process = subprocess.Popen(
        [*command_without(without), sys.executable, "-P", "-m", "picloud.executor.supervisor"],
        env={**_environment(settings, config), "PYTHONPATH": path, "NOTIFY_SOCKET": notify},
        stderr=subprocess.PIPE,
        text=True,
    )
    return Executor(settings, process, ready, SandboxClient(settings.executor_socket, queue_ms=int(PATIENCE_S * 1000)))


def _environment(settings: ServerSettings, config: Path | None) -> dict[str, str]:
    """The settings as they are given to a process; those that stand in a file are not given twice."""
    known = settings.environment()
    if config is None:
        return known
    in_file = tomllib.loads(config.read_text())["server"]
    return {name: value for name, value in known.items() if name.removeprefix("PICLOUD_").lower() not in in_file} | {
        "PICLOUD_CONFIG": str(config)
    }


def _hostile_path(folder: Path, broken: str) -> str:
    """A path on which `sandbox.lua` is hostile_lua.py, and all else ours."""
    package = folder / "sandbox"
    package.mkdir()
    for name in os.listdir(Path(sandbox.__file__).parent):
        (package / name).symlink_to(Path(sandbox.__file__).parent / name)
    (package / "lua.py").unlink(missing_ok=True)
    (package / "lua.py").symlink_to(HERE / "hostile_lua.py")
    if broken:
        original = (package / f"{broken}.py").read_text()
        (package / f"{broken}.py").unlink()
        (package / f"{broken}.py").write_text(original + BREAKAGES[broken])
    return os.pathsep.join([str(folder), *_PATH])


@pytest.fixture
def start_executor(tmp_path: Path) -> Iterator[StartExecutor]:
    """Start a real executor; with ``hostile=True`` its scripts are Python in a taken-over sandbox.

    ``without`` things that tests/deprived.py takes away.
    """
    started: list[Executor] = []

    def start(
        *,
        hostile: bool = False,
        probing: bool = False,
        broken: str = "",
        without: Sequence[str] = (),
        ready: bool = True,
        config: Path | None = None,
        **changes: object,
    ) -> Executor:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        path = _hostile_path(folder, broken) if hostile else os.pathsep.join(_PATH)
        path = probing_path(folder) if probing else path
        executor = _start(folder / "data", path, without, config, **changes)
        started.append(executor)
        if ready:
            executor.await_ready()
        return executor

    yield start
    for executor in started:
        executor.stop()
        executor.ready.close()


@pytest.fixture
def executor(start_executor: StartExecutor) -> Executor:
    return start_executor()


@pytest.fixture
def hostile(start_executor: StartExecutor) -> Executor:
    return start_executor(hostile=True)
