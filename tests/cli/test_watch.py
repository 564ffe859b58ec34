"""What a change asks for, as a pure decision; and what the kernel says of a real folder."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from picloud.cli.changes import Changes
from picloud.cli.watch import Plan, decide, scripts_in
from tests.cli.folders import as_nobody, folders_without_end, shown_to_all

A, B, DIR = Path("w/a.lua"), Path("w/b.lua"), Path("w/a")
NOTHING = Plan((), (), ())


def test_what_was_touched_is_deployed_and_nothing_else() -> None:
    there = {A: "a", B: "b"}
    assert decide(there, there, {A}) == Plan((("a", A),), (), ())
    assert decide(there, there, set()) == NOTHING


def test_what_is_no_script_asks_for_nothing() -> None:
    assert decide({A: "a"}, {A: "a"}, {Path("w/notes.txt")}) == NOTHING


def test_what_went_away_is_said() -> None:
    assert decide({A: "a", B: "b"}, {B: "b"}, {A}) == Plan((), (("a", A),), ())


def test_a_new_name_is_one_that_comes_and_one_that_goes() -> None:
    assert decide({A: "a"}, {B: "b"}, {A, B}) == Plan((("b", B),), (("a", A),), ())


def test_a_file_that_becomes_a_folder_stays_the_same_script() -> None:
    assert decide({A: "a"}, {DIR: "a"}, {A, DIR}) == Plan((("a", DIR),), (), ())


def test_of_two_that_would_be_one_script_neither_is_deployed() -> None:
    assert decide({A: "a"}, {A: "a", DIR: "a"}, {DIR}) == Plan((), (), (("a", (DIR, A)),))


def test_once_a_clash_is_over_the_one_that_is_left_is_deployed() -> None:
    assert decide({A: "a", DIR: "a"}, {A: "a"}, {DIR}) == Plan((("a", A),), (), ())


def test_scripts_are_lua_files_and_folders_with_main_lua(tmp_path: Path) -> None:
    for name in ("one.lua", ".hidden.lua", "notes.txt", "backup.lua~"):
        (tmp_path / name).touch()
    for name in ("site", "plain", ".git", "odd.lua"):
        (tmp_path / name).mkdir()
    for name in ("site", ".git"):
        (tmp_path / name / "main.lua").touch()
    assert scripts_in(tmp_path) == {tmp_path / "one.lua": "one", tmp_path / "site": "site"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "watched"
    (folder / "site" / "lib").mkdir(parents=True)
    (folder / "site" / "main.lua").touch()
    (folder / "one.lua").touch()
    return folder


@pytest.fixture
def changes(root: Path) -> Iterator[Changes]:
    with Changes(root) as ours:
        yield ours


def save_by_renaming(root: Path) -> None:
    (root / "one.lua~tmp").write_text("return 2")
    (root / "one.lua~tmp").rename(root / "one.lua")


def save_as_vim_does(root: Path) -> None:
    (root / "one.lua").rename(root / "one.lua~")
    (root / "one.lua").write_text("return 2")
    (root / "one.lua~").unlink()


def save_by_linking(root: Path) -> None:
    (root.parent / "whole").write_text("return 2")
    (root / "one.lua").unlink()
    (root / "one.lua").hardlink_to(root.parent / "whole")


def nested(root: Path) -> None:
    (root / "site" / "lib" / "a.lua").write_text("return 1")


def whole_folder_moved_in(root: Path) -> None:
    (root.parent / "new" / "deep").mkdir(parents=True)
    (root.parent / "new" / "main.lua").touch()
    (root.parent / "new").rename(root / "new")


def everything_gone(root: Path) -> None:
    (root / "one.lua").unlink()


@pytest.mark.parametrize(
    ("change", "entry"),
    [
        (save_by_renaming, "one.lua"),
        (save_as_vim_does, "one.lua"),
        (save_by_linking, "one.lua"),
        (nested, "site"),
        (whole_folder_moved_in, "new"),
        (everything_gone, "one.lua"),
    ],
)
def test_one_save_is_one_burst_that_names_its_script(
    root: Path, changes: Changes, change: Callable[[Path], None], entry: str
) -> None:
    change(root)
    touched = changes.wait()
    assert touched is not None
    assert {path for path in touched if not path.name.startswith("one.lua~")} == {root / entry}


def test_a_folder_that_came_later_is_watched_too(root: Path, changes: Changes) -> None:
    (root / "late" / "lib").mkdir(parents=True)
    assert changes.wait() == {root / "late"}
    (root / "late" / "lib" / "a.lua").write_text("return 1")
    assert changes.wait() == {root / "late"}


def test_a_folder_that_was_moved_is_watched_under_its_new_name(root: Path, changes: Changes) -> None:
    (root / "site").rename(root / "page")
    assert changes.wait() == {root / "site", root / "page"}
    (root / "page" / "lib" / "a.lua").write_text("return 1")
    assert changes.wait() == {root / "page"}


def test_hidden_entries_are_not_watched(root: Path, changes: Changes) -> None:
    (root / ".git").mkdir()
    (root / ".git" / "x").write_text("x")
    (root / "site" / ".swp").write_text("x")
    (root / "one.lua").write_text("return 2")
    assert changes.wait() == {root / "one.lua"}


def test_a_file_is_no_change_until_it_is_written(root: Path, changes: Changes) -> None:
    with (root / "slow.lua").open("w") as file:
        (root / "one.lua").write_text("return 2")
        assert changes.wait() == {root / "one.lua"}
        file.write("return 1")
    assert changes.wait() == {root / "slow.lua"}


def test_a_folder_that_may_not_be_read_is_one_line_and_the_rest_is_watched(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shown_to_all(root)
    (root / "locked").mkdir(mode=0)
    with as_nobody(), Changes(root) as changes:
        assert scripts_in(root) == {root / "one.lua": "one", root / "site": "site"}
        assert capfd.readouterr().err == f"error: {root}/locked cannot be watched: Permission denied\n"
        os.seteuid(os.getuid())
        (root / "locked").chmod(0o700)  # whoever clears up may look into it
        nested(root)
        assert changes.wait() == {root / "site"}


def test_folders_without_end_are_watched_as_deep_as_a_bundle_may_be(root: Path) -> None:
    with folders_without_end(root / "site"), Changes(root) as changes:
        deep = root.joinpath("site", *["d"] * 16)
        (deep / "x").touch()
        assert changes.wait() == {root / "site"}


def test_a_link_that_leads_in_a_circle_is_a_script_like_any_other_until_it_is_read(root: Path) -> None:
    (root / "loop.lua").symlink_to("loop.lua")
    assert scripts_in(root)[root / "loop.lua"] == "loop"


def test_the_end_of_the_folder_is_told(root: Path, changes: Changes) -> None:
    root.rename(root.parent / "away")
    assert changes.wait() is None


def test_the_end_of_a_folder_above_is_told(tmp_path: Path) -> None:
    (tmp_path / "home" / "watched").mkdir(parents=True)
    with Changes(tmp_path / "home" / "watched") as changes:
        (tmp_path / "home").rename(tmp_path / "moved")
        assert changes.wait() is None


def test_another_folder_in_the_same_place_is_watched_instead(root: Path, changes: Changes) -> None:
    (root.parent / "next").mkdir()
    (root.parent / "next" / "two.lua").touch()
    root.rename(root.parent / "away")
    (root.parent / "next").rename(root)
    assert changes.wait() == {root / "two.lua"}
    (root / "three.lua").write_text("return 3")
    assert changes.wait() == {root / "three.lua"}


def test_waiting_costs_nothing(root: Path, changes: Changes) -> None:
    got = []
    thread = threading.Thread(target=lambda: got.append(changes.wait()))
    thread.start()
    status = Path(f"/proc/self/task/{thread.native_id}/status")

    def rests() -> bool:
        before = [line for line in status.read_text().splitlines() if "ctxt" in line]
        threading.Event().wait(0.3)  # not in hope: the length of the measurement
        return before == [line for line in status.read_text().splitlines() if "ctxt" in line]

    try:
        assert any(rests() for _ in range(10))  # the first may see it fall asleep; who polls never rests
    finally:
        (root / "one.lua").write_text("return 2")
        thread.join()
    assert got == [{root / "one.lua"}]
