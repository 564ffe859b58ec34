"""What each role is made of: a manager of nothing that runs scripts, an orchestrator of nothing that deploys them."""

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from tests.running import ROOT

BUILT = """
import gc, sys
from picloud import settings
from picloud.wiring.{role} import build
service = build(settings.load())
assert callable(service.wsgi)
print(*sys.modules)
print(*{{f"{{type(it).__module__}}.{{type(it).__name__}}" for it in gc.get_objects()}})
"""

RUNS_SCRIPTS = {
    "picloud.orchestrator.admission.Admission",
    "picloud.orchestrator.dispatch.Dispatcher",
    "picloud.orchestrator.ingress.Ingress",
    "picloud.orchestrator.record.Recorder",
    "picloud.orchestrator.router.Router",
    "picloud.orchestrator.feed.Feed",
    "picloud.storage.unit_of_work.UnitsOfWork",
}
DEPLOYS = {
    "picloud.manager.uploads.Uploads",
    "picloud.manager.scripts.Scripts",
    "picloud.manager.secrets.Secrets",
    "picloud.manager.tokens.Tokens",
    "picloud.dashboard.front.Front",
}
BOTH = {"picloud.manager.tokens.KnownTokens", "picloud.manager.uses.TokenUses", "picloud.executor.client.SandboxClient"}


def built(role: str, folder: Path) -> tuple[Collection[str], Collection[str]]:
    """The modules and the classes that a process of this role is made of, before it begins."""
    done = subprocess.run(
        [sys.executable, "-c", BUILT.format(role=role)],
        env={"PYTHONPATH": str(ROOT), "PICLOUD_DATA": str(folder)},
        cwd=folder, capture_output=True, check=True, text=True,
    )  # fmt: skip
    modules, classes = done.stdout.splitlines()
    return modules.split(), classes.split()


@pytest.mark.parametrize(
    ("role", "has", "lacks"),
    [
        ("manager", DEPLOYS | BOTH, RUNS_SCRIPTS),
        ("orchestrator", RUNS_SCRIPTS | BOTH, DEPLOYS),
        ("platform", RUNS_SCRIPTS | DEPLOYS | BOTH, set()),
    ],
)
def test_a_role_builds_what_it_needs_and_nothing_of_the_other(
    role: str, has: set[str], lacks: set[str], tmp_path: Path
) -> None:
    _, classes = built(role, tmp_path)
    assert has <= {*classes}
    assert not lacks & {*classes}


@pytest.mark.parametrize(
    ("role", "lacks"),
    [
        ("manager", ["picloud.wiring.engine", "picloud.wiring.orchestrator", "picloud.wiring.jobs", "picloud.cli"]),
        ("orchestrator", ["picloud.wiring.manager", "picloud.wiring.jobs", "picloud.dashboard", "picloud.cli"]),
    ],
)
def test_a_role_does_not_import_how_the_other_is_put_together(role: str, lacks: list[str], tmp_path: Path) -> None:
    modules, _ = built(role, tmp_path)
    assert f"picloud.wiring.{role}" in modules
    assert [name for name in lacks if name in modules] == []
