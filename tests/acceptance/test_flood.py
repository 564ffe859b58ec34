"""A flood of ten times what there is room for: who is let in is served as before, the others are soon refused.

What is measured is compared within a round of a few seconds, on the machine as it is at that moment. Whatever else the
machine does may spoil a round; a server that does not keep its word spoils all of them. `FLOOD_SECONDS=30` makes the
floods of a round as long as that; 1.5 is enough to see it.
"""

import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from picloud.storage.pool import Pool
from tests.acceptance.flooding import OK, REFUSED, Flood, Load, Phase, percentile
from tests.running import Running, running

ROOM = 16  # invocations at once
TENFOLD = 10
SECONDS = float(os.environ.get("FLOOD_SECONDS", "1.5"))
ROUNDS = 8  # at most: one that shows what is promised is enough
BEGINNING_S = 0.25  # not judged by time: of half a minute it is less than a hundredth
REFUSED_WITHIN_MS = 100.0
GROWTH_BYTES_MAX = 64 << 20

CROWD = Phase(TENFOLD * ROOM, SECONDS)
PATIENT_CROWD = Phase(2 * TENFOLD * ROOM, SECONDS, times=TENFOLD)  # none of whom waits for an answer to ask again


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The room is the script's own concurrency."""
    with running(tmp_path_factory.mktemp("flood") / "data") as ours:
        ours.deploy("hello", 'return "hello"')
        ours.deploy("other", 'return "other"')
        ours.set("hello", {"limits": {"concurrency": ROOM}})
        yield ours


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The room is the node's: half of it in sandboxes, half waiting for one."""
    half = str(ROOM // 2)
    folder = tmp_path_factory.mktemp("small") / "data"
    with running(folder, PICLOUD_POOL_MAX=half, PICLOUD_QUEUE_LENGTH=half) as small:
        small.deploy("hello", 'return "hello"')
        small.set("hello", {"limits": {"concurrency": 256}})
        yield small


def flooded(ours: Running, *phases: Phase, path: str = "/fn/hello") -> list[Load]:
    """What the clients saw; nobody is left without an answer, and all that are refused know when to come again."""
    return judged(Flood(ours.port, path, *phases).end())


def judged(loads: list[Load]) -> list[Load]:
    for load in loads:
        assert len(load.answers) == load.asked
        assert {seen.status for seen in load.answers} <= {OK, *REFUSED}
        assert all(seen.again for seen in load.answers if seen.status in REFUSED)
    return loads


def kept(full: Load, flood: Load) -> bool:
    """Whether a flood shows it: p99 under twice that with all room taken, the others refused soon, and work goes on."""
    before, served, refused = full.served_ms(), flood.served_ms(), flood.refused_ms()
    slowest_ms = 2 * percentile(before, 99)
    return (
        len(served) * full.seconds > len(before) * flood.seconds / 4
        and percentile(served, 99) < slowest_ms
        and percentile(refused, 99) < max(REFUSED_WITHIN_MS, slowest_ms)  # the latter: a machine busy with others
    )


def shown(name: str, load: Load) -> str:
    return f"{name}: " + ", ".join(
        f"{len(ms)} {what} in p50 {percentile(ms, 50):.0f} ms, p99 {percentile(ms, 99):.0f} ms"
        for what, ms in (("served", load.served_ms()), ("refused", load.refused_ms()))
    )


@pytest.mark.parametrize("room", ["ours", "small"], ids=["a script's room, 429", "the node's room, 503"])
def test_who_is_let_in_is_served_as_before_and_the_others_are_refused_soon(
    room: str, request: pytest.FixtureRequest
) -> None:
    ours: Running = request.getfixturevalue(room)
    left, rounds = {"asked again at once", "asked at ten times the rate"}, []
    for _ in range(ROUNDS):
        full, *floods = (load.after(BEGINNING_S) for load in flooded(ours, Phase(ROOM, 1.0), CROWD, PATIENT_CROWD))
        found = dict(zip(("asked again at once", "asked at ten times the rate"), floods, strict=True))
        left -= {name for name, flood in found.items() if kept(full, flood)}
        rounds.append("; ".join([shown("all room taken", full), *(shown(*it) for it in found.items())]))
        if not left:
            return
    pytest.fail("\n".join([*sorted(left), *rounds]))


def test_beside_a_flood_others_are_served_memory_stays_bounded_and_few_refusals_are_recorded(ours: Running) -> None:
    flooded(ours, CROWD)  # threads and buffers are there from now on
    workers, before, recorded = ours.workers(), resident_bytes(ours), recorded_refusals(ours)
    flood = Flood(ours.port, "/fn/hello", CROWD, CROWD)
    while flood.goes_on():
        answers = [ours.call("GET", path).status for path in ("/fn/other", "/healthz", "/problems")]
        answers.append(ours.api("GET", "scripts/hello").status)
        assert answers == [OK] * 4
    refused = sum(len(load.refused_ms()) for load in judged(flood.end()))
    assert ours.workers() == workers
    assert resident_bytes(ours) - before < GROWTH_BYTES_MAX
    assert recorded_refusals(ours) - recorded < refused / 2


@pytest.mark.parametrize("room", ["ours", "small"], ids=["a script's room", "the node's room"])
def test_a_second_after_a_flood_all_that_there_is_room_for_are_served(
    room: str, request: pytest.FixtureRequest
) -> None:
    ours: Running = request.getfixturevalue(room)

    def refused_later() -> int:
        _, after = flooded(ours, CROWD, Phase(ROOM, 2.5))
        assert after.after(1.0).served_ms()
        return len(after.after(1.0).refused_ms())

    assert best_of(3, refused_later) == 0


def test_a_page_of_another_origin_may_see_that_it_was_turned_away(ours: Running) -> None:
    ours.deploy("shared", "return 1")
    ours.set("shared", {"cors": {"origins": ["https://page.example"]}, "limits": {"concurrency": 1}})
    flood = Flood(ours.port, "/fn/shared", Phase(TENFOLD * ROOM, 3.0))
    turned_away = None
    while flood.goes_on():
        answer = ours.call("GET", "/fn/shared", headers={"origin": "https://page.example"})
        assert answer.header("access-control-allow-origin") == "https://page.example"
        if answer.status == 429 and answer.header("picloud-invocation") is None:
            turned_away = answer
        asked = {"origin": "https://page.example", "access-control-request-method": "GET"}
        assert ours.call("OPTIONS", "/fn/shared", headers=asked).status == 204
    judged(flood.end())
    assert turned_away
    assert (turned_away.problem, turned_away.header("retry-after")) == ("concurrency-limit", "1")
    assert "'shared' already runs 1 times" in turned_away.json["detail"]


def best_of(rounds: int, measure: Callable[[], int]) -> int:
    """The least of so many, or nothing."""
    found: list[int] = []
    while len(found) < rounds and 0 not in found:
        found.append(measure())
    return min(found)


def resident_bytes(ours: Running) -> int:
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in ours.workers()]
    return sum(pages) * resource.getpagesize()


def recorded_refusals(ours: Running) -> int:
    with contextlib.closing(Pool(ours.database_url, size=1, wait_ms=5_000)) as pool, pool.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM invocations WHERE outcome = 'concurrency-limit'")
        rows: list[tuple[int]] = cursor.fetchall()
        return rows[0][0]
