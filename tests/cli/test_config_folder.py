"""A configuration as a folder: what is written is whole or not there, and what is hostile is refused by name."""

import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picloud.cli import config_folder, source, toml
from picloud.cli.bundle import Refused
from picloud.errors import PicloudError
from picloud.manager.config_document import ConfigDocument

HELLO = {"files": {"main.lua": "return 1\n"}, "settings": {"env": {"B": "2", "A": "1"}}}
EXPECTED = """# What belongs to the script 'hello', and not to a version of it.

[settings]

[settings.env]
A = "1"
B = "2"
"""


def document(**scripts: Any) -> ConfigDocument:
    return msgspec.convert({"scripts": scripts}, ConfigDocument)


def contents(folder: Path) -> dict[str, str]:
    """Path → text of every file, hidden ones too."""
    return {str(it.relative_to(folder)): it.read_text() for it in sorted(folder.rglob("*")) if it.is_file()}


def test_a_script_is_a_folder_and_what_is_its_own_stands_beside_it(tmp_path: Path) -> None:
    config_folder.write(tmp_path / "out", document(hello=HELLO, bare={"files": {"main.lua": "", "lib/x.lua": "x"}}))
    found = contents(tmp_path / "out")
    assert found.pop("picloud-config.toml").endswith("format = 1\n")
    assert found == {
        "scripts/bare/lib/x.lua": "x",
        "scripts/bare/main.lua": "",
        "scripts/hello.toml": EXPECTED,
        "scripts/hello/main.lua": "return 1\n",
    }
    assert [it.name for it in tmp_path.iterdir()] == ["out"]


def test_what_toml_has_no_word_for_and_what_is_hidden_come_back(tmp_path: Path) -> None:
    schedule = {"name": "x", "every": "day", "payload": {"a": None, "b": 1.5}, "missed_within": 60}
    script = {
        "files": {"main.lua": "", ".env": "A=1", "a/.b/c": {"base64": "/wA="}},
        "route": [],
        "schedule": [schedule, {"name": "y", "cron": "@daily", "payload": [1, {"deep": "é\x7f\r\n"}]}],
    }
    config_folder.write(tmp_path / "out", document(hidden=script))
    text = (tmp_path / "out/scripts/hidden.toml").read_text()
    assert 'hidden_files = [".env", "a/.b/c"]' in text
    assert "route = []" in text
    assert '[[schedule]]\nname = "y"\ncron = "@daily"\npayload = ' in text, "what is as by default is not said"
    assert "payload_json = " in text
    assert 'payload = [1, {deep = "é\\u007f\\r\\n"}]' in text
    found = config_folder.read(tmp_path / "out")[0]["scripts"]["hidden"]
    assert (found["files"], found["route"]) == (script["files"], [])
    assert [it["payload"] for it in found["schedule"]] == [{"a": None, "b": 1.5}, [1, {"deep": "é\x7f\r\n"}]]


