"""`picloud up --watch DIR`: what is saved is live, what is wrong is shown, and idle costs nothing."""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.folders import folders_without_end
from tests.processes import descendants, stopped
from tests.running import PATIENCE_S, ROOT, Running, eventually, furnish


class Watching(Running):
    """A PiCloud that watches a folder; what it says comes line by line, both streams in one."""

    def __init__(self, data: Path, folder: Path) -> None:
        furnish(data)
        super().__init__(data, {})
        self.folder = folder
        self._lines: queue.Queue[str] = queue.Queue()

    def start(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "picloud", "up", "--watch", str(self.folder), *arguments],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.said_at_start = self.until("Ctrl-C stops it.")

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE_S)
        self._reader.join()
        self._output().close()
        return status

    def until(self, text: str) -> list[str]:
        """The lines up to one with this text."""
        lines: list[str] = []
        while not lines or text not in lines[-1]:
            lines.append(self._lines.get(timeout=PATIENCE_S))
        return lines

    def _read(self) -> None:
        for line in self._output():
            self._lines.put(line.rstrip("\n"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scripts")
    (root / "first.lua").write_text("return 'first 1'")
    (root / "site" / "lib").mkdir(parents=True)
    (root / "site" / "main.lua").write_text("return require 'lib.page'")
    (root / "site" / "lib" / "page.lua").write_text("return 'page 1'")
    (root / "wrong.lua").write_text("return = 1")
    (root / ".hidden.lua").write_text("return 1")
    (root / "notes.txt").write_text("notes")
    return root


@pytest.fixture(scope="module")
def ours(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watching]:
    picloud = Watching(tmp_path_factory.mktemp("watching"), folder)
    picloud.start()
    try:
        yield picloud
    finally:
        family = descendants(picloud.process.pid) if picloud.process else {}
        assert picloud.stop() == 0
        assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]


def body(ours: Watching, name: str) -> bytes:
    return ours.call("GET", f"/fn/{name}").body


def test_all_that_is_there_is_live_at_the_start(ours: Watching) -> None:
    assert f"first version 1 is live at {ours.url}/fn/first" in ours.said_at_start
    assert f"  curl {ours.url}/fn/first" in ours.said_at_start
    assert (body(ours, "first"), body(ours, "site")) == (b"first 1", b"page 1")
    assert "error: main.lua:1: unexpected symbol near '='" in ours.said_at_start
    assert not [line for line in ours.said_at_start if "hidden" in line or "notes" in line]


def test_a_save_is_one_deploy_and_the_curl_line_comes_once(ours: Watching) -> None:
    file = ours.folder / "first.lua"
    with stopped([ours.part("picloud.cli.watch")]):  # a save is over at once, however busy this machine is
        file.rename(file.with_suffix(".lua~"))  # as vim does
        file.write_text("return 'first 2'")
        file.with_suffix(".lua~").unlink()
    assert ours.until("first") == [f"first version 2 is live at {ours.url}/fn/first"]
    assert body(ours, "first") == b"first 2"
    (ours.folder / "tmp").write_text("return 'first 3'")  # as others do: nothing to see until it is renamed
    (ours.folder / "tmp").rename(file)
    assert ours.until("first") == [f"first version 3 is live at {ours.url}/fn/first"]


def test_a_syntax_error_shows_the_line_and_the_version_before_stays(ours: Watching) -> None:
    file = ours.folder / "broken.lua"
    file.write_text("return 'whole'")
    ours.until("curl")
    file.write_text("local a\nreturn { 1,, 2 }")
    assert ours.until("^") == [
        "error: main.lua:2: unexpected symbol near ','",
        f"  --> {file}:2:12",
        "  2 | return { 1,, 2 }",
        "    |            ^",
    ]
    assert body(ours, "broken") == b"whole"
    file.write_text("return 'whole'")
    assert ours.until("broken") == [f"broken is unchanged: version 1 is live at {ours.url}/fn/broken"]


def test_a_file_deep_in_a_bundle_deploys_the_bundle(ours: Watching) -> None:
    (ours.folder / "site" / "lib" / "page.lua").write_text("return 'page 2'")
    assert ours.until("site") == [f"site version 2 is live at {ours.url}/fn/site"]
    assert body(ours, "site") == b"page 2"


def test_a_new_folder_becomes_a_bundle_with_its_main_lua_and_is_followed(ours: Watching) -> None:
    new = ours.folder / "new"
    with stopped([ours.part("picloud.cli.watch")]):
        (new / "deep").mkdir(parents=True)
        (new / "deep" / "a.lua").write_text("return 'a'")
        (new / "main.lua").write_text("return require 'deep.a'")
    ours.until("new version 1 is live")
    ours.until("curl")
    (new / "deep" / "a.lua").write_text("return 'b'")
    ours.until("new version 2 is live")
    assert body(ours, "new") == b"b"


def test_the_routes_of_a_new_bundle_are_shown(ours: Watching) -> None:
    new = ours.folder / "routed"
    with stopped([ours.part("picloud.cli.watch")]):
        new.mkdir()
        (new / "picloud.toml").write_text('[[route]]\npath = "/routed/{name}"\n')
        (new / "main.lua").write_text("return 1")
    assert ours.until("ANY /routed/{name}") == [
        f"routed version 1 is live at {ours.url}/fn/routed",
        f"  curl '{ours.url}/routed/{{name}}'",
        "  ANY /routed/{name}",
    ]


def test_a_link_in_a_bundle_is_refused_by_name(ours: Watching) -> None:
    link = ours.folder / "site" / "passwd"
    with stopped([ours.part("picloud.cli.watch")]):
        link.symlink_to("/etc/passwd")
        (ours.folder / "site" / "lib" / "page.lua").write_text("return 'page 3'")
    assert f"error: {link} is a symbolic link" in ours.until("symbolic")[-1]
    link.unlink()
    ours.until("site version 3 is live")


def test_what_cannot_be_read_is_one_line_and_the_next_save_is_deployed(ours: Watching) -> None:
    for name, target, words in (
        ("loop.lua", "loop.lua", "loop.lua: Too many levels of symbolic links"),
        ("pw.lua", "/etc/passwd", "pw.lua is a link that leads out of"),
    ):
        (ours.folder / name).symlink_to(target)
        (said,) = ours.until(words)
        assert said.startswith(f"error: {ours.folder}/")
        (ours.folder / name).unlink()
        ours.until("is gone")
    (ours.folder / "after.lua").write_text("return 'after'")
    ours.until("after version 1 is live")
    ours.until("curl")
    assert body(ours, "pw") != body(ours, "after") == b"after"


def test_a_removed_file_is_said_and_its_script_stays(ours: Watching) -> None:
    (ours.folder / "leaving.lua").write_text("return 'here'")
    ours.until("curl")
    (ours.folder / "leaving.lua").unlink()
    assert ours.until("leaving") == ["leaving.lua is gone; leaving stays as it is ('picloud rm leaving' deletes it)"]
    assert body(ours, "leaving") == b"here"


def test_two_that_would_be_one_script_are_said(ours: Watching) -> None:
    (ours.folder / "First.lua").write_text("return 'other'")
    assert ours.until("First") == ["error: First.lua and first.lua would all be the script 'first': rename one"]
    (ours.folder / "First.lua").unlink()
    ours.until("first is unchanged")


def test_at_rest_the_watcher_does_not_wake_up(ours: Watching) -> None:
    status = Path(f"/proc/{ours.part('picloud.cli.watch')}/status")
    (ours.folder / "quiet.lua").write_text("return 1")
    ours.until("curl")

    def switches() -> list[str]:
        return [line for line in status.read_text().splitlines() if "ctxt" in line]

    def rests() -> bool:
        before = switches()
        threading.Event().wait(2.0)  # not in hope: the length of the measurement
        return switches() == before

    assert any(rests() for _ in range(3))  # the first may see it fall asleep; who polls never rests


def test_a_watcher_that_does_not_live_ends_nothing_else(fresh_data: Path, tmp_path: Path) -> None:
    (tmp_path / "a.lua").write_text("return 'a'")
    ours = Watching(fresh_data, tmp_path)
    ours.start()
    try:
        for _ in range(20):  # three quick ends in a row are the last: on a busy machine, some are not quick
            os.kill(eventually(lambda: ours.parts("picloud.cli.watch"), bool)[0], signal.SIGKILL)
            said = ours.until("the watcher end")[-1]
            if "PiCloud goes on without it" in said:
                break
        assert "PiCloud goes on without it" in said
        assert body(ours, "a") == b"a"
        ours.kill_server()
        ours.until("the server ended")
        assert body(ours, "a") == b"a"
    finally:
        assert ours.stop(signal.SIGINT) == 0


def test_a_folder_that_cannot_be_watched_ends_nothing(fresh_data: Path, tmp_path: Path) -> None:
    for folder in ("scripts/site", "scripts/deep"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "main.lua").write_text("return 'here'")
    (tmp_path / "scripts" / "loop.lua").symlink_to("loop.lua")
    ours = Watching(fresh_data, tmp_path / "scripts")
    with folders_without_end(tmp_path / "scripts" / "deep"):
        ours.start()
    try:
        errors = [line for line in ours.said_at_start if "error" in line or "deep" in line]
        assert ["more than 16 deep" in errors[0], "loop.lua: Too many" in errors[1], len(errors)] == [True, True, 2]
        assert body(ours, "site") == b"here"
    finally:
        assert ours.stop(signal.SIGINT) == 0


def test_a_folder_that_is_none_is_said_before_anything_starts(fresh_data: Path, tmp_path: Path) -> None:
    picloud = Running(fresh_data, {})
    done = picloud.cli("up", "--watch", str(tmp_path / "nothing"))
    assert (done.returncode, b"nothing' does not exist" in done.stderr) == (2, True)
    assert not fresh_data.exists()
    done = picloud.cli("up", "--watch", str(ROOT / "setup.cfg"))
    assert (done.returncode, b"is a file" in done.stderr) == (2, True)


def test_a_folder_with_main_lua_is_one_bundle(fresh_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Whole Site"
    (folder / "sub").mkdir(parents=True)
    (folder / "main.lua").write_text("return require('part') .. require('sub.main')")
    (folder / "part.lua").write_text("return 'a'")
    (folder / "sub" / "main.lua").write_text("return 'b'")
    ours = Watching(fresh_data, folder)
    ours.start()
    try:
        assert [item["name"] for item in ours.api("GET", "scripts").json["items"]] == ["whole-site"]
        assert body(ours, "whole-site") == b"ab"
        (folder / "part.lua").write_text("return 'c'")
        assert ours.until("whole-site") == [f"whole-site version 2 is live at {ours.url}/fn/whole-site"]
        (folder / "main.lua").rename(folder / "main.off")
        assert "has no main.lua" in ours.until("main.lua")[-1]
        (folder / "part.lua").write_text("return 'd'")  # stays a module
        assert "has no main.lua" in ours.until("main.lua")[-1]
        (folder / "main.off").rename(folder / "main.lua")
        ours.until("whole-site version 3 is live")
        assert [item["name"] for item in ours.api("GET", "scripts").json["items"]] == ["whole-site"]
    finally:
        assert ours.stop(signal.SIGINT) == 0


def test_a_folder_of_scripts_becomes_a_bundle_with_its_main_lua(fresh_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "grown"
    folder.mkdir()
    (folder / "part.lua").write_text("return 'a'")
    ours = Watching(fresh_data, folder)
    ours.start()
    try:
        (folder / "main.lua").write_text("return require 'part'")
        assert ours.until("grown") == [f"grown version 1 is live at {ours.url}/fn/grown"]
        assert body(ours, "grown") == b"a"
    finally:
        assert ours.stop(signal.SIGINT) == 0


def test_a_watched_folder_that_goes_away_ends_nothing(fresh_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "a.lua").write_text("return 'a'")
    ours = Watching(fresh_data, folder)
    ours.start()
    try:
        (folder / "a.lua").unlink()
        folder.rmdir()
        ours.until("scripts is gone; nothing is watched")
        assert body(ours, "a") == b"a"
        folder.mkdir()
        ours.until("scripts is there again and watched")
        (folder / "a.lua").write_text("return 'back'")
        ours.until("a version 2 is live")
        folder.rename(tmp_path / "away")
        ours.until("scripts is gone; nothing is watched")
        (tmp_path / "away").rename(folder)
        ours.until("a is unchanged")
    finally:
        assert ours.stop(signal.SIGINT) == 0
