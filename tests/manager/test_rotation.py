"""A key is replaced in an order in which a crash at any point loses nothing."""

import subprocess
import sys
from pathlib import Path

from tests.running import ROOT


def test_a_crash_at_any_line_of_a_rotation_loses_nothing(database: str, tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    crashes = subprocess.run(
        [sys.executable, "-m", "tests.manager.rotations", database, str(path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (crashes.returncode, crashes.stderr) == (0, "")
    assert int(crashes.stdout) > 50, "it crashed at hardly any line"
    assert len(path.read_text().splitlines()) == 1, "what crashes left was not cleared away"
    assert [it.name for it in tmp_path.iterdir()] == ["secret.key"]
