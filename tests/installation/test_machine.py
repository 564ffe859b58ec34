"""The machine is looked at and changed in one place, and a check changes nothing."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from picloud.installation.machine import CommandFailed, Machine

CHANGES: dict[str, Callable[[Machine], object]] = {
    "write": lambda machine: machine.write("/file", "new"),
    "edit": lambda machine: machine.edit("/file", "new"),
    "link": lambda machine: machine.link("/file", "elsewhere"),
    "move": lambda machine: machine.move("/file", "/moved"),
    "make_folder": lambda machine: machine.make_folder("/folder", 0o700, "root"),
    "remove": lambda machine: machine.remove("/file"),
    "do": lambda machine: machine.do("touch", "/tmp/never"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_check_refuses_every_change(change: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(AssertionError, match="a check changes nothing"):
        CHANGES[change](Machine(tmp_path, read_only=True))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write("/etc/picloud/file", "one\n", 0o600)
    machine.write("/etc/picloud/file", "two\n", 0o640)
    assert machine.text("/etc/picloud/file") == "two\n"
    assert stat.S_IMODE(machine.path("/etc/picloud/file").stat().st_mode) == 0o640
    assert [path.name for path in machine.path("/etc/picloud").iterdir()] == ["file"]


def test_a_file_of_somebody_elses_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o440)
    Machine(tmp_path).edit("/file", "new")
    assert (tmp_path / "file").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o440


def test_a_link_is_replaced(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for target in ("one", "two"):
        machine.link("/current", target)
        assert str((tmp_path / "current").readlink()) == target
    assert [path.name for path in tmp_path.iterdir()] == ["current"]


def test_what_is_removed_is_gone_and_what_a_link_leads_to_is_not(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("folder")
    machine.remove("/link")
    assert (tmp_path / "folder/inner").is_dir()
    machine.remove("/folder")
    machine.remove("/folder")
    assert not list(tmp_path.iterdir())


def test_a_command_that_fails_is_named_with_the_last_that_it_said() -> None:
    with pytest.raises(CommandFailed) as failed:
        Machine().ask("sh", "-c", "seq 100 >&2; exit 3")
    assert "(exit status 3)" in str(failed.value)
    assert [line.strip() for line in str(failed.value).splitlines()[1:]] == [str(number) for number in range(89, 101)]


def test_a_command_that_is_missing_is_named() -> None:
    with pytest.raises(CommandFailed, match="there is no 'picloud-nothing' on this machine"):
        Machine().ask("picloud-nothing")


def test_a_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o755)
    Machine(tmp_path).make_folder("/folder", 0o700, "root")
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700


def test_a_link_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir(mode=0o755)
    (tmp_path / "folder").symlink_to("other")
    with pytest.raises(OSError, match="folder"):
        Machine(tmp_path).make_folder("/folder", 0o700, "root")
    assert stat.S_IMODE((tmp_path / "other").stat().st_mode) == 0o755
