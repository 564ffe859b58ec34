"""`concurrency` is one number for the node: over all its workers, after one was killed, and changed while they run."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from tests.executor.conftest import await_end
from tests.running import Running, eventually, running

HOLD = """return function(request)
  local stop = os.clock() + (request.query.hold or 0)
  while os.clock() < stop do end
end"""
FOREVER = 1e9
WENT, REFUSED, RELEASED, BROKEN = 204, 429, 500, 0
SEQPACKET = "0005"  # as /proc/net/unix has it: a worker's end of a connection to a sandbox


class Runs:
    """Invocations at once, each in a thread, that last so many seconds of CPU, or until they are released."""

    def __init__(self, ours: Running, name: str, count: int, cpu_s: float = FOREVER) -> None:
        self._ours = ours
        self._path = f"/fn/{name}?hold={cpu_s}"
        self.ended: list[int] = []  # statuses; BROKEN: the worker was killed
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def all(self) -> list[int]:
        """The statuses of all, sorted, once they have ended."""
        for thread in self._threads:
            thread.join()
        return sorted(self.ended)

    def some(self, count: int) -> list[int]:
        """The statuses of so many that end by themselves, sorted."""
        eventually(lambda: len(self.ended), lambda ended: ended >= count, within_s=60)
        return sorted(self.ended)

    def _run(self) -> None:
        with contextlib.closing(HTTPConnection("127.0.0.1", self._ours.port)) as connection:
            try:
                connection.request("GET", self._path)
                self.ended.append(connection.getresponse().status)
            except (OSError, HTTPException):
                self.ended.append(BROKEN)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("crowded"), PICLOUD_QUEUE_MS="60000") as ours:
        yield ours


def deploy(ours: Running, name: str, concurrency: int) -> None:
    ours.deploy(name, HOLD)
    change(ours, name, concurrency)


def change(ours: Running, name: str, concurrency: int) -> None:
    ours.set(name, {"limits": {"concurrency": concurrency, "cpu_ms": 300_000, "wall_ms": 300_000}})


def held_by(worker: int) -> int:
    """How many sandboxes work for a worker at this moment."""
    links = set()
    with contextlib.suppress(FileNotFoundError):
        for entry in Path(f"/proc/{worker}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                links.add(os.readlink(entry))
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return len(links & {f"socket:[{row[6]}]" for row in rows if row[4] == SEQPACKET})


def await_held(ours: Running, count: int) -> dict[int, int]:
    """How many each worker has, once they are so many: the kernel's list may miss one while others change it."""
    return eventually(
        lambda: {worker: held_by(worker) for worker in ours.workers()}, lambda now: sum(now.values()) == count
    )


def release(ours: Running) -> None:
    """End all that run: their sandboxes are those that have used CPU."""

    def left() -> int:
        for pid in ours.named("picloud-sandbox"):
            if cpu_ticks(pid) >= 10:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return sum(map(held_by, ours.workers()))

    eventually(left, lambda count: count == 0, within_s=60)


def cpu_ticks(pid: int) -> int:
    """What a process has used, in hundredths of a second; 0 if it is gone."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0


def refused_of_ten(ours: Running, name: str) -> int:
    """Asked one after the other, so that nothing of theirs is in their way."""
    return [ours.call("GET", f"/fn/{name}").status for _ in range(10)].count(REFUSED)


@pytest.mark.parametrize("limit", [1, 4, 5])
def test_as_many_run_at_once_as_the_limit_says_and_not_one_more(ours: Running, limit: int) -> None:
    deploy(ours, "crowd", limit)
    fewer = Runs(ours, "crowd", limit - 1)
    await_held(ours, limit - 1)
    assert refused_of_ten(ours, "crowd") == 0
    last = Runs(ours, "crowd", 1)
    await_held(ours, limit)
    assert refused_of_ten(ours, "crowd") == 10
    release(ours)
    assert fewer.all() + last.all() == [RELEASED] * limit
    assert refused_of_ten(ours, "crowd") == 0


def test_of_more_than_the_limit_at_the_same_moment_so_many_run(ours: Running) -> None:
    deploy(ours, "rush", 5)
    runs = Runs(ours, "rush", 12)
    assert runs.some(7) == [REFUSED] * 7
    await_held(ours, 5)
    release(ours)
    assert runs.all() == [REFUSED] * 7 + [RELEASED] * 5


def test_what_a_killed_worker_held_is_free_at_once_and_no_more_than_that(ours: Running) -> None:
    deploy(ours, "bereft", 5)
    before = Runs(ours, "bereft", 5)
    held = await_held(ours, 5)
    victim, lost = max(held.items(), key=lambda it: it[1])
    os.kill(victim, signal.SIGKILL)
    await_end(victim)
    after = Runs(ours, "bereft", lost + 3)
    assert after.some(3) == [REFUSED] * 3
    assert before.some(lost) == [BROKEN] * lost
    await_held(ours, 5)
    eventually(lambda: len(ours.workers()), lambda count: count == 2)
    assert refused_of_ten(ours, "bereft") == 10
    release(ours)
    assert before.all() == [BROKEN] * lost + [RELEASED] * (5 - lost)
    assert after.all() == [REFUSED] * 3 + [RELEASED] * lost


def test_a_limit_that_changes_counts_those_that_run_already(ours: Running) -> None:
    deploy(ours, "changing", 4)
    early = Runs(ours, "changing", 2, cpu_s=2)
    await_held(ours, 2)
    late = Runs(ours, "changing", 2)
    assert early.all() == [WENT] * 2
    await_held(ours, 2)  # who came in as third and fourth
    for lower in (1, 2):
        change(ours, "changing", lower)
        assert refused_of_ten(ours, "changing") == 10
    change(ours, "changing", 3)
    third = Runs(ours, "changing", 4)
    assert third.some(3) == [REFUSED] * 3
    change(ours, "changing", 6)
    more = Runs(ours, "changing", 5)
    assert more.some(2) == [REFUSED] * 2
    await_held(ours, 6)
    release(ours)
    assert late.all() + third.all() + more.all() == [
        *[RELEASED] * 2,
        *[REFUSED] * 3, RELEASED,
        *[REFUSED] * 2, *[RELEASED] * 3,
    ]  # fmt: skip
