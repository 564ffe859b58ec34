"""A backup's file is whole and ours, or it is refused."""

import contextlib
import io
import os
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picloud import __version__
from picloud.cli.backup import config_of, without_passwords
from picloud.cli.backup_file import Backup, Damaged, Key, Manifest, Writer, encoded
from picloud.errors import PlatformError
from picloud.settings import ServerSettings

MOMENT = datetime(2026, 11, 24, 5, tzinfo=UTC)
MANIFEST = Manifest(1, __version__, "0007_schedules", MOMENT, "18.6", "18.6", Key("/k", ["ab"]), {"scripts": 2})
DUMP = bytes(range(256)) * 5


def written(manifest: bytes = encoded(MANIFEST), **more: bytes) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, MOMENT)
    writer.add("manifest.json", [manifest])
    writer.add("database.dump", [DUMP[:300], DUMP[300:]])
    for name, content in more.items():
        writer.add(name.replace("_", "."), [content])
    writer.close()
    return file.getvalue()


def file_of(content: bytes) -> int:
    """A file that goes with its last descriptor."""
    descriptor = os.memfd_create("backup")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


@pytest.fixture
def open_now(request: pytest.FixtureRequest) -> Callable[[bytes], Backup]:
    """Read, and close at the test's end."""

    def opened(content: bytes) -> Backup:
        file = os.fdopen(file_of(content), "rb")
        request.addfinalizer(file.close)
        return Backup(file)

    return opened


def test_what_was_written_is_read(open_now: Callable[[bytes], Backup]) -> None:
    it = open_now(written(picloud_toml=b"[server]\n"))
    assert (it.manifest, it.config, b"".join(it.dump())) == (MANIFEST, "[server]\n", DUMP)
    assert open_now(written()).config is None


def test_it_is_a_tar_like_others() -> None:
    with tarfile.open(fileobj=io.BytesIO(written(picloud_toml=b"x"))) as tar:
        names = [(it.name, it.mode, it.mtime) for it in tar]
        member = tar.extractfile("database.dump")
        assert member
        assert member.read() == DUMP
    wanted = ["manifest.json", "database.dump", "picloud.toml", "SHA256SUMS"]
    assert names == [(name, 0o600, int(MOMENT.timestamp())) for name in wanted]


def refused(content: bytes) -> str:
    with os.fdopen(file_of(content), "rb") as file, pytest.raises(PlatformError) as raised:
        Backup(file)
    return str(raised.value)


@given(st.integers(0, len(written()) - 1))
def test_one_that_is_cut_anywhere_is_refused(length: int) -> None:
    assert refused(written()[:length])


@given(st.integers(0, len(written()) - 1025), st.integers(1, 255))
def test_one_with_a_changed_byte_is_refused_or_means_the_same(place: int, change: int) -> None:
    content = bytearray(written())
    content[place] ^= change
    with os.fdopen(file_of(bytes(content)), "rb") as file, contextlib.suppress(PlatformError):
        it = Backup(file)
        assert (it.manifest, b"".join(it.dump())) == (MANIFEST, DUMP)


def foreign(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, "/etc/passwd"
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no tar" * 500,
        foreign("../../etc/passwd"),
        foreign("manifest.json", tarfile.SYMTYPE),
        foreign("manifest.json", tarfile.GNUTYPE_SPARSE),
        foreign("manifest.json", size=1 << 60),
        foreign("manifest.json", size=-1),
        written() + b"\0",
        written()[:1024] + written(),
    ],
)
def test_what_is_none_is_refused(content: bytes) -> None:
    assert "backup" in refused(content)


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        (b"{", "not valid"),
        (b"[]", "not valid"),
        (b"[" * 100_000, "not valid"),
        (encoded(MANIFEST).replace(b'"schema"', b'"scheme"'), "missing required field `schema`"),
        (encoded(MANIFEST).replace(b'"rows": {\n    "scripts": 2', b'"rows": {\n    "scripts": "2"'), "not valid"),
        (encoded(MANIFEST).replace(b'"format": 1', b'"format": 2'), "install that first"),
        (encoded(MANIFEST).replace(__version__.encode(), b"99.0.1"), "was made by PiCloud 99.0.1"),
        (encoded(MANIFEST).replace(__version__.encode(), b"no version"), "not valid"),
    ],
)
def test_a_manifest_that_is_not_of_this_version_is_refused(manifest: bytes, says: str) -> None:
    assert says in refused(written(manifest))


def test_a_backup_of_an_older_version_is_read(open_now: Callable[[bytes], Backup]) -> None:
    older = encoded(MANIFEST).replace(__version__.encode(), b"0.0.9")
    assert open_now(written(older)).manifest.picloud == "0.0.9"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('database_url = "postgresql://u:p@h/d"', 'database_url = "postgresql://u@h/d"'),
        ('# database_url = "postgres://u:p%40:x@h/d?a=b"', '# database_url = "postgres://u@h/d?a=b"'),
        ("database_url = 'postgresql://h/d?password=p&sslmode=require'",
         "database_url = 'postgresql://h/d?password=&sslmode=require'"),
        ('database_url = "host=h password=p user=u"', 'database_url = "host=h password= user=u"'),
        ("""database_url = "host=h password='p q' user=u" """, """database_url = "host=h password= user=u" """),
        ('bind = "127.0.0.1:8080"\nwhat = "http://a@b"', 'bind = "127.0.0.1:8080"\nwhat = "http://a@b"'),
        ('database_url = "postgresql://picloud@/picloud?host=/run/postgresql"',
         'database_url = "postgresql://picloud@/picloud?host=/run/postgresql"'),
    ],
)  # fmt: skip
def test_no_password_of_the_configuration_is_in_it(text: str, wanted: str) -> None:
    assert without_passwords(text) == wanted


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('[server]\ndatabase_url = "host=h password=p"\n', '[server]\ndatabase_url = "host=h password="\n'),
        ('[server]\nworkers = 3\n', '[server]\nworkers = 3\n'),
        ('[server]\ndatabase_url = "host=h p\\u0061ssword=p"\n', None),
    ],
)  # fmt: skip
def test_a_configuration_that_hides_a_password_is_left_out(
    text: str, kept: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "picloud.toml").write_text(text)
    assert config_of(ServerSettings(config=str(tmp_path / "picloud.toml"))) == kept
    assert ("is left out" in capsys.readouterr().err) is (kept is None)


def test_damaged_says_so_by_itself() -> None:
    assert "backup" in str(Damaged())
