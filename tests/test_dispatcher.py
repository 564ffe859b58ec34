"""The dispatcher's process: ready, reloaded, stopped with patience, and never ended by a database that is away."""

import contextlib
import logging
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from picloud import dispatcher
from picloud.dispatcher import Life
from picloud.executor.wakeups import Wakeups
from picloud.settings import load
from tests.running import PATIENCE_S, ROOT, eventually

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
DRAIN_S = 2.5


class Service:
    """Does nothing, and takes note of what it is told; `ends` is what ends its run."""

    def __init__(self, *ends: str) -> None:
        self._ends = ends
        self._over = threading.Event()
        self.told: list[str] = []
        self.error: Exception | None = None

    def start(self) -> None:
        self._tell("start")

    def run(self) -> None:
        self._over.wait(PATIENCE_S)
        if self.error:
            raise self.error

    def reload(self) -> None:
        self._tell("reload")

    def begin_stop(self) -> None:
        self._tell("begin_stop")

    def abort(self) -> None:
        self._tell("abort")

    def stop(self) -> None:
        self._tell("stop")

    def _tell(self, what: str) -> None:
        self.told.append(what)
        if what in self._ends:
            self._over.set()


@pytest.fixture
def signals() -> Iterator[Wakeups]:
    with Wakeups(SIGNALS) as it:
        yield it


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "_ABORT_S", 0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_is_told_to_stop_and_waits_for_what_runs(signals: Wakeups, number: signal.Signals) -> None:
    service = Service("begin_stop")
    life = Life(service, signals, drain_s=DRAIN_S)
    signal.raise_signal(number)
    assert life.run() == 0
    assert service.told == ["start", "begin_stop", "stop"]
    assert life.is_whole


@pytest.mark.usefixtures("hasty")
def test_what_takes_too_long_is_ended(signals: Wakeups) -> None:
    service = Service("abort")
    life = Life(service, signals, drain_s=0.05)
    signal.raise_signal(signal.SIGTERM)
    assert life.run() == 0
    assert service.told == ["start", "begin_stop", "abort", "stop"]
    assert life.is_whole


@pytest.mark.usefixtures("hasty")
def test_what_does_not_end_at_all_is_left(signals: Wakeups) -> None:
    service = Service("nothing ends it")
    life = Life(service, signals, drain_s=0.05)
    signal.raise_signal(signal.SIGTERM)
    assert life.run() == 0
    assert service.told == ["start", "begin_stop", "abort", "stop"]
    assert not life.is_whole


def test_a_second_signal_does_not_cut_the_wait_short(signals: Wakeups) -> None:
    service = Service("begin_stop")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.raise_signal(number)
    assert Life(service, signals, drain_s=DRAIN_S).run() == 0
    assert [what for what in service.told if what != "reload"] == ["start", "begin_stop", "stop"]


def test_a_hangup_reloads_and_ends_nothing(signals: Wakeups) -> None:
    class Reloading(Service):
        def reload(self) -> None:
            super().reload()
            signal.raise_signal(signal.SIGHUP if self.told.count("reload") < 3 else signal.SIGTERM)

    service = Reloading("begin_stop")
    signal.raise_signal(signal.SIGHUP)
    assert Life(service, signals, drain_s=DRAIN_S).run() == 0
    assert service.told == ["start", *["reload"] * 3, "begin_stop", "stop"]


def test_one_that_ends_by_itself_is_a_failure(signals: Wakeups, caplog: pytest.LogCaptureFixture) -> None:
    service = Service("start")
    service.error = RuntimeError("a fault")
    life = Life(service, signals, drain_s=DRAIN_S)
    with caplog.at_level(logging.ERROR):
        assert life.run() == 1
    assert service.told == ["start", "begin_stop", "stop"]
    assert not life.is_whole  # what it began may still be at work
    assert "no job is run any more" in caplog.text
    assert "a fault" in caplog.text


# ── the real one ────────────────────────────────────────────────────────────────────────────────────────────────────


