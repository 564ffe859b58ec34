"""Subscriptions in a real PostgreSQL: each once, with their script and no longer, and as the script declares them."""

import pytest

from picloud.declared import Declared
from picloud.errors import Conflict, NotFound
from picloud.model import Subscription, Upload
from picloud.storage.pool import Pool
from picloud.storage.scripts import ScriptTable
from picloud.storage.subscriptions import SubscriptionTable
from picloud.subscriptions import SubscriptionWanted

ORDERS, ALL = SubscriptionWanted("order.*", "/shop", "7*"), SubscriptionWanted("*")


@pytest.fixture
def table(pool: Pool, scripts: ScriptTable) -> SubscriptionTable:
    for name in ("one", "two"):
        scripts.put(name, upload(name))
    return SubscriptionTable(pool)


def upload(text: str, *, activate: bool = True) -> Upload:
    return Upload({"main.lua": b"return 1"}, text, "me", activate)


def kept(table: SubscriptionTable, script: str) -> dict[str, tuple[int, bool]]:
    return {it.type: (it.id, it.declared) for it in table.page(99, 0) if it.script == script}


def test_one_is_kept_and_dropped(table: SubscriptionTable) -> None:
    added = table.add("one", ORDERS)
    assert added == Subscription(added.id, "one", "order.*", "/shop", "7*", declared=False)
    assert table.get(added.id) == added
    everything = table.add("two", ALL)
    assert table.page(99, 0) == [added, everything]
    assert (table.page(1, 0), table.page(1, added.id)) == ([added], [everything])
    table.delete(added.id)
    with pytest.raises(NotFound):
        table.get(added.id)
    with pytest.raises(NotFound):
        table.delete(added.id)


def test_a_script_has_each_once(table: SubscriptionTable) -> None:
    table.add("one", ALL)
    table.add("two", ALL)
    with pytest.raises(Conflict, match="'one' is subscribed to '\\*' already"):
        table.add("one", ALL)
    with pytest.raises(NotFound, match="no script 'three'"):
        table.add("three", ALL)


def test_others_are_not_there_for_who_may_not_know_of_them(table: SubscriptionTable) -> None:
    added, other = table.add("one", ALL), table.add("two", ALL)
    assert table.page(99, 0, only={"one"}) == [added]
    assert table.get(added.id, only={"one"}) == added
    for ask in (table.get, table.delete):
        with pytest.raises(NotFound):
            ask(other.id, only={"one"})
    assert table.get(other.id) == other


def test_what_a_version_declares_is_what_there_is_beside_those_made_by_hand(
    table: SubscriptionTable, scripts: ScriptTable
) -> None:
    by_hand, adopted = table.add("one", SubscriptionWanted("hand")), table.add("one", SubscriptionWanted("both"))
    table.add("two", SubscriptionWanted("other"))
    scripts.put(
        "one", upload("2"), declared=Declared(subscriptions=[SubscriptionWanted("both"), SubscriptionWanted("first")])
    )
    before = kept(table, "one")
    assert before.keys() == {"hand", "both", "first"}
    assert (before["hand"], before["both"]) == ((by_hand.id, False), (adopted.id, True))
    scripts.put(
        "one", upload("3"), declared=Declared(subscriptions=[SubscriptionWanted("second"), SubscriptionWanted("first")])
    )
    after = kept(table, "one")
    assert after.keys() == {"hand", "first", "second"}
    assert after["first"] == before["first"]
    scripts.put("one", upload("4"))  # it says nothing
    assert kept(table, "one") == after
    scripts.put("one", upload("5"), declared=Declared(subscriptions=[]))
    assert kept(table, "one").keys() == {"hand"}
    assert kept(table, "two").keys() == {"other"}


def test_what_is_not_active_declares_nothing_yet(table: SubscriptionTable, scripts: ScriptTable) -> None:
    scripts.put("one", upload("2", activate=False), declared=Declared(subscriptions=[ALL]))
    assert kept(table, "one") == {}
    scripts.activate("one", 2, declared=Declared(subscriptions=[ALL]))
    assert kept(table, "one").keys() == {"*"}
    scripts.activate("one", 1, declared=Declared(subscriptions=[]))
    assert kept(table, "one").keys() == {"*"}, "a version that was active before changes nothing"
