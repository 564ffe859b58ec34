"""What is read from disk, what is refused before it is sent, and how it is packed."""

import gzip
import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from picloud.cli.bundle import Refused, packed, read_source, script_name_of
from picloud.errors import InvalidRequest
from picloud.manager.files import DEPTH_MAX, FILES_MAX, SOURCE_BYTES_MAX
from tests.cli.folders import as_nobody, folders_without_end, shown_to_all


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "lib" / "deep").mkdir(parents=True)
    (root / "main.lua").write_text("return 1")
    (root / "lib" / "deep" / "a.lua").write_text("return 2")
    (root / "page.html").write_bytes(b"\xff\0")
    return root


def members(body: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as tar:
        return {it.name: file.read() for it in tar if (file := tar.extractfile(it))}


def test_a_folder_is_its_regular_files_by_their_paths(folder: Path) -> None:
    files = {"lib/deep/a.lua": b"return 2", "main.lua": b"return 1", "page.html": b"\xff\0"}
    assert read_source(folder).files == files
    body, content_type = read_source(folder).upload()
    assert (members(body), content_type) == (files, "application/gzip")


def test_a_file_is_sent_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.lua").write_bytes(b"return '\xff'")
    assert read_source(tmp_path / "a.lua").upload() == (b"return '\xff'", "text/x-lua")


def test_the_same_files_make_the_same_bytes_whenever_they_were_written(folder: Path) -> None:
    before = packed(read_source(folder).files)
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    assert packed(read_source(folder).files) == before
    with gzip.open(io.BytesIO(before)) as plain, tarfile.open(fileobj=plain) as tar:
        assert {(it.uid, it.gid, it.mode, it.mtime, it.uname) for it in tar} == {(0, 0, 0o644, 0, "")}


def test_hidden_files_and_folders_are_left_out(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "config").touch()
    (folder / "lib" / ".env").write_text("secret")
    (folder / ".link").symlink_to("/etc/passwd")
    assert sorted(read_source(folder).files) == ["lib/deep/a.lua", "main.lua", "page.html"]


def test_a_link_is_refused_by_name_wherever_it_leads(folder: Path) -> None:
    (folder / "lib" / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(Refused, match=r"lib/passwd is a symbolic link"):
        read_source(folder)


def test_a_link_to_a_folder_is_refused(folder: Path) -> None:
    (folder / "more").symlink_to(folder / "lib")
    with pytest.raises(Refused, match=r"more is a symbolic link"):
        read_source(folder)


def test_what_is_no_file_is_refused_and_never_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(Refused, match=r"pipe is a named pipe"):
        read_source(folder)
    (folder / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as here:
        here.bind(str(folder / "sock"))
        with pytest.raises(Refused, match=r"sock is a socket"):
            read_source(folder)
    os.mkfifo(folder.parent / "pipe.lua")
    with pytest.raises(Refused, match=r"pipe.lua is no regular file"):
        read_source(folder.parent / "pipe.lua")


def test_a_folder_without_main_lua_is_refused(folder: Path) -> None:
    (folder / "main.lua").unlink()
    with pytest.raises(Refused, match=r"site has no main.lua"):
        read_source(folder)


def test_too_many_files_are_refused_and_as_many_as_may_be_are_not(folder: Path) -> None:
    for number in range(FILES_MAX - 3):
        (folder / f"{number}.txt").touch()
    assert len(read_source(folder).files) == FILES_MAX
    (folder / "one-more").touch()
    with pytest.raises(Refused, match=f"more than {FILES_MAX} files"):
        read_source(folder)


def test_too_many_bytes_are_refused_and_the_largest_files_named(folder: Path) -> None:
    (folder / "a.bin").write_bytes(bytes(SOURCE_BYTES_MAX - 100))
    assert read_source(folder).size == SOURCE_BYTES_MAX - 100 + 18
    (folder / "b.bin").write_bytes(bytes(200))
    with pytest.raises(Refused, match=rf"at most {SOURCE_BYTES_MAX}.*a.bin \(1048476\), b.bin \(200\)"):
        read_source(folder)


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge.lua").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(Refused, match=r"huge.lua has 1099511627776 bytes"):
        read_source(tmp_path / "huge.lua")


@pytest.mark.parametrize("name", [b"\xff.txt", b"a\\b", b"a\nb", "e\u0301".encode()])
def test_a_name_that_the_server_would_refuse_is_refused_before(folder: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(folder / "lib") + b"/" + name)).touch()
    with pytest.raises(InvalidRequest, match=r"lib/.*: the name "):
        read_source(folder)


def test_what_is_no_lua_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(Refused, match=r"ends in \.lua"):
        read_source(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("hello.lua", "hello"),
        ("My Script.lua", "my-script"),
        ("a.b.lua", "a-b"),
        ("-x_.lua", "x"),
        ("A" * 63, "a" * 63),
    ],
)
def test_a_script_is_named_after_its_file(tmp_path: Path, file: str, name: str) -> None:
    assert script_name_of(tmp_path / file) == name


def test_a_script_is_named_after_its_whole_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "My.App").mkdir()
    monkeypatch.chdir(tmp_path / "My.App")
    assert script_name_of(Path()) == "my-app"