class Process:
    """`python -m picloud.dispatcher`, as `picloud up` starts it."""

    def __init__(self, data: Path, database: str, arguments: Sequence[str] = (), **environment: str) -> None:
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notified.bind(str(data / "notify"))
        self._notified.settimeout(PATIENCE_S)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "picloud.dispatcher", *arguments],
            env={
                "PYTHONPATH": str(ROOT), "PICLOUD_DATA": str(data), "PICLOUD_DATABASE_URL": database,
                "NOTIFY_SOCKET": str(data / "notify"), **environment,
            },
            stderr=subprocess.PIPE, bufsize=0,
        )  # fmt: skip

    def says(self, state: bytes) -> bool:
        """Waits for the next thing that it says of itself."""
        return self._notified.recv(4096) == state

    def is_silent(self) -> bool:
        """Whether it has said nothing more."""
        return not select.select([self._notified], [], [], 0)[0]

    def end(self, number: int) -> tuple[int, bytes]:
        """Its exit status after a signal, and what it wrote."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, bytes]:
        written = self.process.communicate(timeout=PATIENCE_S)[1]
        return self.process.returncode, written

    def close(self) -> None:
        self._notified.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def short_data(short_dir: Path, tmp_path: Path) -> Path:
    """Room for a socket's name."""
    folder = short_dir / f"dispatcher-{tmp_path.name[-40:]}"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_is_ready_and_stops_when_it_is_told_to(
    short_data: Path, database: str, number: signal.Signals
) -> None:
    with contextlib.closing(Process(short_data, database)) as it:
        assert it.says(b"READY=1")
        it.process.send_signal(signal.SIGHUP)
        status, written = it.end(number)
        assert it.says(b"STOPPING=1")
    assert (status, b"Traceback" in written) == (0, False)


def test_a_database_that_is_away_ends_nothing(short_data: Path) -> None:
    with contextlib.closing(Process(short_data, f"postgresql:///x?host={short_data}")) as it:
        assert it.says(b"READY=1")
        assert it.process.stderr
        while b"no jobs are run for now" not in (line := it.process.stderr.readline()):
            assert line
        status, written = it.end(signal.SIGTERM)
    assert (status, b"Traceback" in written) == (0, False)


def test_a_wrong_setting_is_named_with_exit_2(short_data: Path) -> None:
    with contextlib.closing(Process(short_data, "", PICLOUD_JOBS_CONCURENCY="1")) as it:
        status, written = it.ended()
        assert it.is_silent()
    assert status == 2
    assert written == b"error: PICLOUD_JOBS_CONCURENCY is not a setting; did you mean PICLOUD_JOBS_CONCURRENCY?\n"


def test_a_database_that_cannot_be_one_is_a_wrong_setting_too(short_data: Path) -> None:
    with contextlib.closing(Process(short_data, "", PICLOUD_JOBS_CONCURRENCY="257")) as it:
        status, written = it.ended()
    assert (status, b"must be a whole number from 1 to 256" in written) == (2, True)


def test_it_begins_later_if_it_is_to(short_data: Path, database: str) -> None:
    with contextlib.closing(Process(short_data, database, ["--after", "0.2"])) as it:
        assert it.says(b"READY=1")
        assert it.end(signal.SIGTERM)[0] == 0


def test_until_then_it_does_nothing_and_can_be_stopped(short_data: Path, database: str) -> None:
    with contextlib.closing(Process(short_data, database, ["--after", "3600"])) as it:
        eventually(lambda: catches(it.process.pid, signal.SIGTERM), bool)
        assert not (short_data / "run").exists()
        it.process.send_signal(signal.SIGHUP)
        assert it.end(signal.SIGTERM) == (0, b"")
        assert it.is_silent()


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> (number - 1) & 1)


def test_a_hangup_with_other_settings_ends_it_once_its_jobs_have_ended(signals: Wakeups) -> None:
    service = Service("begin_stop")
    signal.raise_signal(signal.SIGHUP)
    assert Life(service, signals, drain_s=DRAIN_S, is_outdated=lambda: True).run() == 0
    assert service.told == ["start", "begin_stop", "stop"]


def test_settings_are_outdated_if_they_read_otherwise_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "picloud.toml"
    file.write_text("[server]\njobs_concurrency = 2\n")
    monkeypatch.setenv("PICLOUD_CONFIG", str(file))
    settings = load()
    assert not dispatcher._is_outdated(settings)
    file.write_text("[server]\njobs_concurrenci = 3\n")
    assert not dispatcher._is_outdated(settings)  # who cannot be read changes nothing
    file.write_text("[server]\njobs_concurrency = 3\n")
    assert dispatcher._is_outdated(settings)
