"""Scripts: every change of them is announced."""

from collections.abc import Collection
from datetime import UTC, datetime

import pytest

from picloud.errors import InvalidRequest
from picloud.manager.scripts import Scripts, check_name
from picloud.model import Script, Settings


class Shelf:
    """One script that can be changed."""

    def get(self, name: str) -> Script:
        now = datetime.now(UTC)
        return Script(name, 1, Settings(), now, now)

    def page(self, limit: int, after: str, only: Collection[str] | None) -> list[Script]:
        return []

    def delete(self, name: str) -> None: ...

    def activate(self, name: str, version: int) -> None: ...


@pytest.mark.parametrize("change", ["activate", "delete"])
def test_every_change_is_announced(change: str) -> None:
    announced: list[str] = []
    scripts = Scripts(Shelf(), lambda: announced.append(change))
    scripts.activate("a", 1) if change == "activate" else scripts.delete("a")
    assert announced == [change]


@pytest.mark.parametrize("name", ["", "A", "-a", "a_b", "a.b", "ä", "a" * 64, "a/b", "a\n"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be a script's name"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 63])
def test_a_name_that_is_one_is_taken(name: str) -> None:
    check_name(name)
