"""An executor on a machine that lacks a layer: without a strong one it refuses, without a weak one it says so.

Each layer is really away (tests/deprived.py): the kernel refuses what the executor asks of it.
"""

import errno
import os
import subprocess
import sys

import pytest

from picloud.executor import protections
from picloud.model import Outcome
from tests.deprived import ORDINARY, command_without
from tests.executor.conftest import PATIENCE_S, Executor, StartExecutor, await_end, status_of

NAMESPACES = {f"{name}-namespace" for name in ("pid", "network", "ipc", "uts", "mount", "cgroup")}
MISSING = {
    "seccomp": "seccomp: the kernel refuses the filter: Invalid argument",
    "no-new-privileges": "no-new-privileges: Invalid argument",
    "rlimits": "rlimits: the kernel refuses to set resource limit",
    "sandbox-limits": "sandbox-limits: the kernel refuses them: Operation not permitted",
    "capabilities": "capabilities: Operation not permitted",
    "parent-death": "parent-death: Invalid argument",
    "kill": "kill: Operation not permitted",
}
BOTH_KINDS = pytest.mark.parametrize(
    "user", [pytest.param((), id="as we are"), pytest.param(("root",), id="ordinary", marks=pytest.mark.root)]
)


def ended(executor: Executor) -> str:
    """What an executor said that ended by itself."""
    said = executor.process.communicate(timeout=PATIENCE_S)[1]
    assert executor.process.returncode == 1
    return said


@BOTH_KINDS
@pytest.mark.parametrize("thing", MISSING)
def test_without_a_strong_layer_it_refuses_and_says_which_and_what_to_do(
    start_executor: StartExecutor, thing: str, user: tuple[str, ...]
) -> None:
    executor = start_executor(without=(*user, thing), ready=False)
    said = ended(executor)

    assert "cannot start: refusing to run scripts unprotected (" in said
    assert MISSING[thing] in said
    assert protections.Protection(thing, active=False, required=True, reason="").advice in said
    assert said.rstrip().endswith("see 'picloud doctor'")
    assert "serving on" not in said
    assert "Traceback" not in said
    assert executor.run("return 1").outcome is Outcome.EXECUTOR_LOST


@pytest.mark.root
def test_a_root_that_may_not_become_another_refuses(start_executor: StartExecutor) -> None:
    said = ended(start_executor(without=["privileges"], ready=False))

    assert "(privileges: Operation not permitted" in said
    assert "start as an ordinary user, or as a root with CAP_SETUID and CAP_SETGID;" in said


@BOTH_KINDS
@pytest.mark.parametrize(
    ("thing", "lost"), [("landlock", {"landlock"}), ("namespaces", NAMESPACES)], ids=["landlock", "namespaces"]
)
def test_without_a_weak_layer_it_serves_and_the_log_and_the_report_say_so(
    start_executor: StartExecutor, thing: str, lost: set[str], user: tuple[str, ...]
) -> None:
    executor = start_executor(without=(*user, thing))
    if thing == "namespaces" and (user or os.geteuid()):
        lost = lost | {"user-namespace", "bounding-set"}
    found = protections.read(executor.settings.run_dir / "protections.json")

    assert executor.run("return 'served'").outcome is Outcome.OK
    assert {item.name for item in found if not item.active} == lost
    assert protections.sufficient(found)
    told = next(line for line in executor.stop().splitlines() if "weaker than it could be, without" in line)
    assert all(f"{name} (" in told for name in lost)


@pytest.mark.parametrize(
    "things",
    [
        pytest.param(["root", "user-namespace"], marks=pytest.mark.root, id="refused"),
        pytest.param(["user-namespace"], marks=pytest.mark.ordinary_user, id="refused to us"),
        pytest.param(["max-user-namespaces"], marks=pytest.mark.ordinary_user, id="none left"),
    ],
)
def test_an_ordinary_user_without_user_namespaces_is_protected_by_the_rest(
    start_executor: StartExecutor, things: list[str]
) -> None:
    executor = start_executor(without=things)
    executor.await_rest()
    init, sandboxes = executor.init_and_sandboxes

    assert init == 0
    for pid in sandboxes:
        status = status_of(pid)
        assert (status["Seccomp"], status["NoNewPrivs"], status["CapEff"]) == ("2", "1", "0" * 16)
        assert "0" not in status["Uid"].split() + status["Gid"].split()
    assert executor.run("return 1").outcome is Outcome.OK
    assert executor.run("while true do end", wall_ms=200).outcome is Outcome.TIMEOUT
    assert executor.run("while true do end", cpu_ms=100).outcome is Outcome.CPU_LIMIT
    executor.stop()
    for pid in sandboxes:
        await_end(pid)


@pytest.mark.root
def test_as_an_ordinary_user_every_layer_holds(start_executor: StartExecutor) -> None:
    executor = start_executor(without=["root"])
    found = protections.read(executor.settings.run_dir / "protections.json")

    assert [item.name for item in found if not item.active] == []
    assert f"uid {ORDINARY}, gid {ORDINARY}" in [item.reason for item in found]
    assert executor.run("return 1").outcome is Outcome.OK


def test_what_was_taken_away_is_away() -> None:
    """Else the tests here would show nothing."""
    act = "import ctypes, sys; c = ctypes.CDLL(None, use_errno=True)\nprint(c.unshare(0), ctypes.get_errno())"
    with_it, without = (
        subprocess.run(
            [*command_without(things), sys.executable, "-c", act], capture_output=True, text=True, check=True
        ).stdout.split()
        for things in ((), ("namespaces",))
    )

    assert with_it == ["0", "0"]
    assert without == ["-1", str(errno.EPERM)]