def test_a_second_export_replaces_the_scripts_and_nothing_beside_them(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    config_folder.write(tmp_path, document(old=HELLO, hello=HELLO))
    (tmp_path / "README.md").write_text("ours")
    config_folder.write(tmp_path, document(hello=HELLO))
    assert sorted(it.name for it in tmp_path.iterdir()) == [".git", "README.md", "picloud-config.toml", "scripts"]
    assert sorted(it.name for it in (tmp_path / "scripts").iterdir()) == ["hello", "hello.toml"]


@pytest.mark.parametrize("what", ["a file", "a full folder", "a linked scripts"])
def test_what_is_no_export_is_left_as_it_is(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "out"
    if what == "a file":
        folder.touch()
    else:
        folder.mkdir()
        (folder / "thesis.tex").touch()
    if what == "a linked scripts":
        (folder / "picloud-config.toml").write_text("format = 1")
        (folder / "scripts").symlink_to(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(Refused, match="out"):
        config_folder.write(folder, document(hello=HELLO))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("there", [False, True])
def test_an_interrupted_export_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    folder = tmp_path / "out"
    if there:
        config_folder.write(folder, document(old=HELLO))
    before = contents(tmp_path)
    written = source.write_files

    def interrupted(place: Path, files: dict[str, bytes], force: bool) -> None:
        if place.name == "second":
            raise KeyboardInterrupt
        written(place, files, force)

    monkeypatch.setattr(config_folder, "write_files", interrupted)
    with pytest.raises(KeyboardInterrupt):
        config_folder.write(folder, document(first=HELLO, second=HELLO))
    assert contents(tmp_path) == before
    assert sorted(it.name for it in tmp_path.iterdir()) == (["out"] if there else [])


def test_an_export_that_cannot_take_its_place_puts_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    config_folder.write(folder, document(old=HELLO))
    before = contents(tmp_path)
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.parent.name == "new" and path.name == "scripts":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="No space"):
        config_folder.write(folder, document(hello=HELLO))
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "script",
    [
        {"../out": HELLO},
        {"a": {"files": {"main.lua": "", "../../x": ""}}},
        {"a": {"files": {"main.lua": "", "/x": ""}}},
    ],
)
def test_a_server_writes_nowhere_else(tmp_path: Path, script: dict[str, Any]) -> None:
    with pytest.raises(PicloudError, match="nothing was written"):
        config_folder.write(tmp_path / "deep" / "out", document(**script))
    assert contents(tmp_path) == {}


HOSTILE = {
    "no scripts": "no configuration",
    "another format": "format = 1",
    "a linked scripts": "symbolic link",
    "a linked script": "link",
    "a linked file": "symbolic link",
    "a linked table": "link",
    "a pipe": "device",
    "a pipe in a script": "named pipe",
    "an odd name": "no script can be called 'Hello World'",
    "a file for a folder": "is no folder",
    "a table for nothing": "no folder other",
    "no main.lua": "has no main.lua",
    "no TOML": r"hello\.toml",
    "files in a table": "files is not known",
    "a hidden file that is a link": "symbolic link",
    "a hidden file elsewhere": "path",
    "a payload that is no JSON": "payload_json",
    "too large": "at most",
}


def make(folder: Path, what: str) -> None:
    """A folder with one thing in it that is not to be followed, guessed or waited for."""
    scripts = folder / "scripts"
    hello, table = scripts / "hello", scripts / "hello.toml"
    hello.mkdir(parents=True)
    (hello / "main.lua").touch()
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "main.lua").write_text("secret")
    if what == "a hidden file that is a link":
        table.write_text('hidden_files = [".x"]')
    deeds: dict[str, Any] = {
        "no scripts": lambda: scripts.rename(folder / "script"),
        "another format": lambda: (folder / "picloud-config.toml").write_text("format = 2"),
        "a linked scripts": lambda: scripts.symlink_to(scripts.rename(folder / "s")),
        "a linked script": lambda: (scripts / "other").symlink_to(elsewhere),
        "a linked file": lambda: (hello / "x.lua").symlink_to(elsewhere / "main.lua"),
        "a linked table": lambda: table.symlink_to(elsewhere / "main.lua"),
        "a pipe": lambda: os.mkfifo(table),
        "a pipe in a script": lambda: os.mkfifo(hello / "x.lua"),
        "an odd name": lambda: (scripts / "Hello World").mkdir(),
        "a file for a folder": lambda: (scripts / "other").touch(),
        "a table for nothing": lambda: (scripts / "other.toml").touch(),
        "no main.lua": lambda: (scripts / "other").mkdir(),
        "no TOML": lambda: table.write_text("]"),
        "files in a table": lambda: table.write_text("files = {}"),
        "a hidden file that is a link": lambda: (hello / ".x").symlink_to(elsewhere / "main.lua"),
        "a hidden file elsewhere": lambda: table.write_text('hidden_files = ["../../../elsewhere/main.lua"]'),
        "a payload that is no JSON": lambda: table.write_text('[[schedule]]\nevery = "day"\npayload_json = "{"'),
        "too large": lambda: (hello / "x").write_bytes(bytes(1024 * 1024 + 1)),
    }
    deeds[what]()


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_not_to_be_applied_is_refused_by_name(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "repository"
    make(folder, what)
    with pytest.raises(PicloudError, match=HOSTILE[what]):
        config_folder.read(folder)


def test_what_is_hidden_or_beside_the_scripts_is_nobodys_business(tmp_path: Path) -> None:
    config_folder.write(tmp_path, document(hello=HELLO))
    (tmp_path / "scripts" / ".keep").touch()
    (tmp_path / "scripts" / "hello" / ".luarc.json").touch()
    (tmp_path / "README.md").touch()
    assert config_folder.read(tmp_path)[0]["scripts"]["hello"] == HELLO | {"files": {"main.lua": "return 1\n"}}


VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3).filter(str.isprintable), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), VALUES, max_size=4))
def test_what_is_written_as_toml_is_read_as_the_same(value: dict[str, Any]) -> None:
    assert tomllib.loads(toml.document(value)) == value


def test_what_toml_cannot_say_is_an_error() -> None:
    with pytest.raises(ValueError, match="TOML has no None"):
        toml.document({"a": {"b": None}})
