"""Keys and values in a real PostgreSQL: versions, expiry, and what counts against a space's quota."""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime

import pytest

from picloud.errors import InvalidRequest, SpaceFull, TransactionConflict
from picloud.model import (
    GET_BYTES_MAX,
    KEY_OVERHEAD_BYTES,
    SPACE_BYTES_MAX,
    VALUE_BYTES_MAX,
    Guard,
    Invocation,
    Outcome,
    Trigger,
    Value,
    new_id,
)
from picloud.storage.kv import KeyValues
from picloud.storage.unit_of_work import UnitOfWork, UnitsOfWork
from tests.fixtures_postgres import execute

LEAST, MOST = -(1 << 63), (1 << 63) - 1
PATIENCE_S = 60.0
GONE_MS = 1  # a time to live that is over with the next statement
MIB = Value.of_bytes(bytes(1024 * 1024))


@pytest.fixture
def units(database: str) -> Iterator[UnitsOfWork]:
    with closing(UnitsOfWork(database, size=8, wait_ms=10_000)) as ours:
        yield ours


@contextmanager
def begun(units: UnitsOfWork) -> Iterator[UnitOfWork]:
    """A transaction that rolls back unless it is committed."""
    with closing(units.begin(time.monotonic() + PATIENCE_S)) as work:
        yield work


@contextmanager
def committed(units: UnitsOfWork) -> Iterator[KeyValues]:
    """What is done in the block lasts."""
    with begun(units) as work:
        yield work.kv
        commit(work)


def commit(work: UnitOfWork) -> None:
    work.commit(Invocation(new_id(), "x", 1, Trigger.HTTP, Outcome.OK, 200, datetime.now(UTC), 0.0, 0.0, 0.0, 0))


def put(units: UnitsOfWork, key: str, value: Value, ttl_ms: int | None = None, guard: Guard = Guard()) -> int:  # noqa: B008 - frozen
    """Store → the version; fails if the guard does not hold."""
    with committed(units) as kv:
        entry = kv.put("s", key, value, ttl_ms, guard)
    assert entry
    return entry.version


def number(value: int) -> Value:
    return Value.of_number(value)


def expire(database: str, key: str) -> None:
    """Let the time of a key be over."""
    execute(database, "UPDATE kv SET expires_at = now() - interval '1 second' WHERE key = %s", key)


def usage(database: str) -> dict[object, object]:
    """Space → bytes, as the counters have it."""
    return dict(execute(database, "SELECT space, sum(bytes) FROM kv_usage GROUP BY space HAVING sum(bytes) <> 0"))  # type: ignore[arg-type]


def rows(database: str) -> dict[object, object]:
    """The same, as the rows have it."""
    return dict(execute(database, "SELECT space, sum(bytes) FROM kv GROUP BY space"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        Value.of_json('{"a":[1,null,"\\u0000"]}'), Value.of_json("null"), Value.of_json('""'),
        Value.of_bytes(b""), Value.of_bytes(bytes(range(256))),
        number(0), number(LEAST), number(MOST),
    ],
)  # fmt: skip
def test_a_value_comes_back_as_it_was(units: UnitsOfWork, value: Value) -> None:
    for guard in (Guard(0), Guard()):  # as a new one, and over another
        version = put(units, "k", value, guard=guard)
        with begun(units) as work:
            entry = work.kv.get("s", ["k"])["k"]
        assert (entry.key, entry.value, entry.version, entry.expires_at) == ("k", value, version, None)
    with committed(units) as kv:
        again = kv.put("s", "k", value, None, Guard(version))  # and over its own version
        assert again
        assert kv.get("s", ["k"])["k"] == again


def test_a_version_is_never_given_twice(units: UnitsOfWork) -> None:
    first = put(units, "k", number(1))
    with committed(units) as kv:
        assert kv.delete("s", "k")
    second = put(units, "k", number(1))
    assert second > first
    with begun(units) as work:
        assert work.kv.put("s", "k", number(2), None, Guard(first)) is None
        assert not work.kv.delete("s", "k", Guard(first))


