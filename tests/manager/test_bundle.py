"""What an upload's body may be: what went in comes out byte for byte, and what is hostile never gets through."""

import gzip
import hashlib
import io
import json
import random
import tarfile
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from picloud.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from picloud.manager import archive, bundle, files
from picloud.manager.bundle import Kind
from picloud.manager.files import FILES_MAX, SOURCE_BYTES_MAX
from tests.manager.bodies import FORMATS, MAIN, NAMES, TYPES, Body, entry, read, refused, tar, tar_of

thousand = settings(
    max_examples=1_000,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


characters = st.characters(exclude_categories=("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"), exclude_characters="/\\")
parts = st.text(characters, min_size=1, max_size=40).map(lambda text: unicodedata.normalize("NFC", text))
paths = (
    st.lists(parts.filter(lambda part: part not in (".", "..")), min_size=1, max_size=6)
    .map("/".join)
    .filter(lambda path: len(path.encode()) <= 255 and unicodedata.is_normalized("NFC", path))
)


def fits(names: list[str]) -> list[str]:
    """Those that can lie beside each other."""
    kept: list[str] = ["main.lua"]
    for name in names:
        if not any(name == other or name.startswith(other + "/") or other.startswith(name + "/") for other in kept):
            kept.append(name)
    return kept


names = st.lists(paths, max_size=8).map(fits)
binary = st.binary(max_size=600)
texts = st.text(st.characters(codec="utf-8"), max_size=150)


@st.composite
def bundles(draw: st.DrawFn) -> Body:
    """A body and the files that it holds."""
    chosen = draw(names)
    if draw(st.booleans()):
        plain = {name: draw(texts) for name in chosen}
        text = json.dumps({"files": plain}, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 2])))
        return Body(Kind.JSON, text.encode(), {name: text.encode() for name, text in plain.items()})
    held = {name: draw(binary) for name in chosen}
    folders = {name.rpartition("/")[0] for name in chosen} - {""} if draw(st.booleans()) else set()
    dot = draw(st.sampled_from(["", "./"]))
    entries = [entry(f"{dot}{folder}", type=tarfile.DIRTYPE) for folder in sorted(folders)]
    entries += [entry(dot + name, content, mtime=draw(st.integers(0, 2**31))) for name, content in held.items()]
    try:
        body = tar(*entries, form=draw(st.sampled_from(FORMATS)))
    except ValueError:  # a name too long for USTAR
        assume(False)
    return Body(Kind.TAR, gzip.compress(body) if draw(st.booleans()) else body, held)


@thousand
@given(bundles())
def test_a_thousand_bundles_come_out_as_they_went_in(made: Body) -> None:
    assert read(made.sent, made.kind) == made.held
    assert read(archive.pack(made.held)) == made.held


def test_the_largest_bundle_fits_in_every_form() -> None:
    share = SOURCE_BYTES_MAX // FILES_MAX
    held = {f"{'d' * 200}/{number:03}.txt": random.Random(number).randbytes(share) for number in range(FILES_MAX - 1)}
    held["main.lua"] = random.Random(7).randbytes(SOURCE_BYTES_MAX - sum(map(len, held.values())))
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        for body in (tar_of(held, form), gzip.compress(tar_of(held, form))):
            assert len(body) <= bundle.body_bytes_max(Kind.TAR)
            assert read(body) == held
    zeros = {name: "\0" * len(content) for name, content in held.items()}
    body = json.dumps({"files": zeros}).encode()
    assert len(body) <= bundle.body_bytes_max(Kind.JSON)
    assert read(body, Kind.JSON).keys() == held.keys()


def test_a_lua_file_is_main_lua() -> None:
    assert read(b"return 1", Kind.LUA) == MAIN
    assert read(b"", Kind.LUA) == {"main.lua": b""}
    assert refused(b"-" * (SOURCE_BYTES_MAX + 1), Kind.LUA).startswith("with 'main.lua' the files have over")


def test_a_tar_is_the_same_for_the_same_files() -> None:
    one, other = {"main.lua": b"1", "ä/b.lua": b"2"}, {"ä/b.lua": b"2", "main.lua": b"1"}
    assert archive.pack(one) == archive.pack(other)
    with tarfile.open(fileobj=io.BytesIO(archive.pack(one))) as unpacked:
        assert [(info.name, info.mode, info.mtime) for info in unpacked] == [
            ("main.lua", 0o644, 0),
            ("ä/b.lua", 0o644, 0),
        ]


def test_headers_that_say_nothing_of_names_are_passed_over() -> None:
    said = {"comment": "from git archive", "mtime": "1.5", "SCHILY.xattr.user.x": "y"}
    body = tar(entry("main.lua", b"return 1", pax_headers=said), pax_headers={"comment": "global"})
    assert read(body) == MAIN


@pytest.mark.parametrize(
    ("content_type", "encoding", "kind"),
    [
        ("", "", Kind.LUA),
        ("Text/X-Lua; charset=utf-8", "identity", Kind.LUA),
        ("application/x-www-form-urlencoded", "", Kind.LUA),
        ("application/x-tar", "", Kind.TAR),
        ("application/x-tar", "gzip", Kind.TAR),
        ("application/gzip", "", Kind.TAR),
        ("application/x-tar+gzip", "", Kind.TAR),
        ("application/json; charset=utf-8", "", Kind.JSON),
    ],
)
def test_the_content_type_says_what_a_body_is(content_type: str, encoding: str, kind: Kind) -> None:
    assert bundle.kind_of(content_type, encoding) is kind


