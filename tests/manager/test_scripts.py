"""The rules of an upload: what is refused is refused before anything is stored."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

import pytest

from picloud.errors import BodyTooLarge, InvalidRequest, InvalidSource
from picloud.manager.scripts import SOURCE_BYTES_MAX, Scripts
from picloud.model import Condition, Script, Settings, SyntaxProblem


class Shelf:
    """Remembers what was put and what was announced."""

    def __init__(self) -> None:
        self.put_files: list[Mapping[str, bytes]] = []
        self.announced = 0

    def put(
        self, name: str, files: Mapping[str, bytes], sha256: str, created_by: str, condition: Condition
    ) -> tuple[int, bool]:
        self.put_files.append(files)
        return len(self.put_files), True

    def get(self, name: str) -> Script:
        now = datetime.now(UTC)
        return Script(name, 1, Settings(), now, now)

    def page(self, limit: int, after: str, only: Collection[str] | None) -> list[Script]:
        return []

    def delete(self, name: str) -> None: ...

    def activate(self, name: str, version: int) -> None: ...

    def announce(self) -> None:
        self.announced += 1


class Checker:
    """Finds what it is told to find."""

    def __init__(self, problem: SyntaxProblem | None = None) -> None:
        self.problem = problem

    def check(self, files: Mapping[str, bytes]) -> SyntaxProblem | None:
        return self.problem


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def test_a_source_that_compiles_is_stored_and_announced(shelf: Shelf) -> None:
    done = Scripts(shelf, Checker(), shelf.announce).upload("hello", b"return 1", "me")
    assert (done.version, done.created) == (1, True)
    assert shelf.put_files == [{"main.lua": b"return 1"}]
    assert shelf.announced == 1


def test_a_source_that_does_not_compile_is_not_stored(shelf: Shelf) -> None:
    scripts = Scripts(shelf, Checker(SyntaxProblem("main.lua", 3, "'=' expected")), shelf.announce)
    with pytest.raises(InvalidSource) as caught:
        scripts.upload("hello", b"x", "me")
    assert (caught.value.file, caught.value.line, str(caught.value)) == ("main.lua", 3, "main.lua:3: '=' expected")
    assert (shelf.put_files, shelf.announced) == ([], 0)


@pytest.mark.parametrize("name", ["", "A", "-a", "a_b", "a.b", "ä", "a" * 64, "a/b", "a\n"])
def test_a_name_that_is_none_is_refused(shelf: Shelf, name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be a script's name"):
        Scripts(shelf, Checker(), shelf.announce).upload(name, b"", "me")
    assert not shelf.put_files


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 63])
def test_a_name_that_is_one_is_taken(shelf: Shelf, name: str) -> None:
    Scripts(shelf, Checker(), shelf.announce).upload(name, b"", "me")


def test_a_source_over_the_limit_is_refused(shelf: Shelf) -> None:
    scripts = Scripts(shelf, Checker(), shelf.announce)
    scripts.upload("a", b"x" * SOURCE_BYTES_MAX, "me")
    with pytest.raises(BodyTooLarge):
        scripts.upload("a", b"x" * (SOURCE_BYTES_MAX + 1), "me")


@pytest.mark.parametrize("change", ["activate", "delete"])
def test_every_change_is_announced(shelf: Shelf, change: str) -> None:
    scripts = Scripts(shelf, Checker(), shelf.announce)
    scripts.activate("a", 1) if change == "activate" else scripts.delete("a")
    assert shelf.announced == 1
