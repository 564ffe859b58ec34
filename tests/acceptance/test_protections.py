"""What a machine lacks of the sandbox's layers, as its operator meets it: `up`, `doctor`, `/readyz` and the log."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deprived import command_without
from tests.running import Running

WEAK = {f"{name}-namespace" for name in ("pid", "network", "ipc", "uts", "mount", "cgroup")} | {"landlock"}
PICLOUD = (sys.executable, "-m", "picloud")
EXECUTOR = (sys.executable, "-P", "-m", "picloud.executor.supervisor")


def without(folder: Path, *things: str, **environment: str) -> Running:
    picloud = Running(folder, environment)
    picloud.before = command_without(things)
    return picloud


def doctors_word(picloud: Running) -> dict[str, dict[str, object]]:
    return {item["name"]: item for item in json.loads(picloud.cli("doctor", "--json").stdout)}


@pytest.mark.parametrize(
    ("thing", "reason"),
    [
        ("seccomp", "seccomp: the kernel refuses the filter"),
        ("no-new-privileges", "no-new-privileges: Invalid argument"),
        ("rlimits", "rlimits: the kernel refuses to set resource limit"),
        ("kill", "kill: Operation not permitted"),
    ],
)
def test_without_a_strong_layer_nothing_starts(tmp_path: Path, thing: str, reason: str) -> None:
    picloud = without(tmp_path, thing, PICLOUD_DATABASE_URL="postgresql:///nobody-asks-it?host=/nowhere")
    executor = [*picloud.before, *EXECUTOR]
    started = subprocess.run(executor, env=picloud.environment, capture_output=True, text=True, check=False, timeout=60)
    doctor = picloud.cli("doctor")

    assert started.returncode == 1
    assert f"refusing to run scripts unprotected ({reason}" in started.stderr
    assert doctor.returncode == 1
    row = next(line for line in doctor.stdout.decode().splitlines() if line.startswith(thing))
    assert "MISSING" in row
    assert b"PiCloud refuses to run scripts here" in doctor.stderr
    assert {name for name, it in doctors_word(picloud).items() if it["required"] and not it["active"]} >= {thing}


def test_up_without_seccomp_ends_and_serves_nobody(tmp_path: Path) -> None:
    picloud = without(tmp_path, "seccomp")
    up = subprocess.run(
        [*picloud.before, *PICLOUD, "up"],
        env=picloud.environment, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip

    assert up.returncode == 1
    assert "refusing to run scripts unprotected (seccomp: the kernel refuses the filter" in up.stderr
    assert "the executor did not start (exit status 1); see above" in up.stderr
    assert "is up" not in up.stdout


def test_without_weaker_layers_it_serves_and_doctor_readyz_and_the_log_say_what_is_missing(
    tmp_path: Path, database: str
) -> None:
    """On a database of ours: to start its own as root PiCloud may need a mount namespace."""
    picloud = without(tmp_path / "data", "namespaces", "landlock", PICLOUD_DATABASE_URL=database)
    with (tmp_path / "log").open("wb") as log:
        picloud.stderr = log.fileno()
        picloud.start()
    try:
        picloud.deploy("hello", "return 'served'")
        served, ready = picloud.call("GET", "/fn/hello"), picloud.call("GET", "/readyz")
        word, shown = doctors_word(picloud), picloud.cli("doctor")
    finally:
        picloud.stop()
    lost = {name for name, it in word.items() if not it["active"]}
    told = next(line for line in (tmp_path / "log").read_text().splitlines() if "weaker than it could be" in line)

    assert served.body == b"served"
    assert lost >= WEAK
    assert shown.returncode == 0
    assert b"start as root, or allow user namespaces" in shown.stdout
    assert ready.status == 200
    assert set(ready.json["warnings"]) == {f"protection '{name}' is missing: {word[name]['reason']}" for name in lost}
    for name in lost:
        assert any(line.split()[:2] == [name, "weaker"] for line in shown.stdout.decode().splitlines())
        assert f"{name} ({word[name]['reason']})" in told
