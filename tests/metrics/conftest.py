"""Measurements of this process and of others, in a folder of a test's own."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from picloud.metrics.exposition import text
from picloud.metrics.measuring import Measurements
from picloud.model import Invocation, Outcome, Trigger
from tests.samples import Samples, samples_of

OTHER_PROCESS = """
import sys
from pathlib import Path
from tests.metrics.conftest import invocation
from picloud.metrics.measuring import Measurements
ours = Measurements(Path(sys.argv[1]), "worker")
ours.meter("lookups", 4).used(0)
ours.start()
for script in sys.argv[2:]:
    ours.ended(invocation(script))
print(flush=True)
sys.stdin.read()
"""

Measure = Callable[[], Measurements]


class Others:
    """Processes that have counted one invocation of each of some scripts, and live until they are killed."""

    def __init__(self, folder: Path, held: ExitStack) -> None:
        self._folder = folder
        self._held = held

    def start(self, *scripts: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", OTHER_PROCESS, str(self._folder), *scripts]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._held.enter_context(process)
        self._held.callback(process.kill)
        assert process.stdout
        assert process.stdout.readline() == b"\n"
        return process

    def killed(self, *scripts: str) -> None:
        process = self.start(*scripts)
        process.kill()
        process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "metrics"


@pytest.fixture
def others(folder: Path) -> Iterator[Others]:
    with ExitStack() as held:
        yield Others(folder, held)


@pytest.fixture
def measure(folder: Path) -> Iterator[Measure]:
    """Starts measurements, as one more process of the node would."""
    with ExitStack() as held:

        def start() -> Measurements:
            ours = Measurements(folder, "worker")
            ours.start()
            held.callback(ours.stop)
            return ours

        yield start


def invocation(script: str, **fields: Any) -> Invocation:
    given = {
        "id": "0", "script": script, "version": 1, "trigger": Trigger.HTTP, "outcome": Outcome.OK, "status": 200,
        "started_at": datetime.now(UTC), "queue_ms": 1.0, "run_ms": 2.0, "cpu_ms": 1.5, "memory_bytes": 300_000,
        **fields,
    }  # fmt: skip
    return Invocation(**given)


def seen(ours: Measurements) -> Samples:
    return samples_of(text(ours, {}))
