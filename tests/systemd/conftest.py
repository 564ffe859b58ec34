"""One machine with an installed PiCloud for all tests that do not change what is installed."""

from collections.abc import Iterator

import pytest

from tests.systemd.guest import Guest, guest
from tests.systemd.installed import Installed

pytestmark = pytest.mark.root


@pytest.fixture(scope="session")
def machine() -> Iterator[Guest]:
    with guest() as ours:
        yield ours


@pytest.fixture(scope="session")
def fresh(machine: Guest) -> Installed:
    """Installed from a clean checkout, and nothing done to it since."""
    ours = Installed(machine)
    ours.prepare()
    ours.said = ours.install()
    return ours


@pytest.fixture
def installed(fresh: Installed) -> Installed:
    """It serves."""
    fresh.await_ready()
    return fresh
