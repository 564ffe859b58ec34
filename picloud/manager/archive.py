"""Tar archives in memory: read from somebody who may be hostile, written the same for the same files.

Owns: the format (POSIX ustar and pax, GNU long names, gzip around it). Knows no rule of paths, touches no disk.
Python's `tarfile` repairs and skips what it does not understand, so its reader is not for this: here what is not
plainly a regular file or a folder is refused, each byte is looked at once, and no number in a header is believed
beyond the archive's own bytes.
"""

import io
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from picloud.errors import BodyTooLarge, InvalidRequest
from picloud.manager.files import Collector

ARCHIVE_BYTES_MAX = 3 * 1024 * 1024  # unpacked: the files, and twice as much of headers and padding
MEMBERS_MAX = 1_000  # headers, those of folders and of long names too

_BLOCK_BYTES = 512
_EXTENSION_BYTES_MAX = 64 * 1024  # a pax header or a GNU long name
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
_END = bytes(_BLOCK_BYTES)

_REFUSED = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a character device", b"4": "a block device", b"6": "a fifo",
    b"7": "a contiguous file", b"D": "a GNU dump folder", b"K": "a link with a long name", b"M": "a part of a file",
    b"S": "a sparse file", b"V": "a volume label",
}  # fmt: skip
_FILE, _OLD_FILE, _FOLDER, _PAX, _PAX_GLOBAL, _LONG_NAME = b"0", b"\0", b"5", b"x", b"g", b"L"


@dataclass(frozen=True, slots=True)
class _Header:
    name: bytes  # cut short, maybe in the middle of a character, if a header before it has the whole
    size_bytes: int
    kind: bytes


def is_gzip(body: bytes) -> bool:
    """Whether it begins like one."""
    return body.startswith(_GZIP_MAGIC)


def is_tar(body: bytes) -> bool:
    """Whether it begins like one that says so."""
    return body[257:262] == b"ustar"


def read(body: bytes, files: Collector) -> None:
    """Give every file of a tar, gzipped or not, to a collector; InvalidRequest, BodyTooLarge."""
    archive = _unzipped(body) if is_gzip(body) else body
    if len(archive) > ARCHIVE_BYTES_MAX:
        raise BodyTooLarge(f"the archive has more than {ARCHIVE_BYTES_MAX} bytes, which is the limit")
    if len(archive) % _BLOCK_BYTES or not archive:
        raise InvalidRequest("the archive is empty, cut short, or no tar: a tar is made of blocks of 512 bytes")
    _Reader(archive, files).read()


