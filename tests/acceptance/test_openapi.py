"""The document at /openapi.json is true: schemathesis finds nothing, and it tells of every path."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ROOT, Running, running

ASKED = ROOT / "tests/acceptance/openapi"
CASES_MIN = 2_000


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Running]:
    """A PiCloud that may be left as nobody would want to find it."""
    with running(tmp_path / "data") as ours:
        for name in ("hello", "world"):
            ours.deploy(name, "return function(request) log.info('asked', request.path) return request.body end")
        yield ours


def schemathesis(picloud: Running, folder: Path, *arguments: str) -> tuple[int, str]:
    """Run it against a server → exit status, what it printed."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(ASKED / "schemathesis.toml"),
        "run", f"{picloud.url}/openapi.json", "--checks", "all", "--phases", "examples,coverage,fuzzing,stateful",
        "--header", f"Authorization: Bearer {picloud.token}", "--no-color", *arguments,
    ]  # fmt: skip
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(ASKED / "hooks.py"), "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return run.returncode, run.stdout.decode()


@pytest.mark.timeout(300)
def test_schemathesis_finds_nothing(theirs: Running, tmp_path: Path) -> None:
    status, output = schemathesis(theirs, tmp_path, "--max-examples", "120")
    assert status == 0, output
    cases = re.search(r"(\d+) generated", output)
    assert cases, output
    print(f"{cases[1]} cases")
    assert int(cases[1]) >= CASES_MIN
