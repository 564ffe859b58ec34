"""Slots of a node: bounded over all its processes, and free at once when one dies."""

import itertools
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest

from picloud.errors import ConcurrencyLimit, Overloaded, PicloudError
from picloud.orchestrator.admission import Admission
from picloud.orchestrator.flood import FEW
from picloud.orchestrator.metrics import Metrics

HOLDER = """
import sys
from contextlib import ExitStack
from pathlib import Path
from picloud.orchestrator.admission import Admission
admission = Admission(Path(sys.argv[1]), node_slots=100, threads=64)
admission.open()
with ExitStack() as slots:
    slots.enter_context(admission.node())
    for _ in range(int(sys.argv[2])):
        slots.enter_context(admission.script("busy", int(sys.argv[3])))
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def admission(tmp_path: Path) -> Iterator[Admission]:
    ours = Admission(tmp_path / "lock", node_slots=3, threads=64)
    ours.open()
    yield ours
    ours.close()


StartHolder = Callable[[int, int], subprocess.Popen[bytes]]


@pytest.fixture
def start_holder(tmp_path: Path) -> Iterator[StartHolder]:
    """Start a process that holds so many of the slots of `busy`, under a limit, and one of the node's."""
    with ExitStack() as processes:

        def start(count: int, limit: int) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock"), str(count), str(limit)]
            process = processes.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            processes.callback(process.kill)
            assert process.stdout
            assert process.stdout.readline() == b"held\n"
            return process

        yield start


@pytest.fixture
def other_process(start_holder: StartHolder) -> subprocess.Popen[bytes]:
    return start_holder(1, 1)


def admitted(admission: Admission, name: str, limit: int) -> int:
    """How many get in now, until one is refused; all leave again."""
    with ExitStack() as slots:
        for count in itertools.count():
            try:
                slots.enter_context(admission.script(name, limit))
            except ConcurrencyLimit:
                return count
    raise AssertionError


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


def test_who_runs_since_before_a_limit_was_lowered_counts(admission: Admission, start_holder: StartHolder) -> None:
    with admission.script("busy", 9), admission.script("busy", 9):  # the first two slots, which are free again below
        holder = start_holder(4, 9)
    assert {limit: admitted(admission, "busy", limit) for limit in (1, 3, 4, 5, 6, 9)} == {
        1: 0, 3: 0, 4: 0, 5: 1, 6: 2, 9: 5,
    }  # fmt: skip
    holder.kill()
    holder.wait()
    assert {limit: admitted(admission, "busy", limit) for limit in (1, 3, 9)} == {1: 1, 3: 3, 9: 9}


def test_our_own_who_run_since_before_count_too(admission: Admission, start_holder: StartHolder) -> None:
    with ExitStack() as early, ExitStack() as late:
        early.enter_context(admission.script("busy", 6))
        start_holder(1, 6)
        late.enter_context(admission.script("busy", 6))
        start_holder(1, 6)
        late.enter_context(admission.script("busy", 6))
        early.close()
        assert [admitted(admission, "busy", limit) for limit in (1, 2, 4, 5)] == [0, 0, 0, 1]


def test_a_process_keeps_threads_free_to_refuse_with(tmp_path: Path) -> None:
    small = Admission(tmp_path / "small", node_slots=100, threads=8)
    small.open()
    with ExitStack() as stack:
        for _ in range(7):
            stack.enter_context(small.node())
        with pytest.raises(Overloaded):
            stack.enter_context(small.node())
    small.close()


def test_who_is_parked_leaves_its_place_to_others_and_takes_one_again(tmp_path: Path) -> None:
    small = Admission(tmp_path / "lock", node_slots=1, threads=64, parked_max=1)
    small.open()
    with small.node() as first:
        with first.parked() as parked, small.node() as second:
            assert parked
            with second.parked() as also_parked:
                assert not also_parked  # as many are parked as may be, and it keeps its place
                assert_full(small)
            assert_full(small)
        assert_full(small)
    with small.node():
        pass
    small.close()


def test_who_comes_back_to_a_full_node_goes_on_and_nobody_else_may_park_meanwhile(tmp_path: Path) -> None:
    small = Admission(tmp_path / "lock", node_slots=1, threads=64, parked_max=1)
    small.open()
    with ExitStack() as stack:
        first = stack.enter_context(small.node())
        with first.parked():
            second = stack.enter_context(small.node())
        with second.parked() as parked:  # the first one holds the only place of those that are parked
            assert not parked
        with first.parked() as parked:
            assert parked
            assert_full(small)
    with small.node():
        pass
    small.close()


def test_what_is_parked_inside_of_what_is_parked_is_one(tmp_path: Path) -> None:
    small = Admission(tmp_path / "lock", node_slots=1, threads=64, parked_max=1)
    small.open()
    with small.node() as place, place.parked() as outer, place.parked() as inner:
        assert (outer, inner) == (True, True)
        with small.node():
            pass
    with small.node():
        assert_full(small)
    small.close()


def test_who_waits_for_another_invocation_is_parked_or_refused_and_crowds_out_nobody(tmp_path: Path) -> None:
    small = Admission(tmp_path / "lock", node_slots=1, threads=64, parked_max=1)
    small.open()
    with small.waiting():
        for _ in range(2 * FEW):
            with pytest.raises(Overloaded, match="same key"), small.waiting():
                raise AssertionError
        assert small.refusal("another") is None  # theirs is no crowd at the node
        with small.node():
            assert_full(small)
    small.close()


def assert_full(admission: Admission) -> None:
    with pytest.raises(Overloaded), admission.node():
        pass


class Refusals:
    """Takes what is told of them."""

    def __init__(self) -> None:
        self.kinds: Counter[type] = Counter()

    def refused(self, refusal: PicloudError) -> None:
        self.kinds[type(refusal)] += 1


def test_every_refusal_is_told_also_where_a_flood_is_turned_away(tmp_path: Path) -> None:
    heard = Refusals()
    small = Admission(tmp_path / "lock", node_slots=1, threads=64, metrics=cast(Metrics, heard))
    small.open()
    with small.node(), small.script("busy", 1):
        for _ in range(FEW):
            with pytest.raises(ConcurrencyLimit), small.script("busy", 1):
                pass
        with pytest.raises(Overloaded), small.node():
            pass
        turned_away = sum(small.refusal("busy") is not None for _ in range(100))
    assert turned_away
    assert heard.kinds == {ConcurrencyLimit: FEW + turned_away, Overloaded: 1}
    small.close()
