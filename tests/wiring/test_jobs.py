"""What the dispatcher is made of: its clock hears of jobs, its configuration is applied, and it knows no HTTP."""

import contextlib
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from picloud.errors import ConfigurationError, DatabaseUnavailable
from picloud.orchestrator import bell
from picloud.orchestrator.clock import Clock, Woken
from picloud.settings import ServerSettings
from picloud.storage.embedded import EmbeddedPostgres
from picloud.storage.jobs import ring
from picloud.storage.migrate import migrate
from picloud.storage.pool import Pool
from picloud.wiring.engine import Engine
from picloud.wiring.ground import Ground
from picloud.wiring.jobs import Jobs
from tests.running import PATIENCE_S, ROOT, eventually

FAT = (
    "falcon",
    "gunicorn",
    "gunicorn_h1c",
    "prometheus_client",
    "click",
    "rich",
    "picloud.manager.resources",
    "picloud.cli",
    "picloud.dashboard",
)
IMPORTED = "import sys, picloud.dispatcher; print(*sys.modules)"


class Notes:
    """A loop that only takes note of why it was woken."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.woken: SimpleQueue[Woken] = SimpleQueue()
        self.closed = False

    def run(self) -> None:
        while (woken := self._clock.wait(None)) is not Woken.STOPPED:
            self.woken.put(woken)

    def stop(self) -> None:
        self._clock.stop()

    def close(self) -> None:
        self.closed = True

    def hears(self) -> bool:
        """Waits for the next ring."""
        return self.woken.get(timeout=PATIENCE_S) is Woken.RUNG

    def forget(self) -> None:
        """What it has heard."""
        while not self.woken.empty():
            self.woken.get()


class Dispatching:
    """A dispatcher in a thread of ours, with a loop that takes notes."""

    def __init__(self, database: str, data: Path, apply: Callable[[], None]) -> None:
        self.notes: list[Notes] = []

        def loop(_settings: ServerSettings, _ground: Ground, _engine: Engine, clock: Clock) -> Notes:
            self.notes.append(Notes(clock))
            return self.notes[0]

        settings = ServerSettings(data=data, database_url=database)
        self.jobs = Jobs(settings, loop, lambda _settings, _ground: apply)
        self._thread = threading.Thread(target=self.jobs.run)

    def __enter__(self) -> "Dispatching":
        self.jobs.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.jobs.begin_stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self.jobs.stop()
        assert self.notes[0].closed


@pytest.fixture
def applied() -> SimpleQueue[None]:
    return SimpleQueue()


@pytest.fixture
def dispatching(database: str, tmp_path: Path, applied: SimpleQueue[None]) -> Iterator[Dispatching]:
    with Dispatching(database, tmp_path, lambda: applied.put(None)) as it:
        yield it


def rung(database: str) -> None:
    with contextlib.closing(Pool(database, size=1, wait_ms=5_000)) as pool:
        ring(pool)


def test_it_imports_nothing_of_http_and_nothing_of_the_command_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], env={"PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, check=True
    )
    names = done.stdout.decode().split()
    assert "picloud.orchestrator.loop" in names
    assert [name for name in FAT if name in names] == []


def test_it_hears_when_somebody_rings(dispatching: Dispatching, database: str) -> None:
    notes = dispatching.notes[0]
    assert notes.hears()  # when it began to listen, or of its own bell
    rung(database)
    assert notes.hears()


def test_it_looks_again_when_the_database_is_back(own_postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    migrate(own_postgres.dsn)
    with Dispatching(own_postgres.dsn, tmp_path, lambda: None) as it:
        assert it.notes[0].hears()
        own_postgres.stop()
        it.notes[0].forget()
        own_postgres.start()
        assert it.notes[0].hears()


def test_it_starts_and_stops_without_a_database(tmp_path: Path) -> None:
    with Dispatching(f"postgresql:///x?host={tmp_path}", tmp_path, lambda: None) as it:
        assert it.notes[0].woken.empty()


def test_the_configuration_is_applied_at_the_start_and_when_it_is_reloaded(
    dispatching: Dispatching, applied: SimpleQueue[None]
) -> None:
    applied.get(timeout=PATIENCE_S)
    dispatching.jobs.reload()
    applied.get(timeout=PATIENCE_S)


def test_a_configuration_that_could_not_be_applied_for_the_database_is_applied_later(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell, "_RETRY_S", 0.01)
    failures = [DatabaseUnavailable(), DatabaseUnavailable()]
    applied = threading.Event()

    def apply() -> None:
        if failures:
            raise failures.pop()
        applied.set()

    with Dispatching(database, tmp_path, apply):
        assert applied.wait(PATIENCE_S)


def test_a_configuration_that_is_wrong_is_told_and_ends_nothing(
    database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[str] = []

    def apply() -> None:
        tries.append("one")
        raise ConfigurationError("picloud.toml: schedule 1: no cron")

    with caplog.at_level(logging.ERROR), Dispatching(database, tmp_path, apply) as it:
        eventually(lambda: len(tries), lambda count: count == 1)
        it.jobs.reload()
        eventually(lambda: len(tries), lambda count: count == 2)
    assert "the configuration was not applied: picloud.toml: schedule 1: no cron" in caplog.text
