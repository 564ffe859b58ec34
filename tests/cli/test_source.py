"""Files from a server are written below the folder that was named, and nowhere else."""

from pathlib import Path

import pytest

from picloud.cli.source import write_files
from picloud.errors import PicloudError


def test_files_are_written_as_they_were(tmp_path: Path) -> None:
    write_files(tmp_path / "new", {"main.lua": b"a\r\nb", "lib/x.lua": b"\xff"}, force=False)
    assert (tmp_path / "new" / "main.lua").read_bytes() == b"a\r\nb"
    assert (tmp_path / "new" / "lib" / "x.lua").read_bytes() == b"\xff"


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", "a//b", "./x", "a/.", "", "link/x", "link", "a\nb", "a\0b", ".."]
)
@pytest.mark.parametrize("force", [True, False])
def test_a_name_that_leads_elsewhere_writes_nothing(tmp_path: Path, name: str, force: bool) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(outside)
    with pytest.raises(PicloudError, match="nothing was written"):
        write_files(tmp_path / "in", {"main.lua": b"x", name: b"y"}, force)
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["link"]
    assert not list(outside.iterdir())


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b", "a"], ["x" * 256], ["x/" * 16 + "y"], ["lib/" + "x" * 252]])
def test_names_that_cannot_all_be_written_write_nothing(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(PicloudError, match="nothing was written"):
        write_files(tmp_path / "new", {"main.lua": b"x"} | dict.fromkeys(names, b"y"), force=False)
    with pytest.raises(PicloudError, match="nothing was written"):
        write_files(tmp_path, {"main.lua": b"x"} | dict.fromkeys(names, b"y"), force=True)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_replaced_with_force_only(tmp_path: Path) -> None:
    (tmp_path / "main.lua").write_text("mine")
    with pytest.raises(PicloudError, match="--force"):
        write_files(tmp_path, {"a.lua": b"x", "main.lua": b"theirs"}, force=False)
    assert not (tmp_path / "a.lua").exists()
    assert (tmp_path / "main.lua").read_text() == "mine"
    write_files(tmp_path, {"main.lua": b"x"}, force=True)
    assert (tmp_path / "main.lua").read_text() == "x"


def test_a_file_in_the_way_of_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "lib").write_text("mine")
    with pytest.raises(PicloudError, match="nothing was written"):
        write_files(tmp_path, {"main.lua": b"x", "lib/a.lua": b"y"}, force=True)
    assert not (tmp_path / "main.lua").exists()
