"""Tar archives from somebody who may be hostile: each is refused with a reason that names the path."""

import gzip
import json
import tarfile
import tracemalloc
import zlib

import pytest

from picloud.errors import BodyTooLarge
from picloud.manager import bundle
from picloud.manager.bundle import Kind
from picloud.manager.files import FILES_MAX, SOURCE_BYTES_MAX
from tests.manager.bodies import FORMATS, MAIN, NAMES, TYPES, entry, read, refused, tar, tar_of


@pytest.mark.parametrize(("name", "reason"), NAMES)
def test_a_path_that_may_not_be_is_named_with_the_reason(name: str, reason: str) -> None:
    as_json = json.dumps({"files": {"main.lua": "", name: ""}}).encode()
    bodies = [(as_json, Kind.JSON)]
    if name:  # tarfile cannot make one without
        bodies += [(tar(entry("main.lua"), entry(name), form=form), Kind.TAR) for form in FORMATS[1:]]
    for body, kind in bodies:
        message = refused(body, kind)
        assert reason in message
        assert repr(name)[1:40].rstrip("'") in message


@pytest.mark.parametrize("name", [name for name, _ in NAMES if name and not name.endswith("etc/passwd")])
def test_a_folder_may_not_have_such_a_path_either(name: str) -> None:
    refused(tar(entry("main.lua"), entry(name, type=tarfile.DIRTYPE)))


@pytest.mark.parametrize(("kind", "what"), TYPES)
@pytest.mark.parametrize("form", FORMATS)
def test_what_is_neither_a_file_nor_a_folder_is_named_with_what_it_is(kind: bytes, what: str, form: int) -> None:
    message = refused(tar(entry("main.lua"), entry("evil", type=kind, linkname="main.lua"), form=form))
    assert message.startswith(f"'evil': it is {what}")


@pytest.mark.parametrize(
    "contents",
    [
        ["main.lua", "main.lua"],
        ["main.lua", "./main.lua"],
        ["main.lua", "././main.lua"],
        ["main.lua", "a", "a/b"],
        ["main.lua", "a/b", "a"],
        ["main.lua", "main.lua/x"],
        ["main.lua", "a/b/c", "a/b"],
    ],
)
def test_two_things_of_one_name_are_refused(contents: list[str]) -> None:
    said = refused(tar(*(entry(name, b"x") for name in contents)))
    assert "it is there twice" in said or "a file and a folder at once" in said
    text = '{"files": {' + ", ".join(f'"{name}": "x"' for name in contents) + "}}"
    assert refused(text.encode(), Kind.JSON) == said


def test_a_file_and_a_folder_entry_of_one_name_are_refused_in_either_order() -> None:
    file, folder = entry("a", b"x"), entry("a", type=tarfile.DIRTYPE)
    for pair in ([file, folder], [folder, file]):
        assert "a file and a folder at once" in refused(tar(entry("main.lua"), *pair))
    assert read(tar(folder, folder, entry("./", type=tarfile.DIRTYPE), entry("main.lua"))) == {"main.lua": b""}


def test_without_main_lua_at_the_top_the_deeper_one_is_named() -> None:
    assert "there is no file of this name at the top" in refused(tar(entry("a.lua")))
    assert "there is 'site/main.lua': pack what is inside its folder" in refused(tar(entry("site/main.lua")))
    assert "'main.lua'" in refused(tar())
    assert "'main.lua'" in refused(b'{"files": {}}', Kind.JSON)


def test_more_files_and_more_bytes_than_are_taken_are_refused() -> None:
    many = [entry(f"{number}") for number in range(FILES_MAX)]
    assert "one more than the 100 files" in refused(tar(entry("main.lua"), *many))
    big = tar(entry("main.lua", b"x" * SOURCE_BYTES_MAX), entry("b", b"x"))
    with pytest.raises(BodyTooLarge, match="with 'b' the files have over 1048576 bytes"):
        read(big)
    folders = [entry(f"{number}", type=tarfile.DIRTYPE) for number in range(1_000)]
    assert "more than 1000 entries" in refused(tar(*folders, entry("main.lua")))