def test_a_script_is_named_after_the_path_that_was_given_wherever_it_leads(folder: Path) -> None:
    link = folder.parent / "current"
    link.symlink_to(folder)
    assert script_name_of(link) == "current"
    assert script_name_of(link / "lib" / "..") == "current"
    (folder.parent / "newest.lua").symlink_to(folder / "main.lua")
    assert script_name_of(folder.parent / "newest.lua") == "newest"
    (folder.parent / "loop.lua").symlink_to("loop.lua")
    assert script_name_of(folder.parent / "loop.lua") == "loop"
    with pytest.raises(Refused, match=r"loop.lua: Too many levels of symbolic links"):
        read_source(folder.parent / "loop.lua")


def test_a_link_out_of_what_is_watched_is_refused_unread(folder: Path) -> None:
    watched = folder.parent
    (watched / "inside.lua").symlink_to(folder / "main.lua")
    assert read_source(watched / "inside.lua", within=watched).files == {"main.lua": b"return 1"}
    (folder / "lib" / "passwd.lua").symlink_to("/etc/passwd")
    (folder / "lib" / "all.lua").symlink_to(folder.parent / "other")
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "main.lua").write_text("return 3")
    for name in ("passwd.lua", "all.lua"):
        assert read_source(folder / "lib" / name).files
        with pytest.raises(Refused, match=r"is a link that leads out of"):
            read_source(folder / "lib" / name, within=folder)


def test_folders_without_end_are_refused(folder: Path) -> None:
    with (
        folders_without_end(folder / "lib"),
        pytest.raises(Refused, match=r"site has folders that are more than 16 deep"),
    ):
        read_source(folder)


def test_as_deep_as_a_bundle_may_be_is_read(folder: Path) -> None:
    deepest = folder.joinpath(*["d"] * (DEPTH_MAX - 1))
    deepest.mkdir(parents=True)
    (deepest / "a.lua").touch()
    assert len(read_source(folder).files) == 4
    (deepest / "e").mkdir()
    assert len(read_source(folder).files) == 4
    (deepest / "e" / "b.lua").touch()
    with pytest.raises(InvalidRequest, match=f"more than {DEPTH_MAX} deep"):
        read_source(folder)


def test_a_folder_that_may_not_be_read_is_named(folder: Path) -> None:
    shown_to_all(folder)
    (folder / "lib").chmod(0o700)
    with as_nobody(), pytest.raises(Refused, match=r"site/lib: Permission denied"):
        read_source(folder)
    folder.chmod(0o700)
    with as_nobody(), pytest.raises(Refused, match=r"main.lua: Permission denied"):
        read_source(folder)


@pytest.mark.parametrize("file", ["___.lua", "über.lua", "naïve-b.lua", "a+b.lua", "a" * 64 + ".lua"])
def test_a_name_that_would_lose_a_letter_asks_for_another(tmp_path: Path, file: str) -> None:
    with pytest.raises(Refused, match=r"a name has lower-case letters.*say --name NAME"):
        script_name_of(tmp_path / file)
