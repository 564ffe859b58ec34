"""Followers: woken by what happens, ended by who leaves or stops, and as many as there is room for."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from picloud.errors import Overloaded
from picloud.orchestrator.feed import Feed, Subscription

FOR_EVER = None


class Database:
    """Counts who listens to it, and may be made to have news."""

    def __init__(self) -> None:
        self.listening: list[Callable[[], None]] = []
        self.started = 0

    def listen(self, on_news: Callable[[], None]) -> "Listening":
        return Listening(self, on_news)


class Listening:
    def __init__(self, database: Database, on_news: Callable[[], None]) -> None:
        self._database, self._on_news = database, on_news

    def start(self) -> None:
        self._database.started += 1
        self._database.listening.append(self._on_news)

    def stop(self) -> None:
        self._database.listening.remove(self._on_news)


class Client:
    """Both ends of a connection."""

    def __init__(self) -> None:
        self.own, self.servers = socket.socketpair()
        self.own.settimeout(60)

    def close(self) -> None:
        self.own.close()
        self.servers.close()


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def feed(database: Database) -> Feed:
    return Feed(database.listen, followers_max=2)


@pytest.fixture
def clients() -> Iterator[list[Client]]:
    ours = [Client() for _ in range(3)]
    yield ours
    for client in ours:
        client.close()


def test_the_database_is_listened_to_from_the_first_follower_to_the_last(
    feed: Feed, database: Database, clients: list[Client]
) -> None:
    assert not database.listening
    one, other = feed.subscribe(clients[0].servers), feed.subscribe(clients[1].servers)
    assert (len(database.listening), database.started) == (1, 1)
    one.close()
    assert len(database.listening) == 1
    other.close()
    assert not database.listening
    feed.subscribe(clients[0].servers).close()
    assert (database.listening, database.started) == ([], 2)


def test_news_wake_every_follower_even_one_that_is_about_to_sleep(
    feed: Feed, database: Database, clients: list[Client]
) -> None:
    followers = [feed.subscribe(client.servers) for client in clients[:2]]
    database.listening[0]()
    assert [follower.wait(FOR_EVER) for follower in followers] == [True, True]
    sleeper = threading.Thread(target=followers[0].wait, args=(FOR_EVER,))
    sleeper.start()
    feed.wake()
    sleeper.join(60)
    assert not sleeper.is_alive()


def test_a_wake_up_is_used_up_by_one_sleep(feed: Feed, clients: list[Client]) -> None:
    follower = feed.subscribe(clients[0].servers)
    for _ in range(3):
        feed.wake()
    assert follower.wait(FOR_EVER)
    assert follower._poller.poll(0) == []


def test_a_sleep_may_be_bounded(feed: Feed, clients: list[Client]) -> None:
    follower = feed.subscribe(clients[0].servers)
    assert follower.wait(0.001)
    feed.wake()
    assert follower.wait(10**9)  # more than poll can take


def test_a_client_that_leaves_ends_the_sleep(feed: Feed, clients: list[Client]) -> None:
    follower = feed.subscribe(clients[0].servers)
    clients[0].own.close()
    assert not follower.wait(FOR_EVER)


def test_what_a_client_sends_meanwhile_wakes_nobody(feed: Feed, clients: list[Client]) -> None:
    follower = feed.subscribe(clients[0].servers)
    clients[0].own.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert follower._poller.poll(0) == []


def test_there_is_room_for_so_many_and_a_place_given_back_is_free(feed: Feed, clients: list[Client]) -> None:
    first = feed.subscribe(clients[0].servers)
    feed.subscribe(clients[1].servers)
    with pytest.raises(Overloaded):
        feed.subscribe(clients[2].servers)
    first.close()
    first.close()  # once more is nothing
    feed.subscribe(clients[2].servers)


def test_stopping_ends_every_follower_and_takes_none_any_more(feed: Feed, clients: list[Client]) -> None:
    follower = feed.subscribe(clients[0].servers)
    feed.stop()
    assert not follower.wait(FOR_EVER)
    assert not follower.begin_sending()
    with pytest.raises(Overloaded):
        feed.subscribe(clients[1].servers)


def test_stopping_cuts_off_a_client_that_takes_nothing_and_no_other(feed: Feed, clients: list[Client]) -> None:
    stuck, well = feed.subscribe(clients[0].servers), feed.subscribe(clients[1].servers)
    sender = threading.Thread(target=send_until_cut, args=(stuck, clients[0].servers))
    sender.start()
    while not stuck._sending:
        pass
    assert well.begin_sending()
    clients[1].servers.sendall(b"taken")
    well.end_sending()
    feed.stop()
    sender.join(60)
    assert not sender.is_alive()
    clients[1].servers.sendall(b" and more")
    assert clients[1].own.recv(64) == b"taken and more"


def send_until_cut(follower: Subscription, client: socket.socket) -> None:
    assert follower.begin_sending()
    with pytest.raises(OSError, match="Broken pipe"):
        client.sendall(b"x" * (64 << 20))
