"""Bodies of uploads, good and bad."""

import io
import tarfile
from dataclasses import dataclass, field

import pytest

from picloud.errors import BodyTooLarge, InvalidRequest
from picloud.manager import bundle
from picloud.manager.bundle import Kind

MAIN = {"main.lua": b"return 1"}
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, content: bytes = b"", **fields: object) -> Entry:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for name_, value in fields.items():
        setattr(info, name_, value)
    return info, content


def tar(*entries: Entry, form: int = tarfile.PAX_FORMAT, **options: object) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form, **options) as out:  # type: ignore[call-overload]
        for info, content in entries:
            out.addfile(info, io.BytesIO(content))
    return made.getvalue()


def tar_of(contents: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    return tar(*(entry(name, content) for name, content in contents.items()), form=form)


@dataclass(frozen=True)
class Body:
    """An upload; hypothesis need not print all of it."""

    kind: Kind
    sent: bytes = field(repr=False)
    held: dict[str, bytes] = field(default_factory=dict, repr=False)


def read(body: bytes, kind: Kind = Kind.TAR) -> dict[str, bytes]:
    return bundle.read(kind, body)


def refused(body: bytes, kind: Kind = Kind.TAR) -> str:
    with pytest.raises((InvalidRequest, BodyTooLarge)) as caught:
        read(body, kind)
    return str(caught.value)


# what a path may not be, and the reason
NAMES = [
    ("", "a name is empty"),
    ("/etc/passwd", "the path is absolute"),
    (".//etc/passwd", "the path is absolute"),
    ("../main.lua", "'.' or '..'"),
    ("a/../b", "'.' or '..'"),
    ("a/./b", "'.' or '..'"),
    ("a//b", "an empty part"),
    ("a\\b", "a backslash"),
    ("a\nb", "cannot be seen"),
    ("a\x7fb", "cannot be seen"),
    ("a\u202eb", "cannot be seen"),
    ("a\u200bb", "cannot be seen"),
    ("a\u2028b", "cannot be seen"),
    ("e\u0301", "NFC"),
    ("a" * 256, "more than 255 bytes"),
    ("ä" * 128, "more than 255 bytes"),
    ("/".join("a" * 17), "more than 16 deep"),
]


# what an entry of a tar may not be, and what it is called
TYPES = [
    (tarfile.LNKTYPE, "a hard link"),
    (tarfile.SYMTYPE, "a symbolic link"),
    (tarfile.CHRTYPE, "a character device"),
    (tarfile.BLKTYPE, "a block device"),
    (tarfile.FIFOTYPE, "a fifo"),
    (tarfile.CONTTYPE, "a contiguous file"),
    (tarfile.GNUTYPE_SPARSE, "a sparse file"),
    (b"M", "a part of a file"),
    (b"V", "a volume label"),
    (b"D", "a GNU dump folder"),
    (b"Z", "an entry of the unknown type b'Z'"),
]
