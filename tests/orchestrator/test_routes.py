"""The routes in memory: read once for each change, by one thread, and there while the database is away."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from picloud.cache import Generation
from picloud.errors import DatabaseUnavailable
from picloud.model import Route
from picloud.orchestrator.routes import Routes


class Source:
    """A table of routes that counts its reads and may be interrupted in the middle of one."""

    def __init__(self) -> None:
        self.paths = ["/a"]
        self.reads = 0
        self.away = False
        self.during: Callable[[], None] = lambda: None

    def all(self) -> list[Route]:
        self.reads += 1
        found = [Route(at, "GET", None, path, path[1:]) for at, path in enumerate(self.paths)]
        self.during()
        if self.away:
            raise DatabaseUnavailable
        return found


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def generation(tmp_path: Path) -> Generation:
    return Generation(tmp_path / "generation")


@pytest.fixture
def routes(source: Source, generation: Generation) -> Routes:
    return Routes(source, generation)


def leads(routes: Routes, path: str) -> bool:
    return routes.tree().find("", "GET", [path[1:]]) is not None


def test_a_second_look_up_reads_nothing_hit_or_miss(routes: Routes, source: Source) -> None:
    assert leads(routes, "/a")
    assert not leads(routes, "/b")
    assert source.reads == 1


@pytest.mark.parametrize("how", ["clear", "bump"])
def test_a_change_is_seen_by_the_next_request(routes: Routes, source: Source, generation: Generation, how: str) -> None:
    leads(routes, "/a")
    source.paths = ["/b"]
    {"clear": routes.clear, "bump": generation.bump}[how]()
    assert (leads(routes, "/a"), leads(routes, "/b")) == (False, True)


@pytest.mark.parametrize("how", ["clear", "bump"])
def test_what_was_read_before_a_change_is_not_kept(
    routes: Routes, source: Source, generation: Generation, how: str
) -> None:
    def change() -> None:
        source.during = lambda: None
        source.paths = ["/b"]
        {"clear": routes.clear, "bump": generation.bump}[how]()

    source.during = change
    leads(routes, "/a")
    assert leads(routes, "/b")


def test_a_change_of_something_else_builds_no_new_tree(routes: Routes, generation: Generation) -> None:
    tree = routes.tree()
    generation.bump()
    assert routes.tree() is tree


def test_the_latest_routes_lead_while_the_database_is_away_and_the_new_ones_after(
    routes: Routes, source: Source, generation: Generation
) -> None:
    leads(routes, "/a")
    generation.bump()
    source.away = True
    assert leads(routes, "/a")
    assert not leads(routes, "/b")
    source.away, source.paths = False, ["/b"]
    assert leads(routes, "/b")


def test_without_any_routes_read_nothing_is_known(routes: Routes, source: Source) -> None:
    source.away = True
    with pytest.raises(DatabaseUnavailable):
        routes.tree()
    source.away = False
    assert leads(routes, "/a")


class Turn:
    """A lock that knows how many have come to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.come = threading.Semaphore(0)

    def __enter__(self) -> None:
        self.come.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_threads_that_ask_at_once_read_once(routes: Routes, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    leads(routes, "/a")
    routes.clear()
    turn = Turn()
    monkeypatch.setattr(routes, "_turn", turn)

    def until_all_have_come() -> None:
        for _ in range(8):
            assert turn.come.acquire(timeout=10)

    source.during = until_all_have_come
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(leads, routes, "/a") for _ in range(8)]
        assert all(one.result() for one in asked)
    assert source.reads == 2
