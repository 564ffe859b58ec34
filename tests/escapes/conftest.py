"""The PiClouds on which all scripts of the corpus are tried."""

from collections.abc import Iterator

import pytest

from tests.escapes.benches import Benches
from tests.escapes.trial import Bench


@pytest.fixture(scope="session")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Benches]:
    with Benches(tmp_path_factory.mktemp("escapes")) as ours:
        yield ours


@pytest.fixture
def bench(benches: Benches) -> Bench:
    return benches.with_binding("")
