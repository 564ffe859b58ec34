"""The router: no SQL on a hit, and never an older version than the one that was announced."""

from collections.abc import Callable
from pathlib import Path

import pytest

from picloud.cache import Generation
from picloud.errors import DatabaseUnavailable, NotFound
from picloud.model import Program, Settings
from picloud.orchestrator.router import Router


class Source:
    """A table of programs that counts its reads and may be interrupted in the middle of one."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {"a": 1}
        self.reads = 0
        self.away = False
        self.during: Callable[[], None] = lambda: None

    def program(self, name: str) -> Program | None:
        self.reads += 1
        if self.away:
            raise DatabaseUnavailable()
        version = self.versions.get(name)
        self.during()
        return Program(name, version, {}, Settings()) if version else None


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def generation(tmp_path: Path) -> Generation:
    return Generation(tmp_path / "generation")


@pytest.fixture
def router(source: Source, generation: Generation) -> Router:
    return Router(source, generation)


def test_a_second_look_up_reads_nothing(router: Router, source: Source) -> None:
    assert router.resolve("a") is router.resolve("a")
    assert source.reads == 1


def test_an_announced_change_is_read_again(router: Router, source: Source) -> None:
    router.resolve("a")
    source.versions["a"] = 2
    router.programs.forget("a")
    assert router.resolve("a").version == 2


def test_a_change_by_this_node_is_seen_by_its_next_request(
    router: Router, source: Source, generation: Generation, tmp_path: Path
) -> None:
    router.resolve("a")
    source.versions["a"] = 2
    Generation(tmp_path / "generation").bump()  # another process's view of the same memory
    assert router.resolve("a").version == 2


@pytest.mark.parametrize("how", ["invalidate", "clear", "bump"])
def test_what_was_read_before_an_announcement_is_not_kept(
    router: Router, source: Source, generation: Generation, how: str
) -> None:
    def change() -> None:
        source.during = lambda: None
        source.versions["a"] = 2
        {"invalidate": lambda: router.programs.forget("a"), "clear": router.programs.clear, "bump": generation.bump}[
            how
        ]()

    source.during = change
    router.resolve("a")
    assert router.resolve("a").version == 2


def test_a_miss_is_not_cached(router: Router, source: Source) -> None:
    with pytest.raises(NotFound):
        router.resolve("b")
    source.versions["b"] = 1
    assert router.resolve("b").version == 1


def test_cached_programs_answer_while_the_database_is_away(router: Router, source: Source) -> None:
    router.resolve("a")
    source.away = True
    assert router.resolve("a").version == 1
    with pytest.raises(DatabaseUnavailable):
        router.resolve("b")


def test_the_cache_is_bounded(router: Router, source: Source) -> None:
    source.versions = {str(number): 1 for number in range(600)}
    for name in source.versions:
        router.resolve(name)
    reads = source.reads
    router.resolve("599")
    assert source.reads == reads
    router.resolve("0")
    assert source.reads == reads + 1
