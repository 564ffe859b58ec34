"""Whole or not at all, whoever is killed: workers, sandboxes, the zygote, PostgreSQL's backends, at random.

`make test-chaos` runs the long form, and PICLOUD_CHAOS_SEED repeats a run's kills: see docs/contributing.md.
"""

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import count

import pytest

from tests.chaos import FULL, Client, Progress, chaos
from tests.fixtures_postgres import execute
from tests.running import Running, eventually, running

CLIENTS = 32
MOVERS, READERS = 3, 2
REQUESTS = 5_000 if FULL else 500
EVERY = 25 if FULL else 16  # requests that are answered between two kills
TOTAL = 1000
PATIENT = {"wall_ms": 60_000, "concurrency": 256}

COUNT = 'return kv.incr("count")'

MOVE = """
local accounts, by, how = kv.open("accounts"), request.query.by + 0, request.query.how
if how == "set" then
  local both = accounts.get_many{ "a", "b" }
  accounts.set("a", both.a - by)
  accounts.set("b", both.b + by)
else
  local from, to = how:sub(1, 1), how:sub(2, 2)
  accounts.incr(from, -by)
  accounts.incr(to, by)
end
"""

BOOKS = """
SELECT * FROM (SELECT space, sum(bytes) AS counted FROM kv_usage GROUP BY space) AS books
  FULL JOIN (SELECT space, sum(bytes) AS there FROM kv GROUP BY space) AS spaces USING (space)
 WHERE counted IS DISTINCT FROM there
"""

LOOK = 'local both = kv.open("accounts").get_many{ "a", "b" } return both.a + both.b'

pytestmark = pytest.mark.timeout(3_600 if FULL else 300)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("chaos")) as server:
        for name, source in (("move", MOVE), ("look", LOOK)):
            server.deploy(name, source)
            server.set(name, {"kv": ["accounts"], "limits": PATIENT})
        yield server


def test_with_keys_the_counter_is_the_number_of_keys(ours: Running) -> None:
    deploy_counter(ours, "keyed", idempotency=True)
    answers, requests = counted(ours, "keyed", keyed=True)
    assert sorted(answers) == [*range(1, REQUESTS + 1)]
    assert requests >= REQUESTS
    assert value(ours, "keyed") == REQUESTS
    assert execute(ours.database_url, "SELECT count(*) FROM kept_answers") == [(REQUESTS,)]
    check_books(ours)


def test_without_keys_no_answer_is_untrue_and_no_request_counts_twice(ours: Running) -> None:
    deploy_counter(ours, "keyless", idempotency=False)
    answers, requests = counted(ours, "keyless", keyed=False)
    assert len(set(answers)) == len(answers) == REQUESTS
    assert REQUESTS <= value(ours, "keyless") <= requests
    check_books(ours)


def deploy_counter(ours: Running, name: str, *, idempotency: bool) -> None:
    ours.deploy(name, COUNT)
    ours.set(name, {"idempotency": idempotency, "limits": PATIENT})


def counted(ours: Running, name: str, *, keyed: bool) -> tuple[list[int], int]:
    """Have clients increase a counter while everybody is killed → what they were told, and how often they asked."""
    numbers, told, clients = count(), list[int](), [Client(ours) for _ in range(CLIENTS)]

    def work(client: Client, progress: Progress) -> None:
        with closing(client):
            while (number := next(numbers)) < REQUESTS and not progress.over:
                headers = {"idempotency-key": f"{name}-{number}"} if keyed else {}
                told.append(client.insist(f"/fn/{name}", headers).json)
                progress.step()

    with chaos(ours, EVERY) as progress, moving(ours, progress):
        at_once([partial(work, client, progress) for client in clients], progress)
    seen = sum((client.seen for client in clients), Counter())
    sys.stdout.write(f"{name}: {dict(seen)}\n")
    return told, seen.total()


@contextmanager
def moving(ours: Running, progress: Progress) -> Iterator[None]:
    """Meanwhile what is in one key moves to another, and nobody who looks ever sees a half."""
    for key, amount in (("a", TOTAL), ("b", 0)):
        assert ours.api("PUT", f"scripts/move/kv/{key}?space=accounts", amount).status == 200
    looks = Counter[int]()

    def move(client: Client) -> None:
        client.insist(f"/fn/move?by={random.randint(1, 9)}&how={random.choice(('ab', 'ba', 'set'))}")

    def look(client: Client) -> None:
        looks[client.insist("/fn/look").json] += 1

    def again(one: Callable[[Client], None]) -> None:
        with closing(Client(ours)) as client:
            while not progress.over:
                one(client)

    with ThreadPoolExecutor(MOVERS + READERS) as threads:
        futures = [threads.submit(again, one) for one in [move] * MOVERS + [look] * READERS]
        try:
            yield
        finally:
            progress.end()
    for future in futures:
        future.result()
    with closing(Client(ours)) as client:
        look(client)
    sys.stdout.write(f"sums: {dict(looks)}\n")
    assert set(looks) == {TOTAL}


def at_once(works: Sequence[Callable[[], None]], progress: Progress) -> None:
    """Each in a thread; if one fails, none begins anything new."""

    def whole(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:
            progress.end()
            raise

    with ThreadPoolExecutor(len(works)) as threads:
        for done in [threads.submit(whole, work) for work in works]:
            done.result()


def value(ours: Running, name: str) -> int:
    """What a counter has come to, once the database answers again."""
    return int(eventually(lambda: ours.api("GET", f"scripts/{name}/kv/count"), lambda it: it.status == 200).json)


def check_books(ours: Running) -> None:
    """What is counted of each space is what is in it."""
    assert execute(ours.database_url, BOOKS) == []
