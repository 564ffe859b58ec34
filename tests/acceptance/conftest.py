"""One PiCloud for all acceptance tests that leave it as they found it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Running, running


@pytest.fixture(scope="session")
def picloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("picloud")) as ours:
        yield ours


@pytest.fixture
def fresh_data(tmp_path: Path) -> Path:
    return tmp_path / "data"