def pack(files: Mapping[str, bytes]) -> bytes:
    """A tar that depends on nothing but paths and contents: of nobody, 0644, in 1970."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(files):
            entry = tarfile.TarInfo(path)
            entry.size = len(files[path])
            tar.addfile(entry, io.BytesIO(files[path]))
    return archive.getvalue()


class _Reader:
    """One pass over an archive, block by block."""

    def __init__(self, archive: bytes, files: Collector) -> None:
        self._archive = archive
        self._files = files
        self._at = 0
        self._extended: dict[str, str] = {}  # what a header says of the next one: path, size

    def read(self) -> None:
        for _ in range(MEMBERS_MAX):
            block = self._take(_BLOCK_BYTES)
            if block == _END:
                self._finish()
                return
            self._member(_parsed(block, self._at - _BLOCK_BYTES))
        raise InvalidRequest(f"the archive has more than {MEMBERS_MAX} entries")

    def _member(self, header: _Header) -> None:
        if header.kind in (_PAX, _PAX_GLOBAL, _LONG_NAME):
            self._extend(header)
            return
        name = self._extended.pop("path") if "path" in self._extended else _text(header.name, "a name in the archive")
        size_bytes = _whole_number(self._extended.pop("size", str(header.size_bytes)), name)
        if header.kind == _FOLDER or (header.kind == _OLD_FILE and name.endswith("/")):
            if size_bytes:
                raise self._files.refusal(name, "a folder cannot have a content")
            self._files.add_folder(name)
        elif header.kind in (_FILE, _OLD_FILE):
            self._files.checked(name)  # before its content is looked for
            self._files.add(name, self._content(size_bytes))
        else:
            what = _REFUSED.get(header.kind, f"an entry of the unknown type {header.kind!r}")
            raise self._files.refusal(name, f"it is {what}; only regular files and folders are taken")

    def _extend(self, header: _Header) -> None:
        """Read what belongs to the next member."""
        if header.size_bytes > _EXTENSION_BYTES_MAX:
            raise InvalidRequest(f"a header of the archive has more than {_EXTENSION_BYTES_MAX} bytes")
        content = self._content(header.size_bytes)
        if header.kind == _LONG_NAME:
            found = {"path": _text(content.removesuffix(b"\0"), "a long name")}
        else:
            found = _pax(content)
        if header.kind == _PAX_GLOBAL and found:
            raise InvalidRequest("a global header of the archive speaks of names or sizes, which are each file's own")
        if found.keys() & self._extended.keys():
            raise InvalidRequest("two headers of the archive name the same file")
        self._extended |= found

    def _content(self, size_bytes: int) -> bytes:
        content = self._take(size_bytes)
        self._take(-size_bytes % _BLOCK_BYTES)
        return content

    def _take(self, size_bytes: int) -> bytes:
        taken = self._archive[self._at : self._at + size_bytes]
        if len(taken) < size_bytes:
            raise InvalidRequest("the archive is cut short")
        self._at += size_bytes
        return taken

    def _finish(self) -> None:
        """Behind the first empty block there is nothing."""
        if self._extended:
            raise InvalidRequest("the archive is cut short: a long name has no file")
        if self._archive.count(0, self._at) != len(self._archive) - self._at:
            raise InvalidRequest("there is something behind the archive's end")


def _unzipped(body: bytes) -> bytes:
    inflater = zlib.decompressobj(_GZIP)
    try:
        archive = inflater.decompress(body, ARCHIVE_BYTES_MAX + 1)
    except zlib.error as error:
        raise InvalidRequest(f"the gzip is damaged: {error}") from error
    if len(archive) > ARCHIVE_BYTES_MAX:
        raise BodyTooLarge(f"unpacked, the archive has more than {ARCHIVE_BYTES_MAX} bytes, which is the limit")
    if not inflater.eof:
        raise InvalidRequest("the gzip is cut short")
    if inflater.unused_data:
        raise InvalidRequest("there is something behind the gzip's end")
    return archive


def _parsed(block: bytes, at: int) -> _Header:
    """A header block (POSIX.1-1988 ustar, and what is older)."""
    without_sum = block[:148] + b" " * 8 + block[156:]
    if _octal(block[148:156], at) != sum(without_sum):
        raise InvalidRequest(f"this is no tar archive, or it is damaged at byte {at}")
    prefix = _field(block[345:500]) if block[257:263] == b"ustar\0" else b""
    name = b"/".join(filter(None, (prefix, _field(block[:100]))))
    return _Header(name, _octal(block[124:136], at), block[156:157])


def _field(padded: bytes) -> bytes:
    """A text that ends with its field, or with zeros up to there."""
    text = padded.rstrip(b"\0")
    if b"\0" in text:
        raise InvalidRequest(f"a name in the archive has a zero byte: {text!r}")
    return text


def _octal(field: bytes, at: int) -> int:
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise InvalidRequest(f"this is no tar archive, or it is damaged at byte {at}: a number in it is not octal")
    return int(digits or b"0", 8)


def _pax(content: bytes) -> dict[str, str]:
    """The path and size among records of `LENGTH KEY=VALUE` and a line end (POSIX.1-2001); the others say nothing."""
    found: dict[str, str] = {}
    while content:
        length = _record_bytes(content)
        key, equals, value = content[:length].partition(b" ")[2].partition(b"=")
        if not (equals and value.endswith(b"\n")):
            raise InvalidRequest("a pax header of the archive is damaged")
        if key.startswith(b"GNU.sparse."):
            raise InvalidRequest("the archive has a sparse file; only regular files and folders are taken")
        if key in (b"path", b"size"):
            found[key.decode()] = _text(value[:-1], "a name in a pax header")
        content = content[length:]
    return found


def _record_bytes(content: bytes) -> int:
    digits = content[:8].partition(b" ")[0]
    if not digits.isdigit() or not len(digits) < int(digits) <= len(content):
        raise InvalidRequest("a pax header of the archive is damaged")
    return int(digits)


def _whole_number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise InvalidRequest(f"{name!r}: its size is no number")
    return int(text)


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{what} is not UTF-8: {raw[:100]!r}") from None