def test_an_archive_that_is_cut_short_is_refused_wherever_it_is_cut() -> None:
    whole = tar_of({"main.lua": b"x" * 700, "ä" * 100: b"y"})
    end = whole.rstrip(b"\0")
    blocks = -(-len(end) // 512)
    for cut in range(blocks * 512 + 1):
        refused(whole[:cut])
    packed = gzip.compress(whole)
    for cut in range(len(packed)):
        refused(packed[:cut])


def test_what_stands_behind_the_end_is_refused() -> None:
    assert "behind the archive's end" in refused(tar_of(MAIN) + b"x" * 512)
    assert "behind the archive's end" in refused(tar_of(MAIN) + tar_of(MAIN))
    assert "behind the gzip's end" in refused(gzip.compress(tar_of(MAIN)) + b"x")
    assert "behind the gzip's end" in refused(gzip.compress(tar_of(MAIN)) + gzip.compress(b""))
    assert read(tar_of(MAIN) + bytes(51_200)) == MAIN


def forged(body: bytes, at: int, new: bytes) -> bytes:
    """The first header with other bytes and a checksum that fits."""
    block = bytearray(body[:512])
    block[at : at + len(new)] = new
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + body[512:]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (forged(tar_of(MAIN), 0, b"\xff.lua\0\0\0\0"), "not UTF-8"),
        (forged(tar_of(MAIN), 0, b"main.lua\0x"), "has a zero byte"),
        (forged(tar_of(MAIN), 124, b"-0000000001"), "not octal"),
        (forged(tar_of(MAIN), 124, b"\x80" + b"\0" * 10 + b"\x08"), "not octal"),
        (forged(tar_of(MAIN), 124, b"\xff" * 12), "not octal"),
        (forged(tar_of(MAIN), 124, b"77777777777"), "cut short"),
        (tar_of(MAIN)[:148] + b"0000000\0" + tar_of(MAIN)[156:], "no tar archive"),
        (forged(tar_of({"main.lua": b"x"}), 156, tarfile.DIRTYPE), "a folder cannot have a content"),
        (b"PK\3\4" + bytes(508), "no tar archive"),
        (b"x" * 512, "no tar archive"),
        (b"", "is empty"),
        (b"x" * 100, "blocks of 512 bytes"),
        (b"\x1f\x8b" + b"x" * 100, "the gzip is damaged"),
        (gzip.compress(gzip.compress(tar_of(MAIN))), "no tar"),
        (gzip.compress(b""), "is empty"),
    ],
)  # fmt: skip
def test_a_damaged_archive_is_told_so(body: bytes, reason: str) -> None:
    assert reason in refused(body)


def pax(records: bytes, kind: bytes = b"x") -> bytes:
    """An extended header of these bytes in front of main.lua."""
    return tar(entry("pax", records, type=kind), entry("main.lua", b"return 1"), form=tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (pax(b"11 path=\xff\xfe\n"), "not UTF-8"),
        (pax(b"12 path=a\0b\n"), "cannot be seen"),
        (pax(b"10 path=x\n0 x=y\n"), "damaged"),
        (pax(b"10 path=/\n"), "the path is absolute"),
        (pax(b"99 path=a\n"), "damaged"),
        (pax(b"-1 path=a\n"), "damaged"),
        (pax(b"path=a\n"), "damaged"),
        (pax(b"9 path a\n"), "damaged"),
        (pax(b"11 size=-5\n"), "its size is no number"),
        (pax(b"21 size=99999999999\n"), "damaged"),
        (pax(b"20 size=99999999999\n"), "cut short"),
        (pax(b"22 size=9999999999999\n"), "its size is no number"),
        (pax(b"24 GNU.sparse.major=1.0\n"), "a sparse file"),
        (pax(b"10 path=x\n", b"g"), "a global header"),
        (pax(b"x" * 70_000), "more than 65536 bytes"),
        (pax(b"../x\0", b"L"), "'.' or '..'"),
        (pax(b"a\0b\0", b"L"), "cannot be seen"),
        (pax(b"\xff\0", b"L"), "not UTF-8"),
        (pax(b"x\0", b"K"), "a link with a long name"),
        (tar(entry("l", b"x\0", type=b"L"), entry("l", b"y\0", type=b"L"), entry("main.lua")), "name the same file"),
        (tar(entry("main.lua"), entry("l", b"x\0", type=b"L")), "a long name has no file"),
    ],
)  # fmt: skip
def test_a_header_that_plays_tricks_is_refused(body: bytes, reason: str) -> None:
    assert reason in refused(body)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    head = tar(entry("main.lua", b""))[:512]
    mebibyte = bytes(1024 * 1024)
    bomb = squeeze.compress(head) + b"".join(squeeze.compress(mebibyte) for _ in range(1024)) + squeeze.flush()
    assert len(bomb) < bundle.body_bytes_max(Kind.TAR)
    tracemalloc.start()
    try:
        assert "unpacked, the archive has more than 3145728 bytes" in refused(bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024 * 1024