def test_a_guard_lets_through_what_it_names_and_nothing_else(units: UnitsOfWork) -> None:
    with committed(units) as kv:
        assert kv.put("s", "k", number(1), None, Guard(7)) is None
        made = kv.put("s", "k", number(1), None, Guard(0))
        assert made
        assert kv.put("s", "k", number(2), None, Guard(0)) is None
        assert kv.put("s", "k", number(2), None, Guard(made.version + 1)) is None
        assert kv.put("s", "k", number(2), None, Guard(made.version))
        assert not kv.delete("s", "k", Guard(made.version))
        assert kv.get("s", ["k"])["k"].value == number(2)


def test_spaces_know_nothing_of_each_other(units: UnitsOfWork) -> None:
    with committed(units) as kv:
        kv.put("a", "k", number(1), None)
        kv.put("b", "k", number(2), None)
        assert kv.get("a", ["k", "l"])["k"].value == number(1)
        assert kv.delete("a", "k")
        assert kv.get("a", ["k"]) == {}
        assert kv.get("b", ["k"])["k"].value == number(2)


def test_a_page_is_in_the_order_of_bytes(units: UnitsOfWork) -> None:
    keys = ["a", "a/1", "a/10", "a/2", "B", "ä", "z", "\N{GRINNING FACE}", "\uffee"]
    with committed(units) as kv:
        for key in keys:
            kv.put("s", key, number(1), None)
        in_order = sorted(keys, key=str.encode)
        assert [it.key for it in kv.page("s", "", "", 100)] == in_order
        assert [it.key for it in kv.page("s", "a", "a/1", 2)] == ["a/10", "a/2"]
        assert [it.key for it in kv.page("s", "", in_order[3], 2)] == in_order[4:6]
        assert kv.page("s", "%", "", 100) == []


def test_a_page_looks_at_what_has_the_prefix_alone(database: str, units: UnitsOfWork) -> None:
    execute(database, "INSERT INTO kv (space, key, number, bytes, version)"
            " SELECT 's', lpad(n::text, 6, '0'), n, 80, n FROM generate_series(1, 20000) n")  # fmt: skip
    execute(database, "ANALYZE kv")
    plan = execute(database, "EXPLAIN SELECT key FROM kv WHERE space = 's' AND key > '' AND starts_with(key, '0001')")
    assert any("key < '0002'" in str(line) for (line,) in plan), plan


def test_what_would_be_too_much_at_once_is_refused_or_comes_in_pages(units: UnitsOfWork) -> None:
    with committed(units) as kv:
        for at in range(5):
            kv.put("s", f"k{at}", MIB, None)
        with pytest.raises(InvalidRequest, match=f"at most {GET_BYTES_MAX} are read at once"):
            kv.get("s", [f"k{at}" for at in range(5)])
        assert len(kv.get("s", ["k0", "k1", "k2"])) == 3
        first = kv.page("s", "", "", 100)
        assert [it.key for it in first] == ["k0", "k1", "k2"]
        assert [it.key for it in kv.page("s", "", first[-1].key, 100)] == ["k3", "k4"]


def test_an_increase_begins_at_nothing(units: UnitsOfWork) -> None:
    with committed(units) as kv:
        sums = [entry.value.number for by in (1, 5, -10) if (entry := kv.increase("s", "n", by, None))]
    assert sums == [1, 6, -4]


@pytest.mark.parametrize(
    ("at", "by", "becomes"),
    [
        (MOST - 1, 1, MOST), (MOST, 1, None), (0, MOST, MOST), (1, MOST, None), (MOST, LEAST, -1),
        (LEAST + 1, -1, LEAST), (LEAST, -1, None), (0, LEAST, LEAST), (-1, LEAST, None), (LEAST, MOST, -1), (5, 0, 5),
    ],
)  # fmt: skip
def test_an_increase_ends_where_64_bits_do(units: UnitsOfWork, at: int, by: int, becomes: int | None) -> None:
    put(units, "n", number(at))
    with committed(units) as kv:
        entry = kv.increase("s", "n", by, None)
        assert (entry and entry.value.number) == becomes
        assert kv.get("s", ["n"])["n"].value == number(at if becomes is None else becomes)


@pytest.mark.parametrize("value", [Value.of_json("1.5"), Value.of_json('"1"'), Value.of_bytes(b"1")])
def test_what_is_no_whole_number_is_not_increased(units: UnitsOfWork, value: Value) -> None:
    put(units, "n", value)
    with committed(units) as kv:
        assert kv.increase("s", "n", 1, None) is None
        assert kv.get("s", ["n"])["n"].value == value


