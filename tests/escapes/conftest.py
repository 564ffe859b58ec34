"""One PiCloud on which all scripts of the corpus are tried."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.escapes.trial import Bench
from tests.running import running


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with running(tmp_path_factory.mktemp("escapes")) as picloud, closing(Bench(picloud)) as ours:
        yield ours
