"""The commands as a whole: each is there, and costs nothing until it is named."""

import subprocess
import sys

import pytest

from tests.running import ROOT

HEAVY = {"falcon", "msgspec", "psycopg2", "rich", "ssl", "urllib3"}

IMPORT = "import sys, picloud.cli"
COMPLETE = """import sys
from click.shell_completion import BashComplete
from picloud.cli import picloud
found = BashComplete(picloud, {}, "picloud", "_PICLOUD_COMPLETE").get_completions([], %r)
assert sorted(it.value for it in found) == %r, found"""


@pytest.mark.parametrize(
    "code",
    [IMPORT, COMPLETE % ("dep", ["deploy"]), COMPLETE % ("r", ["replay", "restore", "rm", "rollback", "route", "run"])],
    ids=["import", "one", "several"],
)
def test_no_library_is_imported_for_a_command_that_is_not_named(code: str) -> None:
    code += "\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert HEAVY & {*done.stdout.split()} == set()
