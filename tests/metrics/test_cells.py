"""A file of numbers is what prometheus_client takes for one of its own."""

import resource
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from picloud.metrics.cells import Cells, read


@pytest.mark.parametrize("name", ["a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh", "ä€"])
def test_prometheus_reads_what_was_written_and_its_keys_are_the_same(tmp_path: Path, name: str) -> None:
    path, labels = tmp_path / "counter_1.db", {"b": name, "a": 'with "quotes"'}
    with closing(Cells(path)) as cells:
        at = cells.new(name, f"{name}_total", labels)
        cells.add(at, 1.5)
        cells.add(at, 1)
        cells.set(cells.new("next", "next", {}), 7)
        entries = [(key, value) for key, value, *_ in MmapedDict.read_all_values_from_file(str(path))]  # type: ignore[no-untyped-call]
    first = mmap_key(name, f"{name}_total", [*labels], [*labels.values()], "")
    assert entries == [(first, 2.5), (mmap_key("next", "next", [], [], ""), 7.0)]
    assert [(key.decode(), value) for key, value in read(path)] == entries


def test_a_file_grows_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    with closing(Cells(path)) as cells:
        places = [cells.new("metric", "metric_total", {"script": f"s{number}"}) for number in range(1_000)]
        for number, at in enumerate(places):
            cells.add(at, number)
        assert [value for _, value in read(path)] == [*range(1_000)]


def test_where_no_room_is_left_what_is_there_goes_on_and_nobody_ends(tmp_path: Path) -> None:
    """The limit of a file's size stands for a full file system: it is asked in the same place."""
    code = """
import sys
from pathlib import Path
from picloud.metrics.cells import NOWHERE, Cells, read
path = Path(sys.argv[1])
cells = Cells(path)
first, places = cells.new("metric", "metric_total", {}), []
while NOWHERE not in places:
    places.append(cells.new("metric", "metric_total", {"n": str(len(places))}))
cells.add(NOWHERE, 1)
cells.set(NOWHERE, 1)
cells.add(first, 3)
assert dict(read(path))[b'["metric", "metric_total", {}, ""]'] == 3
assert sum(dict(read(path)).values()) == 3
print(len(places))
"""
    limit = 64 * 1024
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "counter_1.db")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr == ""
    assert int(run.stdout) > 100
