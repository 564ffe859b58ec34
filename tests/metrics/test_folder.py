"""The counts of the dead stay, once each; their gauges and their files go."""

import shutil
import struct
from pathlib import Path

import pytest

from picloud.metrics.folder import Folder
from picloud.metrics.measuring import Measurements
from tests.metrics.conftest import Measure, Others, invocation, seen

REQUESTS = "picloud_requests_total"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_processes_are_added_up(measure: Measure, others: Others) -> None:
    ours = measure()
    others.start("one", "two")
    others.start("two")
    ours.ended(invocation("one"))
    assert seen(ours).of(REQUESTS, outcome="ok", trigger="http") == {("one",): 2, ("two",): 2}
    assert seen(ours).of("picloud_processes") == {("worker",): 3}


def test_what_a_killed_process_has_counted_stays_and_its_gauges_go(measure: Measure, others: Others) -> None:
    ours = measure()
    process = others.start("one", "one")
    before = seen(ours)
    assert before.of("picloud_database_connections_max") == {("lookups",): 4}
    process.kill()
    process.wait()
    after = seen(ours)
    for name in (REQUESTS, "picloud_request_duration_seconds_bucket", "picloud_request_duration_seconds_sum"):
        assert after.of(name) == before.of(name) != {}
    assert after.of("picloud_processes") == {("worker",): 1}
    assert after.of("picloud_database_connections_max") == {}


def test_any_number_of_restarts_takes_as_much_room_as_one(folder: Path, measure: Measure, others: Others) -> None:
    ours = measure()
    others.killed("one")
    seen(ours)
    (fold,) = folder.glob("folded-*")
    fold_bytes = {path.name: path.stat().st_size for path in fold.glob("*.db")}
    before = {name: (folder / name).stat().st_size for name in names(folder) if not name.startswith("folded-")}
    for _ in range(10):
        others.killed("one")
    assert seen(ours).sum(REQUESTS) == 11
    assert {name: (folder / name).stat().st_size for name in before} == before
    (fold,) = folder.glob("folded-*")
    assert names(folder) == sorted([*before, fold.name])
    assert {path.name: path.stat().st_size for path in fold.glob("*.db")} == fold_bytes


def test_they_are_folded_by_whoever_starts_next_though_nobody_looks(folder: Path, others: Others) -> None:
    for _ in range(5):
        others.killed("one")
    assert len(list(folder.glob("*.db"))) == 3  # of the last one
    assert len(list(folder.glob("folded-*"))) == 1


@pytest.mark.parametrize("deleted", ["", "counter", "gauge_livesum"])
def test_a_fold_whose_maker_was_killed_before_it_deleted_what_is_in_it_counts_once(
    folder: Path, measure: Measure, others: Others, deleted: str
) -> None:
    others.killed("one")
    dead = {path: path.read_bytes() for path in folder.glob("*.db")}
    ours = measure()
    assert seen(ours).sum(REQUESTS) == 1
    for path, data in dead.items():
        if not deleted or not path.name.startswith(deleted):
            path.write_bytes(data)
    shutil.copytree(folder / "folded-00000000", folder / "making")  # and another one that never became one
    assert seen(ours).sum(REQUESTS) == 1
    assert not [path for path in dead if path.exists()]
    others.killed("one")
    assert seen(ours).sum(REQUESTS) == 2


def test_a_fold_before_the_last_one_that_was_left_behind_counts_no_more(
    folder: Path, measure: Measure, others: Others
) -> None:
    others.killed("one")
    ours = measure()
    kept = folder.parent / "kept"
    shutil.copytree(folder / "folded-00000000", kept)
    others.killed("one")
    assert seen(ours).sum(REQUESTS) == 2
    shutil.copytree(kept, folder / "folded-00000000")
    assert seen(ours).sum(REQUESTS) == 2


def test_who_was_killed_while_it_made_its_files_stops_nobody(folder: Path, measure: Measure) -> None:
    ours = measure()
    ours.ended(invocation("one"))
    (folder / "counter_1-1.db").touch()
    assert seen(ours).sum(REQUESTS) == 1
    assert not (folder / "counter_1-1.db").exists()


def test_what_is_folded_is_without_scripts_that_are_gone(folder: Path, measure: Measure, others: Others) -> None:
    ours = measure()
    process = others.start("one", "gone")
    ours.forget({"gone"})
    process.kill()
    process.wait()
    assert seen(ours).of(REQUESTS, outcome="ok", trigger="http") == {("one",): 1}
    (fold,) = folder.glob("folded-*")
    assert b"gone" not in (fold / "counter_folded.db").read_bytes()


def test_where_a_folder_cannot_be_made_into_files_nothing_is_counted_and_nothing_fails(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = Measurements(folder, "worker")
    (folder / "lock").mkdir()
    ours.start()
    ours.ended(invocation("one"))
    ours.called("kv.get")
    ours.meter("late", 1).used(1)
    ours.stop()
    assert "nothing is counted here" in caplog.text


def test_a_process_that_lives_is_never_folded(folder: Path, measure: Measure, others: Others) -> None:
    ours = measure()
    others.start("one")
    before = names(folder)
    for _ in range(3):
        with Folder(folder, ours.names).reading() as files:
            assert len(files) == 6
    assert names(folder) == before


@pytest.mark.parametrize(
    "text",
    [
        struct.pack("ii", 100, 0) + struct.pack("i", 20) + b"not json, not at all" + bytes(200),
        struct.pack("ii", 100, 0) + struct.pack("i", 1 << 30) + bytes(200),
        struct.pack("ii", 100, 0) + bytes(200),
        struct.pack("ii", 1 << 30, 0) + bytes(200),
        struct.pack("ii", 100, 0) + struct.pack("i", 4) + b"[{}]" + bytes(200),
        b"\1",
    ],
)
def test_a_file_that_is_broken_keeps_nobody_from_counting(
    folder: Path, measure: Measure, others: Others, text: bytes
) -> None:
    others.killed("one")
    (folder / "counter_1-1.db").write_bytes(text)
    ours = measure()
    ours.ended(invocation("one"))
    assert seen(ours).of(REQUESTS, outcome="ok", trigger="http") == {("one",): 2}
    assert not (folder / "counter_1-1.db").exists()