def test_what_has_expired_is_absent_for_all(database: str, units: UnitsOfWork) -> None:
    absent: dict[str, Callable[[KeyValues], object]] = {
        "get": lambda kv: kv.get("s", ["k"]) == {},
        "page": lambda kv: kv.page("s", "", "", 10) == [],
        "delete": lambda kv: kv.delete("s", "k") is False,
        "delete of the version": lambda kv: kv.delete("s", "k", Guard(version)) is False,
        "put over the version": lambda kv: kv.put("s", "k", number(2), None, Guard(version)) is None,
        "put where nothing is": lambda kv: kv.put("s", "k", number(2), None, Guard(0)),
        "put": lambda kv: kv.put("s", "k", number(2), None),
        "increase": lambda kv: (entry := kv.increase("s", "k", 1, None)) and entry.value == number(1),
        "expired": lambda kv: kv.expired("s", "k", version) and not kv.expired("s", "k", version + 1),
    }
    for what, holds in absent.items():
        version = put(units, "k", number(41), 3_600_000)
        with committed(units) as kv:
            assert not kv.expired("s", "k", version)
        expire(database, "k")
        with committed(units) as kv:
            assert holds(kv), what
        assert usage(database) == rows(database), what


def test_a_key_lives_as_long_as_it_was_said_and_an_increase_leaves_that(units: UnitsOfWork) -> None:
    with committed(units) as kv:
        begun = kv.increase("s", "n", 1, 3_600_000)
        assert begun
        assert begun.expires_at
        again = kv.increase("s", "n", 1, 7_200_000)
        assert again
        assert again.expires_at == begun.expires_at
        kept = kv.put("s", "n", number(9), begun.expires_at, Guard(again.version))
        assert kept
        assert kept.expires_at == begun.expires_at
        ever = kv.put("s", "n", number(9), None)
        assert ever
        assert ever.expires_at is None


def test_the_time_of_the_statement_is_what_counts_and_not_that_of_the_transaction(units: UnitsOfWork) -> None:
    with begun(units) as work:
        stored = work.kv.put("s", "k", number(1), GONE_MS)
        assert stored
        while work.read("SELECT statement_timestamp() <= %(then)s", {"then": stored.expires_at})[0][0]:
            pass
        assert work.kv.get("s", ["k"]) == {}


def test_what_was_read_may_expire_and_still_be_replaced_by_who_read_it(database: str, units: UnitsOfWork) -> None:
    version = put(units, "k", number(1), 3_600_000)
    expire(database, "k")
    with committed(units) as kv:
        assert kv.put("s", "k", number(2), None, Guard(version)) is None
        assert kv.put("s", "k", number(2), None, Guard(version, expired_too=True))
    version = put(units, "l", number(1), 3_600_000)
    expire(database, "l")
    with committed(units) as kv:
        assert kv.delete("s", "l", Guard(version, expired_too=True))


SIZE_OF_KEY = KEY_OVERHEAD_BYTES + 2


def fill(database: str, leave: int) -> None:
    """Fill the space `s` but for so many bytes: with keys of 1 MiB each, by what is said of them."""
    execute(database, "INSERT INTO kv (space, key, raw, bytes, version) SELECT 's', lpad(n::text, 2, '0'), '',"
            " least(1048576, %s - n * 1048576), nextval('kv_versions') FROM generate_series(0, 63) AS n",
            SPACE_BYTES_MAX - leave)  # fmt: skip
    execute(database, "INSERT INTO kv_usage VALUES ('s', 0, %s)", SPACE_BYTES_MAX - leave)


@pytest.mark.parametrize(("size", "fits"), [(999, True), (1000, True), (1001, False)])
def test_a_space_takes_its_limit_and_not_a_byte_more(database: str, units: UnitsOfWork, size: int, fits: bool) -> None:
    fill(database, leave=1000 + SIZE_OF_KEY)
    value = Value.of_bytes(bytes(size))
    with committed(units) as kv:
        if fits:
            assert kv.put("s", "zz", value, None)
        else:
            with pytest.raises(SpaceFull, match=f"at most {SPACE_BYTES_MAX}"):
                kv.put("s", "zz", value, None)
            assert kv.get("s", ["zz"]) == {}
            assert kv.put("other", "zz", value, None)  # another space has room
    assert usage(database) == rows(database)


