"""A transaction says what became of it, a pool waits its turn, and no message tells a secret."""

import os
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import psycopg2
import pytest

from picloud.errors import ConfigurationError, DatabaseUnavailable, OutcomeUnknown, PlatformError, TransactionConflict
from picloud.storage.connection import TransactionAborted, connect, reason
from picloud.storage.embedded import EmbeddedPostgres
from picloud.storage.pool import Pool, PoolClosed, PoolTimeout
from tests.fixtures_postgres import execute
from tests.running import eventually

WAIT_S = 60
TERMINATE_SELF = "SELECT pg_terminate_backend(pg_backend_pid())"


@pytest.fixture
def dsn(empty_database: str) -> str:
    execute(empty_database, "CREATE TABLE things (id integer CONSTRAINT one_of_a_kind PRIMARY KEY)")
    return empty_database


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    it = Pool(dsn, size=2, wait_ms=WAIT_S * 1000)
    yield it
    it.close()


def backend(pool: Pool) -> object:
    """The server's process behind the connection that is next."""
    with pool.transaction() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()


def things(dsn: str) -> list[object]:
    return [row[0] for row in execute(dsn, "SELECT id FROM things ORDER BY id")]


def test_a_block_that_ends_is_committed(pool: Pool, dsn: str) -> None:
    with pool.transaction() as cursor:
        cursor.execute("INSERT INTO things VALUES (1)")
        assert things(dsn) == []
    assert things(dsn) == [1]


def test_a_block_that_raises_is_rolled_back_and_its_connection_used_again(pool: Pool, dsn: str) -> None:
    before = backend(pool)
    with pytest.raises(KeyError), pool.transaction() as cursor:  # noqa: PT012 - all of the block
        cursor.execute("INSERT INTO things VALUES (1)")
        raise KeyError
    assert things(dsn) == []
    assert backend(pool) == before


def test_a_return_out_of_a_block_is_committed(pool: Pool, dsn: str) -> None:
    def insert() -> int:
        with pool.transaction() as cursor:
            cursor.execute("INSERT INTO things VALUES (1)")
            return 1

    assert insert() == 1
    assert things(dsn) == [1]


def test_an_aborted_transaction_never_counts_as_committed(pool: Pool, dsn: str) -> None:
    with pytest.raises(TransactionAborted), pool.transaction() as cursor:  # noqa: PT012 - all of the block
        cursor.execute("INSERT INTO things VALUES (1)")
        with suppress(psycopg2.DataError):
            cursor.execute("SELECT 1 / 0")
    assert things(dsn) == []
    with pool.transaction() as cursor:
        cursor.execute("INSERT INTO things VALUES (2)")
    assert things(dsn) == [2]


def test_a_transaction_that_was_ended_inside_the_block_never_counts_as_committed(pool: Pool) -> None:
    with pytest.raises(TransactionAborted), pool.transaction() as cursor:
        cursor.execute("ROLLBACK")


def test_a_failed_statement_in_a_savepoint_leaves_the_rest(pool: Pool, dsn: str) -> None:
    with pool.transaction() as cursor:
        cursor.execute("INSERT INTO things VALUES (1); SAVEPOINT here")
        with pytest.raises(psycopg2.DataError):
            cursor.execute("SELECT 1 / 0")
        cursor.execute("ROLLBACK TO SAVEPOINT here")
    assert things(dsn) == [1]


