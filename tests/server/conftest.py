"""A server for the tests of a module, with each of gunicorn's parsers; one of its own for a test that ends it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.harness import Gate, Server, serving


@pytest.fixture(scope="module", params=["fast", "python"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), TEST_PARSER=request.param) as ours:
        yield ours


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as ours:
        yield ours


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    ours = Gate(tmp_path / "gate")
    yield ours
    ours.close()
