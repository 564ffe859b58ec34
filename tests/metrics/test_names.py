"""At most 200 scripts of a node have series of their own, the same in each process."""

import subprocess
import sys
from pathlib import Path

import pytest

from picloud.metrics.names import MOST, OTHER
from tests.metrics.conftest import Measure, Others, invocation, seen

REQUESTS = "picloud_requests_total"


def test_the_first_200_have_their_own_and_the_rest_are_other(measure: Measure) -> None:
    ours = measure()
    for number in range(MOST + 50):
        for _ in range(2):
            ours.ended(invocation(f"s{number}"))
    found = seen(ours).of(REQUESTS, outcome="ok", trigger="http")
    assert found == {(f"s{number}",): 2 for number in range(MOST)} | {(OTHER,): 100}


def test_they_are_the_same_in_each_process(measure: Measure, others: Others) -> None:
    ours = measure()
    for number in range(MOST - 1):
        ours.ended(invocation(f"s{number}"))
    others.start("theirs", "more", "s1")
    ours.ended(invocation("ours"))
    ours.ended(invocation("theirs"))
    found = seen(ours).of(REQUESTS, outcome="ok", trigger="http")
    assert len(found) == MOST + 1
    assert (found["theirs",], found[OTHER,], found["s1",]) == (2, 2, 2)


def test_a_script_that_is_gone_has_no_series_and_its_place_is_anothers(measure: Measure) -> None:
    ours, theirs = measure(), measure()
    for number in range(MOST + 1):
        theirs.ended(invocation(f"s{number}"))
    ours.forget({"s0"})
    assert seen(ours).sum(REQUESTS, script="s0") == 0
    theirs.ended(invocation(f"s{MOST}"))
    assert seen(ours).of(REQUESTS, outcome="ok", trigger="http").get((f"s{MOST}",)) == 1
    theirs.ended(invocation("s0"))
    assert (seen(ours).sum(REQUESTS, script="s0"), seen(ours).sum(REQUESTS, script=OTHER)) == (0, 2)


def test_one_that_comes_back_goes_on(measure: Measure) -> None:
    ours = measure()
    ours.ended(invocation("one"))
    ours.forget({"one"})
    assert seen(ours).sum(REQUESTS) == 0
    ours.ended(invocation("one"))
    assert seen(ours).of(REQUESTS, outcome="ok", trigger="http") == {("one",): 2}


def test_names_that_come_at_once_from_many_processes_take_200_places(folder: Path, measure: Measure) -> None:
    ours = measure()
    code = """
import sys
from pathlib import Path
from picloud.cache import Generation
from picloud.metrics.names import Names
folder = Path(sys.argv[1])
names = Names(folder / "scripts", Generation(folder / "generation"))
sys.stdin.read()
print(*(names.claim(f"s{number}") for number in range(int(sys.argv[2]), 400, int(sys.argv[3]))))
"""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder), str(first), str(step)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first, step in ((0, 1), (1, 2), (200, 1), (0, 3))
    ]
    for process in started:
        assert process.stdin
        process.stdin.close()
    claimed = set()
    for process in started:
        with process:
            assert process.stdout
            claimed |= set(process.stdout.read().split())
    assert claimed == ours.names.all() | {OTHER}
    assert len(claimed) == MOST + 1


@pytest.mark.parametrize("text", [b"", b"\n\n", b"\xff\xfe\n", b"one\none\n"])
def test_whatever_the_file_holds_a_script_has_a_label(folder: Path, measure: Measure, text: bytes) -> None:
    ours = measure()
    (folder / "scripts").write_bytes(text)
    ours.ended(invocation("one"))
    assert seen(ours).of(REQUESTS, outcome="ok", trigger="http") == {("one",): 1}
