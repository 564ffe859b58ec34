"""What happens changes the series that say so, and no others."""

import threading

import pytest

from picloud.errors import ConcurrencyLimit, Overloaded
from picloud.metrics.exposition import text
from picloud.metrics.measuring import Measurements
from picloud.metrics.series import BUILD, TABLE, Kind
from picloud.model import Outcome, Trigger
from tests.metrics.conftest import Measure, invocation, seen
from tests.samples import samples_of


def test_an_invocation_is_counted_by_its_script_its_outcome_and_its_trigger(measure: Measure) -> None:
    ours = measure()
    ours.ended(invocation("one"))
    ours.ended(invocation("one", trigger=Trigger.JOB))
    ours.ended(invocation("one", outcome=Outcome.TIMEOUT))
    assert seen(ours).of("picloud_requests_total") == {
        ("ok", "one", "http"): 1, ("ok", "one", "job"): 1, ("timeout", "one", "http"): 1,
    }  # fmt: skip


def test_times_are_in_seconds_and_in_their_buckets(measure: Measure) -> None:
    ours = measure()
    for queue_ms, run_ms in ((0.4, 0.6), (400.0, 1_000.0), (2_000.0, 60_000.0)):
        ours.ended(invocation("one", queue_ms=queue_ms, run_ms=run_ms))
    found = seen(ours)
    durations = found.of("picloud_request_duration_seconds_bucket", script="one")
    assert [durations[bound,] for bound in ("0.001", "0.0025", "1.0", "2.5", "10.0", "+Inf")] == [1, 1, 1, 2, 2, 3]
    assert found.sum("picloud_request_duration_seconds_sum") == pytest.approx(63.401)
    assert found.sum("picloud_request_duration_seconds_count") == 3
    queued = found.of("picloud_queue_seconds_bucket")
    assert [queued[bound,] for bound in ("0.0005", "0.25", "0.5", "1.0", "+Inf")] == [1, 1, 2, 2, 3]


def test_what_sandboxes_used_is_added_up(measure: Measure) -> None:
    ours = measure()
    ours.ended(invocation("one", cpu_ms=250.0, memory_bytes=1024 * 1024))
    ours.ended(invocation("one", cpu_ms=500.0, memory_bytes=1024 * 1024 + 1))
    found = seen(ours)
    assert found.of("picloud_sandbox_cpu_seconds_total") == {("one",): 0.75}
    memory = found.of("picloud_sandbox_memory_bytes_bucket", script="one")
    assert [memory[bound,] for bound in ("1.048576e+06", "2.097152e+06", "+Inf")] == [1, 2, 2]


def test_what_never_asked_for_a_sandbox_has_no_times(measure: Measure) -> None:
    ours = measure()
    refused = {"queue_ms": 0.0, "run_ms": 0.0, "cpu_ms": 0.0, "memory_bytes": 0}
    ours.ended(invocation("one", outcome=Outcome.OVERLOADED, **refused))
    found = seen(ours)
    assert found.sum("picloud_requests_total") == 1
    for name in ("picloud_request_duration_seconds", "picloud_queue_seconds", "picloud_sandbox_memory_bytes"):
        assert found.sum(f"{name}_count") == 0


def test_refusals_host_calls_and_lateness_are_counted(measure: Measure) -> None:
    ours = measure()
    for refusal in (Overloaded(), ConcurrencyLimit("one"), Overloaded()):
        ours.refused(refusal)
    ours.called("kv.get")
    ours.called("kv.get")
    ours.late([0.02, 61.0])
    ours.late([])
    found = seen(ours)
    assert found.of("picloud_refusals_total") == {("overloaded",): 2, ("concurrency-limit",): 1}
    assert found.of("picloud_host_calls_total") == {("kv.get",): 2}
    late = found.of("picloud_schedule_lateness_seconds_bucket")
    assert [late[bound,] for bound in ("0.01", "0.05", "60.0", "300.0", "+Inf")] == [0, 1, 1, 2, 2]


def test_what_can_only_be_0_at_first_is_there_from_the_first(measure: Measure) -> None:
    found = seen(measure())
    assert found.of("picloud_refusals_total") == {("overloaded",): 0, ("concurrency-limit",): 0}
    assert found.of("picloud_queue_seconds_count") == found.of("picloud_schedule_lateness_seconds_count") == {(): 0}


def test_threads_lose_no_count(measure: Measure) -> None:
    ours = measure()

    def work(own: str) -> None:
        for number in range(500):
            ours.ended(invocation(own if number % 2 else "shared"))

    threads = [threading.Thread(target=work, args=(f"s{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = seen(ours)
    assert found.sum("picloud_requests_total", script="shared") == 2_000
    assert found.sum("picloud_requests_total") == found.sum("picloud_request_duration_seconds_count") == 4_000


def test_nothing_is_counted_before_the_start_and_after_the_end(measure: Measure) -> None:
    ours, looking = measure(), measure()
    ours.stop()
    ours.ended(invocation("one"))
    Measurements(ours.folder.path, "worker").ended(invocation("one"))
    assert seen(looking).sum("picloud_requests_total") == 0


def test_every_series_has_the_type_the_labels_and_the_meaning_of_its_row(measure: Measure) -> None:
    ours = measure()
    ours.ended(invocation("one"))
    ours.called("kv.get")
    gauges = {it: {("x",) * len(it.labels): 1.0} for it in TABLE if it.kind is Kind.GAUGE}
    families = {it.name: it for it in samples_of(text(ours, gauges)).families}
    rows = {it.name.removesuffix("_total"): it for it in TABLE}
    assert set(families) | {"picloud_database_waits"} == set(rows)
    for name, family in families.items():
        row = rows[name]
        assert (family.type, family.documentation) == (str(row.kind), row.about)
        for sample in family.samples:
            assert {*sample.labels} - {"le"} == {*row.labels}


def test_labels_are_escaped(measure: Measure) -> None:
    version = 'with "quotes", \\ and\nlines'
    found = samples_of(text(measure(), {BUILD: {(version, "3"): 1.0}}))
    assert found.of("picloud_build_info") == {("3", version): 1.0}
