"""Scripts: every change of them is announced."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import pytest

from picloud.declared import Declared
from picloud.errors import InvalidRequest
from picloud.manager.scripts import Scripts, check_name
from picloud.manager.settings import SettingsRules
from picloud.model import DEFAULT_POLICY, Condition, Script, Settings, StoredSettings
from picloud.patterns import RouteWanted


class Shelf:
    """One script that can be changed; what waits for its first activation is what it is told."""

    def __init__(self, waiting: dict[str, bytes] | None = None) -> None:
        self.waiting = waiting or {}
        self.routes: Sequence[RouteWanted] | None = None
        self.stored: StoredSettings = {"env": {"A": "1"}}

    def get(self, name: str) -> Script:
        now = datetime.now(UTC)
        return Script(name, 1, Settings(), now, now)

    def page(self, limit: int, after: str, only: Collection[str] | None) -> list[Script]:
        return []

    def delete(self, name: str, condition: Condition) -> None: ...

    def unapplied(self, name: str, version: int) -> dict[str, bytes]:
        return self.waiting

    def activate(
        self,
        name: str,
        version: int,
        condition: Condition,
        declared: Declared,
        only: Collection[str] | None,
    ) -> None:
        self.stored = declared.settings(self.stored) if declared.settings else self.stored
        self.routes = declared.routes


@pytest.mark.parametrize("change", ["activate", "delete"])
def test_every_change_is_announced(change: str) -> None:
    announced: list[str] = []
    scripts = Scripts(Shelf(), SettingsRules(DEFAULT_POLICY), lambda: announced.append(change))
    scripts.activate("a", 1) if change == "activate" else scripts.delete("a")
    assert announced == [change]


def activate(waiting: dict[str, bytes]) -> Shelf:
    shelf = Shelf(waiting)
    Scripts(shelf, SettingsRules(DEFAULT_POLICY), lambda: None).activate("a", 2)
    return shelf


def test_what_a_version_that_waited_declares_comes_with_its_first_activation() -> None:
    toml = b"settings.env.B = '2'\n[[route]]\npath = '/hi'"
    shelf = activate({"main.lua": b"return 1", "picloud.toml": toml})
    assert (shelf.stored, shelf.routes) == ({"env": {"A": "1", "B": "2"}}, (RouteWanted("ANY", None, "/hi"),))


@pytest.mark.parametrize("waiting", [{}, {"main.lua": b"return 1"}])
def test_what_was_active_before_or_declares_nothing_changes_nothing(waiting: dict[str, bytes]) -> None:
    shelf = activate(waiting)
    assert (shelf.stored, shelf.routes) == ({"env": {"A": "1"}}, None)


def test_what_may_not_be_any_more_is_refused_when_it_would_be_active() -> None:
    with pytest.raises(InvalidRequest, match=r"picloud.toml: settings.limits.wall_ms: at most"):
        activate({"picloud.toml": b"settings.limits.wall_ms = 300001"})


@pytest.mark.parametrize("name", ["", "A", "-a", "a_b", "a.b", "ä", "a" * 64, "a/b", "a\n"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be a script's name"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 63])
def test_a_name_that_is_one_is_taken(name: str) -> None:
    check_name(name)
