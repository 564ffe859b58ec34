"""The idle contract, of the installed system: PiCloud does nothing at all, and PostgreSQL, tuned, next to nothing."""

import json
from typing import Any

import pytest

from tests.systemd.idle import SECONDS, doctor, use_and_settle
from tests.systemd.installed import UNITS, Installed

pytestmark = pytest.mark.root

TRIES = 3  # every ten minutes PostgreSQL looks for what to vacuum; what is busy by itself is so each time


@pytest.fixture(scope="module")
def quiet(fresh: Installed) -> Installed:
    """After some traffic, left alone."""
    fresh.await_ready()
    use_and_settle(fresh)
    return fresh


def told(installed: Installed, seconds: int) -> dict[str, Any]:
    ended = installed.machine.ended(*doctor(seconds, "--json"))
    assert ended.stdout, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    assert ended.returncode == (0 if found["holds"] else 1)
    return found


@pytest.mark.timeout(600)
def test_a_minute_at_rest_costs_nothing_and_postgresql_hardly_wakes(quiet: Installed) -> None:
    for _ in range(TRIES):
        seen = told(quiet, SECONDS)
        if seen["holds"]:
            break
    ours = [it for it in seen["processes"] if it["group"].startswith("picloud")]

    assert seen["broken"] == []
    assert seen["unseen"] == []
    assert {it["group"] for it in ours} == {*UNITS}
    for key in ("switches_voluntary", "switches_involuntary", "cpu_ns", "cpu_ticks", "written_bytes"):
        assert {it[key] for it in ours} == {0}
    assert all(it["pss_bytes"] for it in ours)
    assert seen["statements"] == 0
    assert seen["postgresql"]["untuned"] == []
    assert seen["postgresql"]["wakeups"] <= seen["postgresql"]["wakeups_max"] == 12


def test_calls_are_told_from_rest(quiet: Installed) -> None:
    call = "while :; do curl -s --unix-socket /run/picloud/http.sock http://picloud/fn/hello; done"
    quiet.machine.run("systemd-run", "--quiet", "--unit=caller", "sh", "-c", call)
    try:
        seen = told(quiet, 2)
    finally:
        quiet.systemctl("stop", "caller")
    assert not seen["holds"]
    assert any("picloud.service) was switched to " in text for text in seen["broken"])


def test_without_the_tuning_the_doctor_says_what_to_do(quiet: Installed) -> None:
    (tuning,) = quiet.machine.root.glob("etc/postgresql/*/*/conf.d/picloud.conf")
    text = tuning.read_text()
    tuning.unlink()
    try:
        quiet.systemctl("restart", "postgresql")
        quiet.await_ready()
        said = quiet.machine.run(*doctor(1), check=False)
    finally:
        tuning.write_text(text)
        tuning.chmod(0o644)
        quiet.systemctl("restart", "postgresql")
        quiet.await_ready()
    assert "PostgreSQL is not set to sleep (autovacuum_naptime, " in said
