"""What an invocation holds of the scripts that it invokes: bounded, however many there are."""

import tracemalloc
from datetime import UTC, datetime

from picloud.model import Invocation, KeptRequest, Level, LogLine, Outcome, Record, Request, Trigger, new_id
from picloud.orchestrator.invoked import BYTES_MAX, Invoked

KIB = 1024


def record(body_bytes: int, log_bytes: int, error: str = "") -> Record:
    now = datetime.now(UTC)
    request = Request(new_id(), "POST", "/", "", (), bytes(body_bytes), trigger=Trigger.INVOKE)
    lines = tuple(LogLine(now, Level.INFO, f"{at} ".ljust(KIB), "") for at in range(log_bytes // KIB))
    made = Invocation(request.id, "test", 1, Trigger.INVOKE, Outcome.OK, 200, now, 0, 0, 0, 0, error=error)
    return Record(made, lines, KeptRequest(request, body_bytes, cut=False, masked=False))


def test_a_few_are_held_as_they_are_and_in_order() -> None:
    invoked, some = Invoked(), [record(KIB, KIB, "e" * KIB) for _ in range(10)]
    for one in some:
        invoked.add(one)
    assert list(invoked) == some


def test_of_many_no_more_than_the_bound_is_held_and_each_has_its_record() -> None:
    invoked, ids = Invoked(), []
    tracemalloc.start()
    try:
        for _ in range(500):
            one = record(256 * KIB, 64 * KIB, "e" * 8 * KIB)
            ids.append(one.invocation.id)
            invoked.add(one)
            del one
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 3 * BYTES_MAX  # 160 MiB were handed in
    assert [it.invocation.id for it in invoked] == ids
    last = list(invoked)[-1]
    assert (last.request, len(last.invocation.error)) == (None, 200)
    assert [line.level for line in last.lines] == [Level.WARN]
    assert "are left out" in last.lines[0].message
