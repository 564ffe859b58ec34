"""docs/security.md against the code: its table of layers, the calls that it names, and its folder of scripts."""

import json
import re
import subprocess
import sys

from sandbox import seccomp
from tests.documents import rows, section, spans
from tests.running import ROOT

PAGE = ROOT / "docs" / "security.md"
LAYERS = "## The layers"


def test_every_layer_of_the_probe_is_in_the_table_and_no_other() -> None:
    documented = {spans(name)[0]: required == "yes" for name, required, _ in rows(section(PAGE, LAYERS))}
    told = subprocess.run(
        [sys.executable, "-P", "-m", "picloud", "doctor", "--json"], capture_output=True, cwd=ROOT, check=False
    )
    probed = {layer["name"]: layer["required"] for layer in json.loads(told.stdout)}

    assert documented == {"user-namespace": False} | probed  # root needs none


def test_the_calls_that_it_allows_are_those_of_the_policy() -> None:
    _, _, allowed = section(PAGE, LAYERS).partition("\nA child may ")
    named = set(re.findall(r"`([a-z0-9_]+)`", allowed.partition("\n\n")[0]))

    assert named == {name for name, _ in seccomp.POLICY}


def test_it_counts_the_scripts_of_the_corpus() -> None:
    (said,) = re.findall(r"`tests/escapes` holds more than (\d+) scripts", PAGE.read_text(encoding="utf-8"))

    assert len(list((ROOT / "tests" / "escapes").glob("*.lua"))) > int(said)


def test_the_files_that_it_names_are_there() -> None:
    named = re.findall(r"`((?:sandbox|picloud|tests)/[\w./]+)`", PAGE.read_text(encoding="utf-8"))

    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
