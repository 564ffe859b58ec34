"""The tables on a fresh database of a test's own."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from picloud.storage.invocations import InvocationTable
from picloud.storage.logs import LogTable
from picloud.storage.pool import Pool
from picloud.storage.scripts import ScriptTable


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    with closing(Pool(database, size=4, wait_ms=5_000)) as ours:
        yield ours


@pytest.fixture
def scripts(pool: Pool) -> ScriptTable:
    return ScriptTable(pool)


@pytest.fixture
def invocations(pool: Pool) -> InvocationTable:
    return InvocationTable(pool)


@pytest.fixture
def lines(pool: Pool) -> LogTable:
    return LogTable(pool)
