"""Keys and values under way: what one invocation reads and writes while another one does, on a real PostgreSQL.

Each sentence of the design stands for two real attempts, their host calls made in the order that matters.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from picloud.errors import TransactionConflict
from picloud.model import KEY_BYTES_MAX, VALUE_BYTES_MAX, Settings
from picloud.orchestrator.attempt import Attempt
from sandbox.protocol import DONE, REFUSED
from tests.fixtures_postgres import execute
from tests.running import eventually
from tests.stateful import Calls, Stateful, settle

CLIENTS = 8
EACH = 10


@pytest.fixture
def stateful(database: str) -> Iterator[Stateful]:
    with closing(Stateful(database, settings=Settings(kv=("orders",)))) as ours:
        yield ours


class Script:
    """One attempt, in short words; rolls back unless it is settled."""

    def __init__(self, attempt: Attempt, space: str = "") -> None:
        self.attempt = attempt
        self._space = space.encode()

    def call(self, name: str, *arguments: object) -> list[bytes]:
        """What the host answers; fails if it refuses."""
        kind, *fields = self.refusable(name, *arguments)
        assert kind == DONE, fields
        return fields

    def refusable(self, name: str, *arguments: object) -> list[bytes]:
        encoded = [it if isinstance(it, bytes) else str(it).encode() for it in arguments]
        return Calls(self.attempt)(f"kv.{name}".encode(), (self._space, *encoded))

    def get(self, key: str) -> int | None:
        found = self.call("get", key)
        return int(found[2]) if found else None

    def version(self, key: str) -> int:
        return int(self.call("get", key)[3])

    def set(self, key: str, value: int, if_version: object = "", ttl_ms: object = "") -> list[bytes]:
        return self.call("set", key, "number", value, ttl_ms, if_version)

    def incr(self, key: str, by: int = 1, ttl_ms: object = "") -> int:
        return int(self.call("incr", key, by, ttl_ms)[0])

    def delete(self, key: str, if_version: object = "") -> bool:
        return self.call("delete", key, if_version) == [b"1"]

    def get_many(self, *keys: str) -> dict[str, int]:
        fields = self.call("get_many", *keys)
        return {key.decode(): int(value) for key, value in zip(fields[::4], fields[2::4], strict=True)}

    def keys(self, prefix: str = "", after: str = "", limit: int = 100) -> list[str]:
        return [key.decode() for key in self.call("list", prefix, after, limit)[::4]]

    def settle(self) -> None:
        settle(self.attempt)


Work = Callable[[Script], object]


@pytest.fixture
def two(stateful: Stateful) -> Iterator[tuple[Script, Script]]:
    """Two invocations of the same script at once."""
    with stateful.begin() as one, stateful.begin() as other:
        yield Script(one), Script(other)


def seed(stateful: Stateful, **values: int) -> None:
    with stateful.begin() as attempt:
        for key, value in values.items():
            Script(attempt).set(key, value)
        settle(attempt)


def now(stateful: Stateful, *keys: str) -> dict[str, int]:
    """What another invocation finds."""
    with stateful.begin() as attempt:
        return Script(attempt).get_many(*keys)


# ── what was read stays ─────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_read_stays_as_it_was_read(stateful: Stateful, two: tuple[Script, Script]) -> None:
    seed(stateful, a=1)
    reader, _ = two
    assert (reader.get("a"), reader.get("b")) == (1, None)
    seed(stateful, a=2, b=2)
    assert (reader.get("a"), reader.get("b")) == (1, None)


def test_what_was_written_is_read_by_who_wrote_it_and_by_nobody_else(two: tuple[Script, Script]) -> None:
    writer, other = two
    writer.set("a", 1)
    assert (writer.get("a"), writer.get_many("a"), writer.keys()) == (1, {"a": 1}, ["a"])
    assert (other.get("a"), other.get_many("a"), other.keys()) == (None, {}, [])


def test_what_is_too_much_to_be_kept_is_read_again_and_must_be_the_same(
    stateful: Stateful, two: tuple[Script, Script]
) -> None:
    large = b"x" * VALUE_BYTES_MAX
    with stateful.begin() as attempt:
        for at in range(6):
            Script(attempt).call("set", f"k{at}", "bytes", large, "", "")
        settle(attempt)
    reader, _ = two
    for _ in range(2):
        assert [reader.call("get", f"k{at}")[2] for at in range(6)] == [large] * 6
    seed(stateful, k0=1, k5=1)
    assert reader.call("get", "k0")[2] == large
    with pytest.raises(TransactionConflict, match="'k5'"):
        reader.call("get", "k5")


def test_many_keys_are_of_one_moment_also_beside_what_was_read_before(
    stateful: Stateful, two: tuple[Script, Script]
) -> None:
    seed(stateful, a=1, b=1)
    reader, _ = two
    assert reader.get("a") == 1
    seed(stateful, a=2, b=2)
    with pytest.raises(TransactionConflict, match="another invocation changed 'a' meanwhile"):
        reader.get_many("a", "b")


def test_a_list_is_of_one_moment_also_beside_what_was_read_before(stateful: Stateful, database: str) -> None:
    seed(stateful, a=1, b=1, c=1)
    changes: list[Work] = [lambda it: it.set("b", 2), lambda it: it.delete("b")]
    for change in changes:
        with stateful.begin() as attempt, stateful.begin() as faster:
            reader = Script(attempt)
            assert reader.get("b") == 1
            change(Script(faster))
            settle(faster)
            assert (reader.keys(after="b"), reader.keys(prefix="c"), reader.keys(limit=1)) == (["c"], ["c"], ["a"])
            with pytest.raises(TransactionConflict, match="'b'"):
                reader.keys()
        seed(stateful, b=1)


def test_a_list_lacks_nothing_at_its_end_that_was_read_before(stateful: Stateful, two: tuple[Script, Script]) -> None:
    seed(stateful, a=1, b=1)
    reader, faster = two
    assert reader.get("b") == 1
    faster.delete("b")
    faster.settle()
    assert reader.keys(limit=1) == ["a"]
    with pytest.raises(TransactionConflict, match="'b'"):
        reader.keys()


def test_a_transfer_is_seen_whole_or_not_at_all(stateful: Stateful) -> None:
    seed(stateful, a=100, b=100)
    done = threading.Event()

    def transfer(amount: int) -> None:
        for _ in range(EACH):
            again(stateful, lambda it: (it.set("a", (it.get("a") or 0) - amount), it.incr("b", amount)))

    def look() -> list[int]:
        sums = [200]
        while not done.is_set():
            sums.append(sum(now(stateful, "a", "b").values()))
        return sums

    with ThreadPoolExecutor(4) as threads:
        looking = threads.submit(look)
        for ended in [threads.submit(transfer, amount) for amount in (1, 7, -3)]:
            ended.result()
        done.set()
        assert set(looking.result()) == {200}
    assert now(stateful, "a", "b") == {"a": 100 - 5 * EACH, "b": 100 + 5 * EACH}


# ── nobody writes over what was read ────────────────────────────────────────────────────────────────────────────────


def test_a_write_of_what_was_read_replaces_the_version_that_was_read(
    stateful: Stateful, two: tuple[Script, Script]
) -> None:
    seed(stateful, a=1)
    one, other = two
    assert (one.get("a"), other.get("a")) == (1, 1)
    one.set("a", 2)
    one.settle()
    for write in (lambda: other.set("a", 2), lambda: other.incr("a"), lambda: other.delete("a")):
        with pytest.raises(TransactionConflict, match="another invocation changed 'a' meanwhile"):
            write()
    assert now(stateful, "a") == {"a": 2}


def test_what_was_not_there_when_it_was_read_is_made_by_one_alone(
    stateful: Stateful, two: tuple[Script, Script]
) -> None:
    one, other = two
    assert (one.get("a"), other.get("a")) == (None, None)
    one.incr("a")
    one.settle()
    for write in (lambda: other.set("a", 5), lambda: other.incr("a")):
        with pytest.raises(TransactionConflict):
            write()
    assert now(stateful, "a") == {"a": 1}


@pytest.mark.parametrize("reads", ["get", "get_many", "keys"])
def test_reading_of_every_kind_guards_what_is_written_then(
    stateful: Stateful, two: tuple[Script, Script], reads: str
) -> None:
    seed(stateful, a=1)
    slower, faster = two
    getattr(slower, reads)("a")
    faster.set("a", 2)
    faster.settle()
    with pytest.raises(TransactionConflict):
        slower.set("a", 3)


def test_who_writes_without_having_read_waits_and_writes_over_it(
    database: str, stateful: Stateful, two: tuple[Script, Script]
) -> None:
    one, other = two
    one.set("a", 1)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(other.set, "a", 2)
        until_somebody_waits(database)
        assert not waiting.done()
        one.settle()
        waiting.result()
    other.settle()
    assert now(stateful, "a") == {"a": 2}


def test_an_increase_of_what_was_not_read_waits_and_loses_nothing(
    database: str, stateful: Stateful, two: tuple[Script, Script]
) -> None:
    one, other = two
    assert one.incr("a", 3) == 3
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(other.incr, "a", 4)
        until_somebody_waits(database)
        one.settle()
        assert waiting.result() == 7
    other.settle()
    assert now(stateful, "a") == {"a": 7}


def test_no_update_is_lost_whatever_way_it_is_made(stateful: Stateful) -> None:
    ways: list[Work] = [
        lambda it: it.set("n", (it.get("n") or 0) + 1),
        lambda it: it.incr("n"),
        lambda it: (it.get("n"), it.incr("n")),
        lambda it: it.set("n", it.get_many("n").get("n", 0) + 1),
    ]
    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(lambda at: again(stateful, ways[at % 4]), range(CLIENTS * EACH)))
    assert now(stateful, "n") == {"n": CLIENTS * EACH}


def test_who_wait_for_each_other_are_told_and_one_of_them_goes_on(
    stateful: Stateful, two: tuple[Script, Script]
) -> None:
    one, other = two
    one.set("a", 1)
    other.set("b", 2)
    with ThreadPoolExecutor(2) as threads:
        ends = [threads.submit(lambda it: it[0].set(it[1], 3), it) for it in ((one, "b"), (other, "a"))]
        clashes = [it.exception() for it in ends]
    assert sorted(type(it).__name__ for it in clashes) == ["NoneType", "TransactionConflict"]


def test_transactions_in_opposite_order_all_come_to_their_end(stateful: Stateful) -> None:
    def add(first: str, second: str) -> None:
        for _ in range(EACH):
            again(stateful, lambda it: (it.incr(first), it.incr(second)))

    with ThreadPoolExecutor(2) as threads:
        for ended in [threads.submit(add, "a", "b"), threads.submit(add, "b", "a")]:
            ended.result()
    assert now(stateful, "a", "b") == {"a": 2 * EACH, "b": 2 * EACH}


# ── versions that a script names ────────────────────────────────────────────────────────────────────────────────────


def test_a_version_that_is_not_there_is_refused_without_an_error(
    stateful: Stateful, two: tuple[Script, Script]
) -> None:
    one, _ = two
    assert one.set("a", 1, if_version=7) == []
    made = int(one.set("a", 1, if_version=0)[0])
    assert one.set("a", 2, if_version=0) == []
    assert not one.delete("a", if_version=made + 1)
    assert one.get("a") == 1
    assert one.set("a", 2, if_version=made)
    assert one.get("a") == 2


def test_a_script_that_names_what_it_has_read_clashes_and_does_not_go_round_for_ever(
    stateful: Stateful, two: tuple[Script, Script]
) -> None:
    seed(stateful, a=1)
    slower, _ = two
    version = slower.version("a")
    seed(stateful, a=2)
    assert slower.set("a", 3, if_version=version + 1) == []  # as it was read, that is not there
    with pytest.raises(TransactionConflict):
        slower.set("a", 3, if_version=version)


def test_a_script_that_names_a_version_of_before_is_told_that_it_is_not_there(
    stateful: Stateful, two: tuple[Script, Script]
) -> None:
    seed(stateful, a=1)
    one, other = two
    version = one.version("a")
    seed(stateful, a=2)
    assert other.set("a", 3, if_version=version) == []
    assert not other.delete("a", if_version=version)
    assert other.get("a") == 2


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_an_invocation_wrote_for_a_moment_is_no_clash_with_itself(database: str, stateful: Stateful) -> None:
    ways: list[Work] = [
        lambda it: it.get_many("a") == {},
        lambda it: it.keys() == [],
        lambda it: it.set("a", 2) != [],
        lambda it: it.incr("a") == 2,
        lambda it: it.delete("a"),
        lambda it: it.get("a") == 1,  # as it was written
    ]
    for go_on in ways:
        with stateful.begin() as attempt:
            script = Script(attempt)
            script.set("a", 1, ttl_ms=1)
            while attempt.work().kv.get("script 1", ["a"]):
                pass
            assert go_on(script)


def test_what_was_read_and_then_expired_is_no_clash(database: str, stateful: Stateful) -> None:
    with stateful.begin() as attempt:
        Script(attempt).set("a", 1, ttl_ms=3_600_000)
        settle(attempt)
    with stateful.begin() as attempt:
        script = Script(attempt)
        assert script.get("a") == 1
        execute(database, "UPDATE kv SET expires_at = now() - interval '1 second'")
        assert script.get("a") == 1
        assert script.get_many("a") == {}
        assert script.incr("a") == 1


def test_an_increase_leaves_the_time_that_a_key_has(database: str, stateful: Stateful) -> None:
    for read_first in (False, True):
        with stateful.begin() as attempt:
            script = Script(attempt)
            script.delete("a")
            if read_first:
                assert script.get("a") is None
            script.incr("a", ttl_ms=3_600_000)
            script.incr("a", ttl_ms=7_200_000)
            settle(attempt)
        minutes = "SELECT round(extract(epoch FROM expires_at - now()) / 60) <= 60 FROM kv"
        assert execute(database, minutes) == [(True,)]


# ── arguments, spaces, and what is left of it ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("size", "fits"), [(0, False), (1, True), (511, True), (512, True), (513, False)])
def test_a_key_has_its_limits(stateful: Stateful, size: int, fits: bool) -> None:
    for key in ("k" * size, "ä" * (size // 2) + "k" * (size % 2)):
        with stateful.begin() as attempt:
            kind, *said = Script(attempt).refusable("set", key, "number", 1, "", "")
        assert (kind == DONE) == fits
        assert fits or said == [f"kv.set: a key has 1 to {KEY_BYTES_MAX} bytes, not {size}".encode()]


@pytest.mark.parametrize(("kind", "letter"), [("text", b"x"), ("text", b"\1"), ("bytes", b"\xff")])
def test_a_value_has_its_limit(stateful: Stateful, kind: str, letter: bytes) -> None:
    for size, fits in ((VALUE_BYTES_MAX - 1, True), (VALUE_BYTES_MAX, True), (VALUE_BYTES_MAX + 1, False)):
        with stateful.begin() as attempt:
            answer = Script(attempt).refusable("set", "k", kind, letter * size, "", "")
        said = f"kv.set: a value has at most {VALUE_BYTES_MAX} bytes, not {size}".encode()
        assert answer[0] == DONE if fits else answer == [REFUSED, said]


def test_a_json_value_has_its_limit(stateful: Stateful) -> None:
    for size, fits in ((VALUE_BYTES_MAX - 1, True), (VALUE_BYTES_MAX, True), (VALUE_BYTES_MAX + 1, False)):
        with stateful.begin() as attempt:
            document = b'["' + b"x" * (size - 4) + b'"]'
            assert (Script(attempt).refusable("set", "k", "json", document, "", "")[0] == DONE) == fits


@pytest.mark.parametrize(
    ("call", "arguments", "said"),
    [
        ("get", (), "needs 2 fields, not 1"),
        ("get", (b"\xff",), "a key must be UTF-8 text"),
        ("get", ("a\0b",), "a key must not contain a NUL"),
        ("get_many", (), "takes 1 to 100 keys"),
        ("get_many", ("k",) * 101, "takes 1 to 100 keys"),
        ("list", ("", "", 0), "limit must be a whole number from 1 to 100"),
        ("list", ("", "", 101), "limit must be a whole number from 1 to 100"),
        ("list", ("p" * 513, "", 1), "prefix has at most 512 bytes, not 513"),
        ("list", ("", "p" * 513, 1), "after has at most 512 bytes, not 513"),
        ("set", ("k", "json", "{", "", ""), "a value is no JSON"),
        ("set", ("k", "json", "[" * 100_000, "", ""), "a value is no JSON"),
        ("set", ("k", "text", b"\xff", "", ""), "a value "),
        ("set", ("k", "number", 1 << 63, "", ""), "a number must be a whole number from"),
        ("set", ("k", "number", "1e3", "", ""), "a number must be a whole number from"),
        ("set", ("k", "no such kind", "1e", "", ""), "a value is no JSON"),
        ("set", ("k", "number", 1, 0, ""), "ttl must be a whole number from 1 to"),
        ("set", ("k", "number", 1, "", -1), "if_version must be a whole number from 0 to"),
        ("incr", ("k", "x", ""), "by must be a whole number from"),
        ("delete", ("k", 0), "if_version must be a whole number from 1 to"),
    ],
)
def test_what_a_sandbox_in_other_hands_asks_is_refused(
    stateful: Stateful, call: str, arguments: tuple[object, ...], said: str
) -> None:
    with stateful.begin() as attempt:
        kind, why = Script(attempt).refusable(call, *arguments)
    assert kind == REFUSED
    assert why.decode().startswith(f"kv.{call}: {said}")


def test_a_space_is_open_to_scripts_whose_setting_names_it(database: str, stateful: Stateful) -> None:
    with stateful.begin() as attempt:
        Script(attempt, "orders").set("k", 1)
        assert Script(attempt).get("k") is None
        for space, said in (("others", b"this script may not use the space 'others'"), ("A", b"a space's name has")):
            assert said in Script(attempt, space).refusable("get", "k")[1]
        settle(attempt)
    with closing(Stateful(database, 2, Settings(kv=("orders",)))) as another, another.begin() as attempt:
        assert Script(attempt, "orders").get("k") == 1


def test_an_invocation_cannot_fill_our_memory_with_keys(stateful: Stateful) -> None:
    with stateful.begin() as attempt:
        script = Script(attempt)
        pages = ([f"{page:03}{at:03}" + "k" * 500 for at in range(100)] for page in range(200))
        refused = next(said for page in pages if (said := script.refusable("get_many", *page))[0] == REFUSED)
    assert b"the keys that an invocation uses have at most" in refused[1]


def test_what_is_not_settled_never_was(database: str, stateful: Stateful) -> None:
    with stateful.begin() as attempt:
        script = Script(attempt)
        script.set("a", 1)
        script.incr("b")
    assert execute(database, "SELECT * FROM kv") == execute(database, "SELECT * FROM kv_usage") == []


def test_what_a_savepoint_undoes_was_not_read_either(stateful: Stateful) -> None:
    seed(stateful, a=1)
    with stateful.begin() as attempt:
        script = Script(attempt)
        assert script.get("a") == 1
        with attempt.savepoint() as before:
            script.set("a", 2)
            script.set("b", 2)
            before.restore()
        assert (script.get("a"), script.get("b")) == (1, None)
        script.set("a", 3)
        settle(attempt)
    assert now(stateful, "a", "b") == {"a": 3}


def again(stateful: Stateful, work: Work) -> None:
    """Do it in an invocation, and again after a clash."""
    while True:
        try:
            with stateful.begin() as attempt:
                work(Script(attempt))
                settle(attempt)
                return
        except TransactionConflict:
            continue


def until_somebody_waits(database: str) -> None:
    """Until a backend waits for another's row."""
    eventually(lambda: execute(database, "SELECT 1 FROM pg_locks WHERE NOT granted"), bool)
