"""What processes do is seen: each wake-up, each byte, who came and who went; and nothing where there is nothing."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from picloud.idle.looks import look
from picloud.idle.usage import Fate, Usage, measure
from tests.running import ROOT, eventually

WAKEUPS = 25
WRITTEN_BYTES = 1 << 20
NOBODY = 65534


class Sleeper:
    """tests/idle/sleeper.py, which sleeps until it is told something."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.idle.sleeper"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        self.tell("help")  # its threads are there

    @property
    def pid(self) -> int:
        return self.process.pid

    def tell(self, command: str) -> str:
        """Have it do something → what it said of it."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{command}\n")
        said = iter(self.process.stdout.readline, "done\n")
        return "".join(said)

    def end(self) -> None:
        """Let it end, and wait for that."""
        self.process.communicate()


@contextlib.contextmanager
def sleeping() -> Iterator[Sleeper]:
    """One that is at rest: its threads wait for their next command."""
    sleeper = Sleeper()
    try:
        eventually(lambda: at_rest(sleeper.pid), bool)
        yield sleeper
    finally:
        sleeper.end()


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    with sleeping() as one:
        yield one


def usage_of(sleeper: Sleeper, meanwhile: Callable[[], object]) -> Usage:
    """What it does while something happens."""
    (usage,) = measure(lambda: {"all": [sleeper.pid]}, 0, doing(meanwhile)).usages
    return usage


def doing(what: Callable[[], object]) -> Callable[[float], None]:
    """Something else than to sleep."""

    def do(_seconds: float) -> None:
        what()

    return do


def at_rest(pid: int) -> bool:
    """Whether all threads of a process wait, and went on to wait."""

    def states() -> set[str]:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return {(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks}

    (usage,) = measure(lambda: {"all": [pid]}, 0.05).usages
    return usage.rested and states() == {"S"}


def test_a_process_that_sleeps_does_nothing_for_as_long_as_it_is_let(sleeper: Sleeper) -> None:
    measured = measure(lambda: {"all": [sleeper.pid]}, 0.5)
    (usage,) = measured.usages
    assert measured.seconds >= 0.5
    assert (usage.pid, usage.name, usage.fate) == (sleeper.pid, "tests.idle.sleeper", Fate.STAYED)
    assert (usage.switches, usage.cpu_ns, usage.cpu_ticks, usage.written_bytes, usage.busy) == (0, 0, 0, 0, {})
    assert usage.rested


def test_each_wake_up_is_counted_and_its_thread_named(sleeper: Sleeper) -> None:
    usage = usage_of(sleeper, lambda: [sleeper.tell("help") for _ in range(WAKEUPS)])
    assert usage.voluntary >= 2 * WAKEUPS  # of the thread that hears, and of the one that helps
    assert usage.busy["the-helper"] >= WAKEUPS
    assert sum(usage.busy.values()) == usage.switches
    assert usage.cpu_ns > 0
    assert not usage.rested


def test_what_is_written_is_counted_in_bytes(sleeper: Sleeper) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # on a disk, which /tmp may not be
        usage = usage_of(sleeper, lambda: sleeper.tell(f"write {WRITTEN_BYTES} {folder}/file"))
    assert usage.written_bytes is not None
    assert usage.written_bytes >= WRITTEN_BYTES


def test_memory_is_what_it_has_at_the_end(sleeper: Sleeper) -> None:
    usage = usage_of(sleeper, lambda: None)
    assert usage.pss_bytes is not None
    assert usage.pss_bytes > WRITTEN_BYTES  # a Python has more than that to itself


def test_one_that_ends_meanwhile_went(sleeper: Sleeper) -> None:
    usage = usage_of(sleeper, sleeper.end)
    assert (usage.pid, usage.fate, usage.rested) == (sleeper.pid, Fate.WENT, False)


def test_one_that_is_started_meanwhile_came_with_all_that_it_did(sleeper: Sleeper) -> None:
    pids = [sleeper.pid]

    def start() -> None:
        pids.append(int(sleeper.tell("child")))
        eventually(lambda: at_rest(pids[1]), bool)

    measured = measure(lambda: {"all": pids}, 0, doing(start))
    fates = {usage.pid: usage.fate for usage in measured.usages}
    assert fates == {sleeper.pid: Fate.STAYED, pids[1]: Fate.CAME}
    (came,) = (usage for usage in measured.usages if usage.fate is Fate.CAME)
    assert came.voluntary > 0
    assert not came.rested


def test_groups_are_told_apart() -> None:
    with sleeping() as one, sleeping() as another:
        measured = measure(lambda: {"a": [one.pid], "b": [another.pid]}, 0, doing(lambda: one.tell("help")))
    assert [(usage.group, usage.rested) for usage in measured.usages] == [("a", False), ("b", True)]


def test_what_may_not_be_read_is_not_known_rather_than_nothing() -> None:
    own = os.geteuid()
    if not own:
        os.seteuid(NOBODY)
    try:
        seen = look(1)
    finally:
        os.seteuid(own)
    assert seen
    assert (seen.written_bytes, seen.pss_bytes) == (None, None)
    assert any(thread.voluntary for thread in seen.threads.values())


def test_a_process_that_is_gone_is_no_process() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    assert look(ended.pid) is None


def test_what_a_process_is_called_says_which_one_it_is(tmp_path: Path) -> None:
    program = tmp_path / "picloud-something"
    program.write_text("input()")
    with subprocess.Popen([sys.executable, "-P", str(program), "x"], stdin=subprocess.PIPE) as process:
        seen = eventually(lambda: look(process.pid), lambda it: it is not None and it.name == "picloud-something")
        process.communicate(b"\n")
    assert seen