@pytest.mark.parametrize(
    ("content_type", "encoding", "message"),
    [
        ("image/png", "", "'image/png' is not taken; send one Lua file as text/x-lua"),
        ("application/zip", "", "a tar archive as application/x-tar"),
        ("application/x-tar", "br", "Content-Encoding 'br' is not taken"),
        ("text/x-lua", "gzip", "a tar archive may be gzipped"),
        ("application/json", "gzip", "a tar archive may be gzipped"),
    ],
)
def test_another_content_type_is_told_which_there_are(content_type: str, encoding: str, message: str) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        bundle.kind_of(content_type, encoding)
    assert message in str(caught.value)


def test_an_archive_that_comes_as_lua_is_told_its_content_type() -> None:
    assert "send it with 'Content-Type: application/x-tar'" in refused(tar_of(MAIN), Kind.LUA)
    assert "send it with 'Content-Type: application/gzip'" in refused(gzip.compress(tar_of(MAIN)), Kind.LUA)


def test_a_bundle_of_one_file_is_known_by_the_source_alone() -> None:
    assert bundle.digest(MAIN) == hashlib.sha256(b"return 1").hexdigest()


def test_a_bundle_is_known_by_all_paths_and_contents_and_by_nothing_else() -> None:
    one = {"main.lua": b"1", "a": b"2", "b": b"3"}
    assert bundle.digest(dict(reversed(one.items()))) == bundle.digest(one)
    others = [
        {**one, "b": b"4"},
        {**one, "c": b""},
        {"main.lua": b"1", "a": b"2"},
        {"main.lua": b"1", "b": b"2", "a": b"3"},
    ]
    others.append({"main.lua": b"1", "a": b"21:b1:3"})  # the same text, were it not delimited
    assert len({bundle.digest(it) for it in [one, *others]}) == 1 + len(others)


Mutation = Callable[[random.Random, bytes], bytes]


def flip(chance: random.Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(chance.randint(1, 20)):
        changed[chance.randrange(min(len(changed), 4096))] = chance.randrange(256)
    return bytes(changed)


def flip_with_right_sums(chance: random.Random, body: bytes) -> bytes:
    """Bytes of headers changed, and their checksums mended: the parser sees what they say."""
    changed = bytearray(body)
    at = 512 * chance.randrange(max(1, len(changed) // 512))
    for _ in range(chance.randint(1, 6)):
        where = chance.choice([chance.randrange(100), chance.randrange(124, 136), 156, chance.randrange(345, 500)])
        changed[at + where] = chance.choice([0, 0x2E, 0x2F, 0x35, 0x78, 0x4C, 0x80, chance.randrange(256)])
    changed[at + 148 : at + 156] = b" " * 8
    changed[at + 148 : at + 156] = b"%06o\0 " % sum(changed[at : at + 512])
    return bytes(changed)


def cut(chance: random.Random, body: bytes) -> bytes:
    return body[: chance.randrange(len(body))]


def shuffle_blocks(chance: random.Random, body: bytes) -> bytes:
    blocks = [body[at : at + 512] for at in range(0, len(body), 512)][:40]
    chance.shuffle(blocks)
    return b"".join(blocks)


def repeat_blocks(chance: random.Random, body: bytes) -> bytes:
    at, count = 512 * chance.randrange(len(body) // 512), chance.randint(1, 2_000)
    return body[:at] + body[at : at + 512] * count + body[at:]


MUTATIONS: list[Mutation] = [flip, flip_with_right_sums, cut, shuffle_blocks, repeat_blocks]


@st.composite
def hostile(draw: st.DrawFn) -> Body:
    """A body with something wrong in it, or with what was wrong destroyed again."""
    name = draw(st.sampled_from([name for name, _ in NAMES if name]) | st.text(min_size=1, max_size=300))
    kind = draw(st.sampled_from([it for it, _ in TYPES] + [tarfile.REGTYPE, tarfile.DIRTYPE]))
    form = draw(st.sampled_from(FORMATS[1:]))
    target = draw(st.sampled_from(["/etc/passwd", "main.lua", "../x", ""]))
    evil = entry(name, b"", type=kind, linkname=target)
    order = [entry("main.lua", b"return 1"), evil, entry("a/b.lua", b"return 2")]
    chance = draw(st.randoms(use_true_random=False))
    chance.shuffle(order)
    try:
        body = tar(*order, form=form)
    except (ValueError, UnicodeError):
        assume(False)
    if draw(st.booleans()):
        text = json.dumps({"files": {name: draw(st.none() | st.text() | st.integers()), "main.lua": "x"}}).encode()
        return Body(Kind.JSON, flip(chance, text) if draw(st.booleans()) else text)
    for mutation in draw(st.lists(st.sampled_from(MUTATIONS), max_size=3)):
        body = mutation(chance, body) if len(body) >= 1024 else body
    if draw(st.booleans()):
        packed = gzip.compress(body)
        return Body(Kind.TAR, flip(chance, packed) if draw(st.booleans()) else packed)
    return Body(Kind.TAR, body)


@thousand
@given(hostile())
def test_a_thousand_hostile_ones_raise_what_is_documented_or_give_legal_files(made: Body) -> None:
    try:
        taken = read(made.sent, made.kind)
    except (InvalidRequest, BodyTooLarge):
        return
    again = files.Collector()
    for path, content in taken.items():
        assert path == again.checked(path)
        assert not {"", ".", ".."} & set(path.split("/"))
        again.add(path, content)
    assert again.whole() == taken