def test_a_full_space_takes_what_makes_it_no_larger(database: str, units: UnitsOfWork) -> None:
    fill(database, leave=0)
    with committed(units) as kv:
        with pytest.raises(SpaceFull):
            kv.increase("s", "nn", 1, None)
        assert kv.put("s", "00", MIB, None, Guard(12345)) is None  # it is not the room that this lacks
        assert kv.put("s", "00", Value.of_bytes(bytes(1024 * 1024 - SIZE_OF_KEY)), None)
        assert kv.put("s", "00", Value.of_bytes(b""), None)
        assert kv.increase("s", "nn", 1, None)
        assert kv.delete("s", "01")
        assert kv.put("s", "02", MIB, None)
    assert usage(database) == rows(database)


def test_two_that_fit_one_by_one_do_not_fit_together(database: str, units: UnitsOfWork) -> None:
    fill(database, leave=1000 + SIZE_OF_KEY)
    with begun(units) as one, begun(units) as other:
        for work, key in ((one, "zz"), (other, "zy")):
            assert work.kv.put("s", key, Value.of_bytes(bytes(1000)), None)
        commit(one)
        with pytest.raises(TransactionConflict, match="filled the space"):
            commit(other)
    assert usage(database) == rows(database)
    with committed(units) as kv, pytest.raises(SpaceFull):  # as it will be told when it runs again
        kv.put("s", "zy", Value.of_bytes(bytes(1000)), None)


def test_what_has_expired_makes_room(database: str, units: UnitsOfWork) -> None:
    fill(database, leave=0)
    expire(database, "00")
    expire(database, "01")
    with committed(units) as kv:
        assert kv.put("s", "zz", MIB, None)
        with pytest.raises(SpaceFull):
            kv.put("s", "zy", MIB, None)
    assert usage(database) == rows(database)
    assert execute(database, "SELECT 1 FROM kv WHERE key IN ('00', '01')") == []


def test_what_a_refused_write_deleted_comes_back_with_it(database: str, units: UnitsOfWork) -> None:
    fill(database, leave=0)
    expire(database, "63")  # the smallest: it does not make room enough
    with committed(units) as kv, pytest.raises(SpaceFull):
        kv.put("s", "zz", Value.of_bytes(bytes(4 * VALUE_BYTES_MAX + 1)), None)
    assert usage(database) == rows(database)


def test_the_usage_is_the_sum_of_the_rows_whatever_happened(database: str, units: UnitsOfWork) -> None:
    seed = random.randrange(1 << 30)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: disturb(units, random.Random(seed + n)), range(4)))
    assert rows(database), seed
    assert usage(database) == rows(database), seed


def disturb(units: UnitsOfWork, chance: random.Random) -> None:
    """Transactions of anything, some of which clash, roll back to a savepoint, or do not commit."""
    for _ in range(60):
        with begun(units) as work, suppress(TransactionConflict):
            for _ in range(chance.randint(1, 5)):
                anything(work, chance)
            if chance.random() < 0.8:
                commit(work)


def anything(work: UnitOfWork, chance: random.Random) -> None:
    kv, space, key = work.kv, chance.choice("ab"), chance.choice("klmn")
    ttl_ms = chance.choice([None, None, 1, 20])
    value = chance.choice([number(1), Value.of_bytes(bytes(chance.randint(0, 2000))), Value.of_json('"x"')])
    entry = kv.get(space, [key]).get(key)
    guard = Guard(chance.choice([None, 0, entry.version if entry else 1]))
    what = chance.randrange(5)
    if what == 0:
        kv.put(space, key, value, ttl_ms, guard)
    elif what == 1:
        kv.increase(space, key, 1, ttl_ms)
    elif what == 2:
        kv.delete(space, key, guard)
    elif what == 3:
        with work.savepoint() as savepoint:
            kv.put(space, key, value, ttl_ms)
            savepoint.restore()
    else:
        kv.put(space, key, value, ttl_ms)
