"""The listener hears what is sent, says when it may have missed some, and sleeps otherwise."""

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from picloud.storage.embedded import EmbeddedPostgres
from picloud.storage.listener import Listener
from tests.fixtures_postgres import execute
from tests.running import eventually

WAIT_S = 60


class Heard:
    """What a listener called back, in order, as (what, text)."""

    def __init__(self, dsn: str) -> None:
        self.events: queue.Queue[tuple[str, str]] = queue.Queue()
        self.listener = Listener(
            dsn,
            "some channel",
            on_message=lambda payload: self.events.put(("message", payload)),
            on_listening=lambda: self.events.put(("listening", "")),
            on_lost=lambda reason: self.events.put(("lost", reason)),
        )

    def next(self) -> tuple[str, str]:
        return self.events.get(timeout=WAIT_S)


@pytest.fixture
def heard(empty_database: str) -> Iterator[Heard]:
    it = Heard(empty_database)
    it.listener.start()
    assert it.next() == ("listening", "")
    yield it
    it.listener.stop()


def notify(dsn: str, payload: str) -> None:
    execute(dsn, "SELECT pg_notify('some channel', %s)", payload)


def terminate_listeners(dsn: str) -> int:
    """End the connections that listen → how many there were."""
    others = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    return len(execute(dsn, f"SELECT pg_terminate_backend(pid) FROM ({others}) AS others"))


def test_messages_arrive_in_order(heard: Heard, empty_database: str) -> None:
    for number in range(20):
        notify(empty_database, str(number))
    assert [heard.next() for _ in range(20)] == [("message", str(number)) for number in range(20)]


def test_a_message_of_a_transaction_that_rolls_back_is_never_heard(heard: Heard, empty_database: str) -> None:
    execute(empty_database, "BEGIN; SELECT pg_notify('some channel', 'lost'); ROLLBACK")
    notify(empty_database, "kept")
    assert heard.next() == ("message", "kept")


def test_a_terminated_backend_is_reported_and_replaced(heard: Heard, empty_database: str) -> None:
    assert terminate_listeners(empty_database) == 1
    what, reason = heard.next()
    assert what == "lost"
    assert "connection" in reason
    assert heard.next() == ("listening", "")
    notify(empty_database, "again")
    assert heard.next() == ("message", "again")


def test_a_server_that_is_away_is_reported_once_and_found_again(own_postgres: EmbeddedPostgres) -> None:
    heard = Heard(own_postgres.dsn)
    heard.listener.start()
    try:
        assert heard.next()[0] == "listening"
        own_postgres.stop()
        assert heard.next()[0] == "lost"
        own_postgres.start()
        assert heard.next()[0] == "listening"
        notify(own_postgres.dsn, "back")
        assert heard.next() == ("message", "back")
    finally:
        heard.listener.stop()


def test_a_server_that_is_not_there_at_the_start_is_reported_without_the_dsn(tmp_path: Path) -> None:
    heard = Heard(f"postgresql://someone:sesame@/nothing?host={tmp_path}")
    heard.listener.start()
    what, reason = heard.next()
    heard.listener.stop()
    assert what == "lost"
    assert "No such file or directory" in reason
    for secret in ("someone", "sesame", "nothing", str(tmp_path)):
        assert secret not in reason


def test_stopping_does_not_wait_for_the_next_try(tmp_path: Path) -> None:
    heard = Heard(f"postgresql:///nothing?host={tmp_path}")
    heard.listener.start()
    heard.next()
    heard.listener.stop()
    heard.listener._thread.join(WAIT_S)
    assert not heard.listener._thread.is_alive()
    heard.listener.stop()  # twice is no more than once


def test_a_listener_that_never_started_can_be_stopped() -> None:
    Heard("postgresql:///nothing").listener.stop()


def test_a_callback_that_raises_costs_the_connection_only(empty_database: str) -> None:
    events: queue.Queue[str] = queue.Queue()

    def on_message(payload: str) -> None:
        if payload == "bad":
            raise ValueError("what is that?")
        events.put(payload)

    listener = Listener(
        empty_database,
        "some channel",
        on_message=on_message,
        on_listening=lambda: events.put("listening"),
        on_lost=events.put,
    )
    listener.start()
    try:
        assert events.get(timeout=WAIT_S) == "listening"
        notify(empty_database, "bad")
        assert events.get(timeout=WAIT_S) == "what is that?"
        assert events.get(timeout=WAIT_S) == "listening"
        notify(empty_database, "good")
        assert events.get(timeout=WAIT_S) == "good"
    finally:
        listener.stop()


def test_its_presence_is_seen_by_who_would_announce(empty_database: str) -> None:
    def nobody_listens() -> bool:
        return execute(empty_database, "SELECT pg_try_advisory_lock(7)") == [(True,)]

    assert nobody_listens()
    listening = threading.Event()
    listener = Listener(
        empty_database, "some channel", on_message=lambda _: None, on_listening=listening.set, presence=7
    )
    listener.start()
    assert listening.wait(WAIT_S)
    assert not nobody_listens()
    listener.stop()
    eventually(nobody_listens, bool)


def test_a_listener_at_rest_never_wakes_up(heard: Heard) -> None:
    def switches_while_idle() -> int:
        before = switches(heard.listener._thread.native_id)
        threading.Event().wait(2)  # the time over which nothing must happen
        return switches(heard.listener._thread.native_id) - before

    assert any(switches_while_idle() == 0 for _ in range(4))  # the first may see it fall asleep


def switches(thread: int | None) -> int:
    """How often a thread was scheduled."""
    lines = Path(f"/proc/self/task/{thread}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
