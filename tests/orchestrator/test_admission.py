"""Slots of a node: bounded over all its processes, and free at once when one dies."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from picloud.errors import ConcurrencyLimit, Overloaded
from picloud.orchestrator.admission import Admission

HOLDER = """
import sys
from pathlib import Path
from picloud.orchestrator.admission import Admission
admission = Admission(Path(sys.argv[1]), node_slots=3, threads=64)
admission.open()
with admission.node(), admission.script("busy", 1):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def admission(tmp_path: Path) -> Iterator[Admission]:
    ours = Admission(tmp_path / "lock", node_slots=3, threads=64)
    ours.open()
    yield ours
    ours.close()


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdin
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_the_node_takes_as_many_as_it_has_slots_and_no_more(admission: Admission) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(admission.node())
        with pytest.raises(Overloaded):
            stack.enter_context(admission.node())
    with admission.node():
        pass


def test_a_slot_is_given_back_when_what_it_was_for_raises(admission: Admission) -> None:
    for _ in range(10):
        with pytest.raises(KeyError), admission.node(), admission.script("a", 1):
            raise KeyError


def test_slots_are_shared_with_other_processes(admission: Admission, other_process: object) -> None:
    with admission.node(), admission.node(), pytest.raises(Overloaded), admission.node():
        pass


def test_a_killed_process_gives_its_slots_back_at_once(
    admission: Admission, other_process: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(ConcurrencyLimit), admission.script("busy", 1):
        pass
    os.kill(other_process.pid, signal.SIGKILL)
    other_process.wait()
    with admission.script("busy", 1), admission.node(), admission.node(), admission.node():
        pass


def test_scripts_do_not_take_each_others_slots(admission: Admission) -> None:
    with (
        admission.script("one", 1),
        admission.script("two", 1),
        pytest.raises(ConcurrencyLimit, match="'two' already runs 1 times"),
        admission.script("two", 1),
    ):
        pass


def test_a_process_keeps_threads_free_to_refuse_with(tmp_path: Path) -> None:
    small = Admission(tmp_path / "small", node_slots=100, threads=8)
    small.open()
    with ExitStack() as stack:
        for _ in range(7):
            stack.enter_context(small.node())
        with pytest.raises(Overloaded):
            stack.enter_context(small.node())
    small.close()