def test_a_constraint_that_fails_at_commit_is_the_nouns_to_handle(pool: Pool, dsn: str) -> None:
    execute(dsn, "CREATE TABLE later (id integer REFERENCES things DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(psycopg2.IntegrityError), pool.transaction() as cursor:
        cursor.execute("INSERT INTO later VALUES (1)")
    assert execute(dsn, "SELECT * FROM later") == []


def test_a_backend_killed_inside_a_transaction_is_unavailable_and_the_next_use_works(pool: Pool, dsn: str) -> None:
    with pytest.raises(DatabaseUnavailable), pool.transaction() as cursor:  # noqa: PT012 - all of the block
        cursor.execute("INSERT INTO things VALUES (1)")
        cursor.execute(TERMINATE_SELF)
    assert things(dsn) == []
    with pool.transaction() as cursor:
        cursor.execute("INSERT INTO things VALUES (2)")
    assert things(dsn) == [2]


def test_a_backend_killed_before_commit_leaves_the_outcome_unknown(pool: Pool, dsn: str) -> None:
    with pytest.raises(OutcomeUnknown), pool.transaction() as cursor:  # noqa: PT012 - all of the block
        cursor.execute("SELECT pg_backend_pid()")
        row = cursor.fetchone()
        assert row
        execute(dsn, "SELECT pg_terminate_backend(%s, 10000)", row[0])


def test_an_idle_connection_that_was_killed_is_replaced_unseen(pool: Pool, dsn: str) -> None:
    killed = backend(pool)
    assert isinstance(killed, tuple)
    execute(dsn, "SELECT pg_terminate_backend(%s, 10000)", killed[0])
    assert backend(pool) != killed


def test_a_server_that_restarts_under_idle_connections_is_not_noticed(own_postgres: EmbeddedPostgres) -> None:
    pool = Pool(own_postgres.dsn, size=3, wait_ms=1000)
    with pool.transaction(), pool.transaction(), pool.transaction():
        pass
    own_postgres.stop()
    with pytest.raises(DatabaseUnavailable), pool.transaction():
        pass
    own_postgres.start()
    with pool.transaction(), pool.transaction(), pool.transaction() as cursor:
        cursor.execute("SELECT 1")
    pool.close()


def test_deadlocks_are_left_to_the_caller(pool: Pool, dsn: str) -> None:
    execute(dsn, "INSERT INTO things VALUES (1), (2)")
    meet = threading.Barrier(2)
    victims: list[BaseException] = []

    def cross(first: int, second: int) -> None:
        try:
            with pool.transaction() as cursor:
                cursor.execute("UPDATE things SET id = id WHERE id = %s", (first,))
                meet.wait(WAIT_S)
                cursor.execute("UPDATE things SET id = id WHERE id = %s", (second,))
        except TransactionConflict as error:
            victims.append(error)

    run_all([threading.Thread(target=cross, args=pair) for pair in ((1, 2), (2, 1))])
    assert len(victims) == 1


def test_a_statement_that_takes_too_long_is_unavailable(pool: Pool) -> None:
    with pytest.raises(DatabaseUnavailable, match="statement timeout"), pool.transaction() as cursor:  # noqa: PT012 - all of the block
        cursor.execute("SET LOCAL statement_timeout = 1")
        cursor.execute("SELECT pg_sleep(60)")


def test_who_finds_no_connection_gets_the_next_that_is_given_back(dsn: str) -> None:
    pool = Pool(dsn, size=1, wait_ms=WAIT_S * 1000)
    backends: list[object] = []
    waiter = threading.Thread(target=lambda: backends.append(backend(pool)))
    with pool.transaction() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backends.append(cursor.fetchone())
        waiter.start()
        await_waiting(pool, 1)
    waiter.join(WAIT_S)
    assert backends[0] == backends[1]
    pool.close()


def test_who_waits_too_long_is_told_so(dsn: str) -> None:
    pool = Pool(dsn, size=1, wait_ms=1)
    with pool.transaction(), pytest.raises(PoolTimeout, match="1 ms"), pool.transaction():
        pass
    with pool.transaction():
        pass
    pool.close()


def test_many_threads_share_few_connections(dsn: str) -> None:
    pool = Pool(dsn, size=2, wait_ms=WAIT_S * 1000)

    def insert(number: int) -> None:
        with pool.transaction() as cursor:
            cursor.execute("INSERT INTO things VALUES (%s)", (number,))

    run_all([threading.Thread(target=insert, args=(number,)) for number in range(50)])
    assert things(dsn) == list(range(50))
    assert pool._leased == 0
    await_connections(dsn, 2)
    pool.close()


def test_a_connection_that_breaks_gives_its_place_to_who_waits(dsn: str) -> None:
    pool = Pool(dsn, size=1, wait_ms=WAIT_S * 1000)
    found: list[object] = []
    waiter = threading.Thread(target=lambda: found.append(backend(pool)))
    with pytest.raises(DatabaseUnavailable), pool.transaction() as cursor:  # noqa: PT012 - all of the block
        waiter.start()
        await_waiting(pool, 1)
        cursor.execute(TERMINATE_SELF)
    waiter.join(WAIT_S)
    assert len(found) == 1
    pool.close()


def test_a_closed_pool_lets_transactions_end_and_turns_the_others_away(dsn: str) -> None:
    pool = Pool(dsn, size=1, wait_ms=WAIT_S * 1000)
    turned_away: list[BaseException] = []

    def wait() -> None:
        try:
            backend(pool)
        except PoolClosed as error:
            turned_away.append(error)

    waiter = threading.Thread(target=wait)
    with pool.transaction() as cursor:
        waiter.start()
        await_waiting(pool, 1)
        pool.close()
        waiter.join(WAIT_S)
        cursor.execute("INSERT INTO things VALUES (1)")
    assert things(dsn) == [1]
    assert len(turned_away) == 1
    with pytest.raises(PoolClosed), pool.transaction():
        pass
    assert pool._leased == 0
    await_connections(dsn, 0)


def test_making_a_pool_opens_nothing() -> None:
    Pool("postgresql://nobody@/nothing?host=/nowhere", size=1, wait_ms=1).close()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # 3.12: this process has threads
def test_a_pool_is_not_used_on_both_sides_of_a_fork(pool: Pool) -> None:
    before = backend(pool)
    child = os.fork()
    if child == 0:
        try:
            with pool.transaction():
                os._exit(1)
        except PlatformError:
            os._exit(0)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert backend(pool) == before


def test_vacuum_takes_any_name(pool: Pool, dsn: str) -> None:
    execute(dsn, 'CREATE TABLE "odd ""name" (id integer)')
    pool.vacuum("things", 'odd "name')


@pytest.mark.parametrize(
    ("dsn", "told"),
    [
        ("postgresql://someone:sesame@/secretbase?host=/nowhere/hidden", "No such file or directory"),
        ("postgresql://someone:sesame@127.0.0.1:1/secretbase", "Connection refused"),
        ("host=127.0.0.1 port=sesame user=someone", "invalid"),
        ("postgresql://someone:sesame@127.0.0.1:1/secretbase?sslmode=someone", "invalid sslmode"),
        ("postgresql://someone:ses%ame@127.0.0.1/secretbase", "not a PostgreSQL URI"),
        ("someone sesame secretbase", "not a PostgreSQL URI"),
        ("mysql://someone:sesame@127.0.0.1/secretbase", "not a PostgreSQL URI"),
    ],
)
def test_no_message_tells_who_where_or_the_password(dsn: str, told: str) -> None:
    with pytest.raises((DatabaseUnavailable, ConfigurationError)) as caught:
        connect(dsn)
    chain = [str(caught.value), *([str(caught.value.__cause__)] if caught.value.__cause__ else [])]
    assert told in chain[0]
    assert caught.value.__suppress_context__
    for secret in ("someone", "sesame", "secretbase", "hidden", "127.0.0.1"):
        assert not [text for text in chain if secret in text]


def test_a_refusal_by_the_server_keeps_its_reason_and_loses_the_names(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        connect(postgres.dsn.replace("/picloud?", "/secretbase?"))
    assert str(caught.value) == "cannot connect to the database: database … does not exist"


def test_every_session_is_set_up_the_same(dsn: str) -> None:
    with closing(connect(dsn)) as connection, connection.cursor() as cursor:
        for name, expected in (
            ("synchronous_commit", "on"),
            ("timezone", "UTC"),
            ("client_connection_check_interval", "1s"),
            ("statement_timeout", "30s"),
            ("lock_timeout", "10s"),
            ("application_name", "picloud"),
            ("client_encoding", "UTF8"),
        ):
            cursor.execute(f"SHOW {name}")
            assert cursor.fetchone() == (expected,)


def test_options_of_the_operators_dsn_are_kept(dsn: str) -> None:
    theirs = dsn + "&options=-c%20work_mem%3D7MB&application_name=mine"
    with closing(connect(theirs)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('work_mem'), current_setting('timezone')")
        assert cursor.fetchone() == ("7MB", "UTC")
        assert connection.info.dsn_parameters["application_name"] == "mine"


def test_an_error_without_words_is_named() -> None:
    assert reason(psycopg2.InterfaceError()) == "InterfaceError"


def run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()


def await_connections(dsn: str, count: int) -> None:
    """Until so many are open: a backend ends a moment after its client has left."""
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    eventually(lambda: execute(dsn, f"SELECT count(*) FROM pg_stat_activity WHERE {others}"), [(count,)].__eq__)


def await_waiting(pool: Pool, count: int) -> None:
    """Until so many stand in the pool's line."""
    while len(pool._waiting) < count:
        os.sched_yield()


class Counted:
    """Takes what a pool does."""

    def __init__(self) -> None:
        self.in_use, self.most, self.waits = 0, 0, 0

    def used(self, change: int) -> None:
        self.in_use += change
        self.most = max(self.most, self.in_use)

    def waited(self) -> None:
        self.waits += 1


def test_who_counts_is_told_of_each_connection_that_is_used_and_of_each_wait(dsn: str) -> None:
    counted = Counted()
    with closing(Pool(dsn, size=1, wait_ms=WAIT_S * 1000, meter=counted)) as pool:
        first = pool.begin()
        second = threading.Thread(target=lambda: pool.end(pool.begin()))
        second.start()
        eventually(lambda: counted.waits, bool)
        assert (counted.in_use, counted.most) == (1, 1)
        pool.end(first)
        second.join()
        assert (counted.in_use, counted.most, counted.waits) == (0, 1, 1)


def test_what_could_not_be_opened_or_waited_for_is_not_in_use(dsn: str) -> None:
    counted = Counted()
    nowhere = Pool("postgresql:///nothing?host=/nowhere", size=1, wait_ms=1, meter=counted)
    with pytest.raises(DatabaseUnavailable):
        nowhere.begin()
    assert counted.in_use == 0
    with closing(Pool(dsn, size=1, wait_ms=1, meter=counted)) as pool, pool.transaction():
        with pytest.raises(PoolTimeout):
            pool.begin()
        assert (counted.in_use, counted.waits) == (1, 1)
    assert counted.in_use == 0
