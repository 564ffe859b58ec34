"""The house stays easy to see: imports go downward, each library has one home, importing does nothing."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

RANKS = {
    "picloud.model": 0, "picloud.errors": 0, "picloud.patterns": 0, "picloud.timetable": 0, "picloud": 0,
    "picloud.settings": 1, "picloud.auth": 1, "picloud.cache": 1, "picloud.background": 1, "picloud.sealing": 1,
    "picloud.log": 1, "picloud.readiness": 1, "picloud.events": 1, "picloud.subscriptions": 1, "picloud.planning": 1,
    "picloud.idle": 1,
    "picloud.declared": 1.5, "picloud.metrics": 1.5, "picloud.configuration": 1.5,  # of several of those
    "picloud.storage": 2, "picloud.executor": 2, "picloud.messages": 2,
    "picloud.manager": 3, "picloud.orchestrator": 3,
    "picloud.api": 4, "picloud.dashboard": 4,
    "picloud.wiring": 5, "picloud.server": 6, "picloud.dispatcher": 6, "picloud.cli": 7, "picloud.__main__": 8,
    "picloud.installation": 6,
}  # fmt: skip

FOR_ALL = ("picloud.errors",)  # imports nothing of ours, and faults are everybody's

HOMES = {
    "psycopg2": ("picloud.storage",),
    "yoyo": ("picloud.storage.migrate",),
    "lupa": ("sandbox.lua",),
    "gunicorn": ("picloud.server",),
    "falcon": (
        "picloud.api",
        "picloud.manager.resources",
        "picloud.orchestrator",
        "picloud.messages",
        "picloud.dashboard",
    ),
    "schedule": ("picloud.timetable",),
    "cronsim": ("picloud.timetable",),
    "urllib3": ("picloud.cli.client", "picloud.orchestrator.outbound"),
    "cryptography": ("picloud.sealing",),
    "prometheus_client": ("picloud.metrics",),
    "click": ("picloud.cli",),
    "rich": ("picloud.cli",),
    "inotify_simple": ("picloud.cli.changes",),
    "sandbox": ("picloud.executor", "sandbox"),
}


def modules() -> Iterator[tuple[str, Path]]:
    for top in ("picloud", "sandbox"):
        for path in (ROOT / top).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rank(module: str) -> float | None:
    known = [name for name in RANKS if name != "picloud" and (module == name or module.startswith(name + "."))]
    return RANKS[max(known, key=len)] if known else None


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


MODULES = dict(modules())


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_lower_ranks_only(module: str) -> None:
    own = RANKS["picloud"] if module == "picloud" else rank(module)
    for imported in imports(MODULES[module]):
        other = rank(imported)
        if own is None or other is None or room(imported) in (room(module), *FOR_ALL):
            continue
        assert other < own, f"{module} (rank {own}) imports {imported} (rank {other})"


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith("picloud.")))
def test_every_module_has_a_rank(module: str) -> None:
    assert rank(module) is not None


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_library_is_imported_at_home_only(module: str) -> None:
    for imported in imports(MODULES[module]):
        homes = HOMES.get(imported.split(".")[0])
        assert homes is None or module.startswith(homes), f"{module} imports {imported}"


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith("sandbox")))
def test_the_sandbox_imports_nothing_of_ours(module: str) -> None:
    assert not [name for name in imports(MODULES[module]) if name.split(".")[0] == "picloud"]


@pytest.mark.parametrize("module", sorted(name for name in MODULES if not name.endswith("__main__")))
def test_importing_a_module_does_nothing_to_be_seen(module: str, tmp_path: Path) -> None:
    code = (
        "import sys, threading, logging, importlib; importlib.import_module(sys.argv[1]);"
        "assert threading.active_count() == 1; assert not logging.getLogger().handlers"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, module],
        env={"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
    assert not list(tmp_path.iterdir())


def test_no_module_is_a_drawer() -> None:
    assert not [name for name in MODULES if {"utils", "helpers", "common", "misc"} & set(name.split("."))]


def test_ci_runs_as_an_ordinary_user_what_is_for_one() -> None:
    (listed,) = re.findall(r'^as_user="(.*?)"$', (ROOT / ".ci" / "run").read_text(), re.MULTILINE | re.DOTALL)
    places = [ROOT / place for place in listed.split()]
    assert [place for place in places if not place.exists()] == []
    tests = [path for path in ROOT.glob("tests/*/test_*.py") if "mark.ordinary_user" in path.read_text()]
    assert tests
    assert [path for path in tests if not {path, path.parent} & {*places}] == []
