"""Whose processes are whose: by systemd's cgroups, and by descent."""

import os
import subprocess
import sys

import pytest

from picloud.idle.finding import below, postgres_of, unit_in, units
from picloud.storage.embedded import EmbeddedPostgres
from tests.running import eventually

GUEST = "/machine.slice/machine-pi.scope/payload"


@pytest.mark.parametrize(
    ("path", "root", "unit"),
    [
        ("/system.slice/picloud.service", "", "picloud.service"),
        ("/system.slice/system-postgresql.slice/postgresql@15-main.service", "", "postgresql@15-main.service"),
        ("/system.slice/picloud-executor.service/sandboxes/1", "", "picloud-executor.service"),
        (f"{GUEST}/system.slice/picloud.service", GUEST, "picloud.service"),
        (f"{GUEST}/system.slice/picloud.service", "", ""),  # of a machine in this one
        (
            "/system.slice/docker-1.scope/system.slice/picloud.service",
            "/system.slice/docker-1.scope",
            "picloud.service",
        ),
        ("/user.slice/user-0.slice/user@0.service/app.slice/picloud.service", "", ""),
        ("/init.scope", "", ""),
        ("/", "", ""),
        ("", "", ""),
    ],
)
def test_a_cgroup_is_of_a_unit_of_this_systemd_or_of_none(path: str, root: str, unit: str) -> None:
    assert unit_in(path, root) == unit


def test_there_are_no_units_of_a_name_that_nothing_has() -> None:
    assert units("no-such-*.service") == {}


def test_descendants_are_found_over_generations() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        found = eventually(lambda: below(process.pid), lambda pids: len(pids) == 2)
        assert found[0] == process.pid
        assert set(found) < set(below(os.getpid()))
        process.communicate(b"\n")
    assert below(process.pid) == []


def test_a_backend_leads_to_its_server(postgres: EmbeddedPostgres) -> None:
    backend = below(postgres.pid)[-1]
    assert postgres_of(backend) == postgres.pid
    assert postgres_of(os.getpid()) == 0
    assert postgres_of(0) == 0
