"""Each hostile script through a real server: it ends as its first line says, in time, and harms nobody."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.escapes.benches import Benches
from tests.escapes.case import Case, corpus, parse
from tests.escapes.trial import Bench
from tests.running import ROOT

CASES = corpus(Path(__file__).parent)


@pytest.mark.parametrize("case", CASES, ids=[f"{case.number:03}_{case.name}" for case in CASES])
def test_a_hostile_script_is_contained(benches: Benches, case: Case) -> None:
    assert benches.of(case).try_out(case).faults == ()


def test_no_setting_gives_a_script_the_probe(bench: Bench) -> None:
    text = b'-- expect: 200 body="nil nil"\nreturn tostring(probe) .. " " .. tostring(probe_json)'
    assert bench.try_out(parse(0, "probing", text)).contained


WRONG = {
    "another outcome": b"-- expect: timeout\nreturn 1",
    "another status": b"-- expect: 201\nreturn 1",
    "another body": b'-- expect: 200 body="2"\nreturn 1',
    "another detail": b'-- expect: script-error detail~"x"\nerror("y")',
    "no such line in the log": b'-- expect: ok log="x"\nlog.info("xy")',
    "the same twice": b"-- expect: ok\n-- again: different\nreturn 1",
    "another twice": b"-- expect: ok\n-- again: same\nreturn request.id",
    "an upload that should be refused": b"-- expect: syntax-error\nreturn 1",
    "an upload that is refused": b"-- expect: ok\nreturn return",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_ends_otherwise_is_not_contained(bench: Bench, text: bytes) -> None:
    assert len(bench.try_out(parse(0, "wrong", text)).faults) == 1


def test_a_server_that_answers_otherwise_is_harmed(bench: Bench) -> None:
    case = parse(0, "harmless", b"-- expect: ok\nreturn 1")
    bench.picloud.deploy("sentinel", 'return "taken over"')
    try:
        assert len(bench.try_out(case).faults) == 2  # one a worker
    finally:
        bench.install_sentinel()
    assert bench.try_out(case).contained


def test_another_folder_is_tried_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "001_fine.lua").write_text("-- expect: 200\nreturn 1\n")
    (tmp_path / "002_wrong.lua").write_text("-- expect: memory-limit\nreturn 1\n")
    run = _make(tmp_path)

    assert run.returncode == 1
    fine, wrong, total = run.stdout.splitlines()
    assert fine.split()[:4] == ["001", "fine", "200", "200"]
    assert fine.endswith("  contained")
    assert wrong.split()[:4] == ["002", "wrong", "memory-limit", "200"]
    assert "NOT CONTAINED: ended as 200" in wrong
    assert total == "2 scripts, 1 contained, 1 not"


def test_a_folder_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "001_odd.lua").write_text("return 1\n")
    run = _make(tmp_path)

    assert (run.returncode, run.stdout) == (2, "")
    assert "001_odd.lua: line one" in run.stderr


def _make(folder: Path) -> subprocess.CompletedProcess[str]:
    """What `make test-escapes ESCAPES=folder` runs."""
    command = [sys.executable, "-m", "tests.escapes", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
